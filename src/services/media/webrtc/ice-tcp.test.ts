import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import { servedBy, startFleet, type TestFleet } from './fleet.testkit.ts'
import { framed } from './frame-reader.ts'
import { TcpClient } from './tcp-client.testkit.ts'
import { check, FakeOrigin, openClient, type OpenSession, TestGateway } from './webrtc.testkit.ts'

async function stage(options: Parameters<typeof TestGateway.start>[0] = {}): Promise<{
  readonly origin: FakeOrigin
  readonly gateway: TestGateway
  readonly port: number
}> {
  const origin = await FakeOrigin.start()
  const gateway = await TestGateway.start({
    tcpListen: [{ host: '127.0.0.1', port: 0 }],
    iceTcp: true,
    ...options,
  })
  await gateway.store.announce(origin.announcement())
  return { origin, gateway, port: gateway.service.tcpAddresses[0]?.port ?? 0 }
}

const tcpCandidates = ({ answer }: OpenSession): string[] => answer.match(/a=candidate.* tcp .*/g) ?? []

describe('candidates over TCP', () => {
  test('are offered beside those over UDP, in every answer', async () => {
    const { gateway, port } = await stage()
    const opened = await gateway.open('clnt')
    expect(tcpCandidates(opened)).toEqual([
      expect.stringMatching(
        new RegExp(`^a=candidate:2 1 tcp \\d+ 127\\.0\\.0\\.1 ${port} typ host tcptype passive$`),
      ),
    ])
    expect(opened.answer).toContain(` udp 2130706431 127.0.0.1 ${gateway.media.port} typ host`)
  })

  test('or only to those who ask', async () => {
    const { origin, gateway } = await stage({ iceTcp: false })
    expect(tcpCandidates(await gateway.open('aaaa'))).toEqual([])
    expect(tcpCandidates(await gateway.open('bbbb', '/live/t/whip?transport=udp'))).toEqual([])
    expect(tcpCandidates(await gateway.open('cccc', '/live/u/whip?transport=tcp'))).toHaveLength(1)
    expect(origin.seen.at(-1)?.url).toContain('transport=tcp')
  })

  test('need a listener', async () => {
    await expect(TestGateway.start({ iceTcp: true })).rejects.toThrow(/iceTcp needs tcpListen/)
  })
})

describe('media over TCP', () => {
  test('goes both ways as datagrams, in frames cut anywhere', async () => {
    const { origin, gateway, port } = await stage()
    const { username } = await gateway.open('clnt')
    const client = await TcpClient.open(port)
    const proof = check(username, { nominate: true })
    for (const byte of framed(proof)) client.socket.write(Buffer.of(byte))
    const arrived = await origin.udp.next()
    expect(arrived.bytes).toEqual(proof)
    client.socket.write(
      Buffer.concat([framed(Buffer.from('one')), framed(Buffer.alloc(0)), framed(Buffer.from('two'))]),
    )
    expect(
      [await origin.udp.next(), await origin.udp.next(), await origin.udp.next()].map(({ text }) => text),
    ).toEqual(['one', '', 'two'])
    await origin.udp.burst(['answer', 'x'.repeat(5000)], arrived.from)
    await until(() => client.received.length === 2, 'the answers')
    expect(client.received).toEqual(['answer', 'x'.repeat(5000)])
    expect(gateway.service.listSessions()).toMatchObject([
      { bytesIn: proof.length + 6, bytesOut: 5006, address: '127.0.0.1' },
    ])
  })

  test('moves to UDP and back as the client nominates, and TCP ends without the session', async () => {
    const { origin, gateway, port } = await stage()
    const { username } = await gateway.open('clnt')
    const [tcp, udp] = [await TcpClient.open(port), await openClient()]
    tcp.send(check(username))
    const { from } = await origin.udp.next()
    await udp.send(check(username, { nominate: true }), gateway.media)
    await origin.udp.next()
    await origin.udp.send('by udp', from)
    expect((await udp.next()).text).toBe('by udp')
    tcp.send(check(username, { nominate: true }))
    await origin.udp.next()
    await origin.udp.send('by tcp', from)
    await until(() => tcp.received.includes('by tcp'), 'the datagram')
    tcp.socket.destroy()
    await until(() => gateway.datapath.totals().flows === 1, 'only the way over UDP to be left')
    await udp.send(check(username), gateway.media)
    await origin.udp.next()
    await origin.udp.send('by udp again', from)
    expect((await udp.next()).text).toBe('by udp again')
    expect(udp.received).toEqual([])
  })

  test('ends with its session', async () => {
    const { origin, gateway, port } = await stage()
    const { username, location } = await gateway.open('clnt')
    const client = await TcpClient.open(port)
    client.send(check(username))
    await origin.udp.next()
    await fetch(location, { method: 'DELETE' })
    await client.closed()
    expect(gateway.datapath.totals()).toMatchObject({ flows: 0, endpoints: 1 })
  })

  test('keeps a session alive, and a session keeps a bounded number of connections', async () => {
    const clock = new ManualClock()
    const { origin, gateway, port } = await stage({ clock, maxRemotesPerSession: 2 })
    const { username } = await gateway.open('clnt')
    const clients = [await TcpClient.open(port), await TcpClient.open(port), await TcpClient.open(port)]
    for (const client of clients) {
      client.send(check(username))
      await origin.udp.next()
    }
    await clients[0]?.closed()
    for (let i = 0; i < 3; i++) {
      clock.advance(20_000)
      clients[2]?.send('media')
      const { from } = await origin.udp.next()
      await origin.udp.send('media', from)
      await until(() => clients[2]?.received.length === i + 1, 'media')
      gateway.service.listSessions()
    }
    expect(gateway.service.listSessions()).toHaveLength(1)
  })

  test('what a client does not take is dropped beyond a bound, and the others go on', async () => {
    const { origin, gateway, port } = await stage({ maxTcpQueuedBytes: 100_000 })
    const [slow, fast] = [
      await gateway.open('slow', '/live/s/whep'),
      await gateway.open('fast', '/live/s/whep'),
    ]
    const [slowClient, fastClient] = [await TcpClient.open(port), await TcpClient.open(port)]
    slowClient.send(check(slow.username))
    const toSlow = (await origin.udp.next()).from
    fastClient.send(check(fast.username))
    const toFast = (await origin.udp.next()).from
    slowClient.socket.pause()
    const packet = Buffer.alloc(8000)
    const dropped = async (): Promise<number> =>
      await gateway.metric('sluice_webrtc_tcp_dropped_total{reason="queue"}')
    let sent = 0
    while ((await dropped()) === 0 && sent < 20_000) {
      await origin.udp.burst(
        Array.from({ length: 20 }, () => packet),
        toSlow,
      )
      sent += 20
    }
    expect(await dropped()).toBeGreaterThan(0)
    await origin.udp.send('on time', toFast)
    await until(() => fastClient.received.length === 1, 'the datagram of the other')
    slowClient.socket.resume()
    await until(() => slowClient.received.length > 10, 'what had been queued')
  })
})

describe('strangers over TCP', () => {
  const cut = (gateway: TestGateway, reason: string): Promise<number> =>
    gateway.metric(`sluice_webrtc_tcp_cut_total{reason="${reason}"}`)

  test.each([
    ['unknown-session', framed(check('nobody:here'))],
    ['integrity', (username: string) => framed(check(username, { pwd: 'guessed' }))],
    ['not-stun', framed(Buffer.from('80e0000100000000', 'hex'))],
    ['not-stun', framed(Buffer.alloc(0))],
    ['malformed', framed(Buffer.from('000100022112a442000000000000000000000000ffff', 'hex'))],
    ['too-long', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('%s: cut, and nothing reaches the origin', async (reason, bytes) => {
    const { origin, gateway, port } = await stage()
    const { username } = await gateway.open('clnt')
    const client = await TcpClient.open(port)
    client.socket.write(typeof bytes === 'function' ? bytes(username) : bytes)
    await client.closed()
    expect(await cut(gateway, reason)).toBe(1)
    expect(origin.udp.received).toEqual([])
    expect(gateway.datapath.totals().flows).toBe(0)
  })

  test('who proves nothing in time is cut, however slowly it speaks', async () => {
    const clock = new ManualClock()
    const { gateway, port } = await stage({ clock })
    const { username } = await gateway.open('clnt')
    const [silent, slow] = [await TcpClient.open(port), await TcpClient.open(port)]
    slow.socket.write(framed(check(username)).subarray(0, 30))
    await until(() => gateway.service.unprovenTcp === 2, 'both to be accepted')
    clock.advance(10_000)
    await Promise.all([silent.closed(), slow.closed()])
    expect(await cut(gateway, 'timeout')).toBe(2)
  })

  test('are few of one address, and few in all; a client is let in among them', async () => {
    const { origin, gateway, port } = await stage({ maxTcpUnproven: 20, maxTcpUnprovenPerAddress: 20 })
    const { username } = await gateway.open('clnt')
    const strangers: TcpClient[] = []
    for (let i = 0; i < 60; i++) strangers.push(await TcpClient.open(port))
    await until(() => strangers.filter(({ isClosed }) => isClosed).length === 40, 'all but twenty to be cut')
    strangers.find(({ isClosed }) => !isClosed)?.socket.destroy()
    await until(() => gateway.service.unprovenTcp === 19, 'a place')
    const client = await TcpClient.open(port)
    client.send(check(username))
    await origin.udp.next()
    expect(gateway.service.unprovenTcp).toBe(19)
  })

  test('of many addresses push out one another, the oldest first', async () => {
    const { gateway, port } = await stage({ maxTcpUnproven: 1 })
    const first = await TcpClient.open(port)
    await until(() => gateway.service.unprovenTcp === 1, 'the first')
    const second = await TcpClient.open(port)
    await first.closed()
    expect(second.isClosed).toBe(false)
  })

  test('a balancer in front says who the client is', async () => {
    const { origin, gateway, port } = await stage({ tcpProxyProtocolFrom: ['127.0.0.0/8'] })
    const { username } = await gateway.open('clnt')
    const client = await TcpClient.open(port)
    client.socket.write('PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\r\n')
    client.send(check(username))
    await origin.udp.next()
    expect(gateway.service.listSessions()).toMatchObject([{ address: '192.0.2.7' }])
  })
})

describe('a connection whose session another gateway began', () => {
  const tcp = { tcpListen: [{ host: '127.0.0.1', port: 0 }], iceTcp: true } as const
  const portOf = ({ b }: TestFleet): number => b.service.tcpAddresses[0]?.port ?? 0
  const cut = (fleet: TestFleet, reason: string): Promise<void> =>
    eventually(async () => {
      expect(await fleet.b.metric(`sluice_webrtc_tcp_cut_total{reason="${reason}"}`)).toBe(1)
    })

  test('brings it over by its first request; what came in one piece with that is not lost', async () => {
    const fleet = await startFleet(tcp)
    const { origin, a, b } = fleet
    const { username } = await a.open('clnt')
    const client = await TcpClient.open(portOf(fleet))
    const proof = check(username, { nominate: true })
    client.socket.write(Buffer.concat([framed(proof), framed(Buffer.from('dtls'))]))
    const arrived = await origin.udp.next()
    expect(arrived.bytes).toEqual(proof)
    expect((await origin.udp.next()).text).toBe('dtls')
    client.send('media')
    expect((await origin.udp.next()).text).toBe('media')
    await origin.udp.send('answer', arrived.from)
    await until(() => client.received.length === 1, 'the answer')
    await servedBy(fleet, 'b', username, b, a)
    expect(b.service.unprovenTcp).toBe(0)
    client.socket.destroy()
    await until(() => b.datapath.totals().flows === 0, 'its flow to go')
  })

  test('waits beside one over UDP', async () => {
    const fleet = await startFleet(tcp)
    const { shared, origin, a, b } = fleet
    const { username } = await a.open('clnt')
    let open = (): void => {}
    shared.until = new Promise((resolve) => (open = resolve))
    const [overUdp, overTcp] = [await openClient(), await TcpClient.open(portOf(fleet))]
    await overUdp.send(check(username), b.media)
    overTcp.send(check(username, { nominate: true }))
    await until(() => b.service.unprovenTcp === 1, 'the connection')
    await eventually(async () => {
      expect(await b.metric('sluice_webrtc_lookups_total{result="joined"}')).toBe(1)
    })
    open()
    const { from } = await origin.udp.next()
    await origin.udp.next()
    await origin.udp.send('down', from)
    await until(() => overTcp.received.length === 1, 'the answer')
    expect(shared.lookups).toBe(1)
  })

  test('is cut where the store knows none, does not answer, or the request was signed by nobody', async () => {
    const fleet = await startFleet(tcp)
    const { shared, a } = fleet
    const { username } = await a.open('clnt')
    for (const [name, options, reason] of [
      ['made:up00', {}, 'unknown-session'],
      [username, { pwd: 'x'.repeat(22) }, 'integrity'],
      ['made:up11', {}, 'lookup-failed'],
    ] as const) {
      shared.isAway = reason === 'lookup-failed'
      const client = await TcpClient.open(portOf(fleet))
      client.send(check(name, options))
      await client.closed()
      await cut(fleet, reason)
    }
  })

  test('that leaves, or takes too long, while its session is looked for is forgotten', async () => {
    const clock = new ManualClock()
    const fleet = await startFleet({ ...tcp, clock, tcpProofTimeoutMs: 1000 })
    const { shared, origin, a, b } = fleet
    const [first, second] = [await a.open('one1'), await a.open('two2', '/live/t/whip')]
    let open = (): void => {}
    shared.until = new Promise((resolve) => (open = resolve))
    const leaving = await TcpClient.open(portOf(fleet))
    const slow = await TcpClient.open(portOf(fleet))
    leaving.send(check(first.username))
    slow.send(check(second.username))
    const nobody = await TcpClient.open(portOf(fleet))
    nobody.send(check('made:up00'))
    await until(() => shared.lookups === 3, 'all to be asked for')
    leaving.socket.destroy()
    nobody.socket.destroy()
    await until(() => b.service.unprovenTcp === 1, 'one to leave')
    clock.advance(1000)
    await slow.closed()
    await cut(fleet, 'timeout')
    open()
    // Found and proved all the same: the sessions are here, without a path.
    await until(() => b.service.listSessions().length === 2, 'the answers')
    expect(origin.udp.received).toEqual([])
    expect(b.service.unprovenTcp).toBe(0)
    await eventually(async () => {
      expect(await b.metric('sluice_webrtc_lookups_total{result="unknown"}')).toBe(1)
    })
    expect(await b.metric('sluice_webrtc_tcp_cut_total{reason="unknown-session"}')).toBeNaN()
    clock.advance(31_000)
    await until(() => b.datapath.totals().endpoints === 1, 'them to be idle')
  })

  test('may be the one to which a session is bound that nobody can prove', async () => {
    const fleet = await startFleet({ ...tcp, unverified: 'bind-once' })
    const { shared, origin, a, b } = fleet
    const { username } = await a.open('clnt')
    const {
      icePassword: _,
      resource: __,
      ...session
    } = shared.records.get(username)?.session ?? ({} as never)
    shared.write(session)
    const client = await TcpClient.open(portOf(fleet))
    const request = check(username, { pwd: 'x'.repeat(22) })
    client.send(request)
    expect((await origin.udp.next()).bytes).toEqual(request)
    const thief = await TcpClient.open(portOf(fleet))
    thief.send(check(username, { pwd: 'x'.repeat(22), nominate: true }))
    await thief.closed()
    await (await openClient()).send(check(username, { pwd: 'x'.repeat(22), nominate: true }), b.media)
    client.send('media')
    expect((await origin.udp.next()).text).toBe('media')
    expect(origin.udp.received).toEqual([])
  })
})
