import { readdirSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { MemoryBalancerStore } from '../../../mechanisms/balancer/index.ts'
import type { Remote } from '../../../mechanisms/datapath/index.ts'
import { until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import { answerSdp, check, FakeOrigin, openClient, TestGateway } from './webrtc.testkit.ts'

async function stage(options: Parameters<typeof TestGateway.start>[0] = {}): Promise<{
  origin: FakeOrigin
  gateway: TestGateway
}> {
  const origin = await FakeOrigin.start()
  const gateway = await TestGateway.start(options)
  await gateway.store.announce(origin.announcement())
  return { origin, gateway }
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}

describe('media', () => {
  test('goes both ways, unchanged, once a check proved the client', async () => {
    const { origin, gateway } = await stage()
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    const first = check(username)
    await client.send(first, gateway.media)
    const arrived = await origin.udp.next()
    expect(arrived.bytes).toEqual(first)
    await origin.udp.send('from the origin', arrived.from)
    const back = await client.next()
    expect([back.text, back.from]).toEqual([
      'from the origin',
      { address: '127.0.0.1', port: gateway.media.port },
    ])
    const rtp = Buffer.from('80e0000100000000000000ff', 'hex')
    await client.send(rtp, gateway.media)
    expect((await origin.udp.next()).bytes).toEqual(rtp)
    const second = check(username)
    await client.send(second, gateway.media)
    expect((await origin.udp.next()).bytes).toEqual(second)
    expect(origin.udp.received).toEqual([])
  })

  test('a reply leaves from the local address that was asked', async () => {
    const { origin, gateway } = await stage()
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    await client.send(check(username), gateway.mediaAt('127.0.0.2'))
    const { from } = await origin.udp.next()
    await origin.udp.send('x', from)
    expect((await client.next()).from.address).toBe('127.0.0.2')
  })

  test('an address that another session takes over goes to the new session', async () => {
    const { origin, gateway } = await stage()
    const old = await gateway.open('old1')
    const client = await openClient()
    await client.send(check(old.username), gateway.media)
    const oldSocket = (await origin.udp.next()).from
    const fresh = await gateway.open('new1')
    const taken = check(fresh.username)
    await client.send(taken, gateway.media)
    // The datapath still has it as the old session's, so it arrives there once, and at the new one.
    const arrivals = [await origin.udp.next(), await origin.udp.next()]
    const fresh1 = arrivals.find(({ from }) => from.port !== oldSocket.port)
    expect(fresh1?.bytes).toEqual(taken)
    await client.send('media', gateway.media)
    expect((await origin.udp.next()).from.port).toBe(fresh1?.from.port)
    await origin.udp.send('to the old', oldSocket)
    await origin.udp.send('to the new', fresh1?.from ?? oldSocket)
    expect((await client.next()).text).toBe('to the new')
    expect(client.received).toEqual([])
  })

  test('a client that moves is followed; a check of another pair does not take nominated media along', async () => {
    const { origin, gateway } = await stage()
    const { username } = await gateway.open('clnt')
    const [here, there] = [await openClient(), await openClient()]
    await here.send(check(username), gateway.media)
    const socket = (await origin.udp.next()).from
    await there.send(check(username), gateway.media)
    await origin.udp.next()
    await origin.udp.send('before nomination: the latest', socket)
    expect((await there.next()).text).toBe('before nomination: the latest')
    await here.send(check(username, { nominate: true }), gateway.media)
    await origin.udp.next()
    await there.send(check(username), gateway.media)
    await origin.udp.next()
    await origin.udp.send('nominated', socket)
    expect((await here.next()).text).toBe('nominated')
    await there.send(check(username, { nominate: true }), gateway.media)
    await origin.udp.next()
    await origin.udp.send('moved', socket)
    expect((await there.next()).text).toBe('moved')
  })

  test('a nominated address that went silent loses to a plain check from elsewhere', async () => {
    const clock = new ManualClock()
    const { origin, gateway } = await stage({ clock })
    const { username } = await gateway.open('clnt')
    const [gone, here] = [await openClient(), await openClient()]
    await gone.send(check(username, { nominate: true }), gateway.media)
    const socket = (await origin.udp.next()).from
    clock.advance(4000)
    await here.send(check(username), gateway.media)
    await origin.udp.next()
    await origin.udp.send('found again', socket)
    expect((await here.next()).text).toBe('found again')
  })

  test('a session keeps a bounded number of addresses', async () => {
    const { origin, gateway } = await stage({ maxRemotesPerSession: 2 })
    const { username } = await gateway.open('clnt')
    for (let i = 0; i < 5; i++) {
      const client = await openClient()
      await client.send(check(username), gateway.media)
      await origin.udp.next()
    }
    // Two from clients, one back.
    expect(gateway.datapath.totals().flows).toBe(3)
  })

  test('media goes to the origin that answered, at the port that its answer names', async () => {
    const origin = await FakeOrigin.start()
    const other = await openClient()
    const gateway = await TestGateway.start()
    await gateway.store.announce({ ...origin.announcement(), rtc: [origin.udp.port, other.port] })
    origin.reply = (request) => {
      const reply = origin.accept(request, 'or16')
      return typeof reply === 'string' ? reply : { ...reply, body: answerSdp('or16', other.port) }
    }
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    await client.send(check(username), gateway.media)
    await other.next()
    expect(origin.udp.received).toEqual([])
  })
})

describe('several ports', () => {
  const mediaListen = [
    { addresses: ['127.0.0.1'], port: 0 },
    { addresses: ['127.0.0.1', '::1'], port: 0 },
  ]

  test('are all offered, and a client may use any, change, and be answered from it', async () => {
    const { origin, gateway } = await stage({ mediaListen })
    const { answer, username } = await gateway.open('clnt')
    const [one, two, three] = gateway.service.mediaAddresses
    if (one === undefined || two === undefined || three === undefined) throw new Error('not bound')
    expect(one.port).not.toBe(two.port)
    for (const { address, port } of [one, two]) expect(answer).toContain(` ${address} ${port} typ host`)
    const client = await openClient()
    let socket: Remote | undefined
    for (const [i, local] of [one, two, one].entries()) {
      await client.send(check(username, { nominate: true }), local)
      const { from } = await origin.udp.next()
      socket ??= from
      expect(from).toEqual(socket)
      await origin.udp.send(`from ${i}`, from)
      const { text, from: port } = await client.next()
      expect([text, port.port]).toEqual([`from ${i}`, local.port])
    }
    const six = await openClient('::1')
    await six.send(check(username, { nominate: true }), three)
    await origin.udp.next()
    await origin.udp.send('from v6', socket ?? one)
    expect((await six.next()).from).toEqual({ address: '::1', port: three.port })
    expect(origin.udp.received).toEqual([])
  })

  test('one address may be of two sessions, one at each port', async () => {
    const { origin, gateway } = await stage({ mediaListen })
    const sessions = [await gateway.open('aaaa'), await gateway.open('bbbb', '/live/t/whip')]
    const client = await openClient()
    const sockets = []
    for (const [i, { username }] of sessions.entries()) {
      const local = gateway.service.mediaAddresses[i]
      if (local === undefined) throw new Error('not bound')
      await client.send(check(username), local)
      sockets.push((await origin.udp.next()).from)
      await client.send('media', local)
      expect((await origin.udp.next()).from).toEqual(sockets[i])
    }
    expect(sockets[0]).not.toEqual(sockets[1])
  })

  test('are none when one of them is taken', async () => {
    const { gateway } = await stage()
    const taken = [...mediaListen, { addresses: ['127.0.0.1'], port: gateway.media.port }]
    await expect(TestGateway.start({ mediaListen: taken })).rejects.toMatchObject({
      code: 'DATAPATH_PORT_TAKEN',
    })
    await expect(TestGateway.start({ mediaListen: [] })).rejects.toMatchObject({ code: 'WEBRTC_BAD_OPTION' })
  })
})

describe('strangers', () => {
  test.each([
    ['not-stun', Buffer.from('80e0000100000000', 'hex')],
    ['not-stun', Buffer.alloc(0)],
    ['not-stun', Buffer.from('16fefd0000', 'hex')],
    ['malformed', Buffer.from('000100022112a442000000000000000000000000ffff', 'hex')],
    ['malformed', Buffer.from('000100052112a4420000000000000000000000000006000161', 'hex')],
    ['not-request', Buffer.from('010100002112a442000000000000000000000000', 'hex')],
    ['no-username', Buffer.from('000100002112a442000000000000000000000000', 'hex')],
    ['unknown-session', check('nobody:here')],
  ])('%s is dropped and counted', async (reason, bytes) => {
    const { origin, gateway } = await stage()
    await gateway.open('clnt')
    const client = await openClient()
    await client.send(bytes, gateway.media)
    const line = `sluice_webrtc_strangers_dropped_total{reason="${reason}"}`
    await until(() => gateway.datapath.totals().delivered.packets === 1, 'the datagram to be handed over')
    expect(await gateway.metric(line)).toBe(1)
    expect(origin.udp.received).toEqual([])
    expect(gateway.datapath.totals().flows).toBe(0)
  })

  test('no bytes but an authentic check make a flow', async () => {
    const { origin, gateway } = await stage()
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    const genuine = check(username)
    // All but FINGERPRINT, which is not signed and may be absent.
    const forged = Array.from(genuine.subarray(0, -8), (byte, at) => {
      const copy = Buffer.from(genuine)
      copy[at] = byte ^ (1 << (at % 8))
      return copy
    })
    const random = fc.sample(fc.uint8Array({ maxLength: 100 }), 300)
    for (const bytes of [...forged, ...random]) await client.send(bytes, gateway.media)
    const { length } = [...forged, ...random]
    await until(() => gateway.datapath.totals().delivered.packets === length, 'all to be handed over')
    expect(gateway.datapath.totals().flows).toBe(0)
    expect(origin.udp.received).toEqual([])
    await client.send(genuine, gateway.media)
    expect((await origin.udp.next()).bytes).toEqual(genuine)
  })

  test('a known USERNAME with a wrong password moves nothing', async () => {
    const { origin, gateway } = await stage()
    const { username } = await gateway.open('clnt')
    const [client, thief] = [await openClient(), await openClient()]
    await client.send(check(username, { nominate: true }), gateway.media)
    const socket = (await origin.udp.next()).from
    await thief.send(check(username, { pwd: 'guessed', nominate: true }), gateway.media)
    await until(() => gateway.datapath.totals().delivered.packets === 2, 'the datagram to be handed over')
    expect(await gateway.metric('sluice_webrtc_strangers_dropped_total{reason="integrity"}')).toBe(1)
    await origin.udp.send('media', socket)
    expect((await client.next()).text).toBe('media')
    expect(thief.received).toEqual([])
    expect(origin.udp.received).toEqual([])
  })

  test('a known client cannot take another session without its password', async () => {
    const { origin, gateway } = await stage()
    const [mine, theirs] = [await gateway.open('mine'), await gateway.open('thrs')]
    const client = await openClient()
    await client.send(check(mine.username), gateway.media)
    const socket = (await origin.udp.next()).from
    await client.send(check(theirs.username, { pwd: 'guessed' }), gateway.media)
    await origin.udp.next()
    await client.send('media', gateway.media)
    expect((await origin.udp.next()).from).toEqual(socket)
  })
})

describe('the end of a session', () => {
  test('comes when the client is silent, and the origin is told', async () => {
    const clock = new ManualClock()
    const { origin, gateway } = await stage({ clock })
    await gateway.open('clnt')
    clock.advance(29_000)
    expect(gateway.service.listSessions()).toHaveLength(1)
    clock.advance(2000)
    expect(gateway.service.listSessions()).toHaveLength(0)
    await until(() => origin.seen.at(-1)?.method === 'DELETE', 'the origin to be told')
    expect(gateway.datapath.totals()).toMatchObject({ flows: 0, endpoints: 1 })
  })

  test('comes when only the origin is silent, and not while both are heard', async () => {
    const clock = new ManualClock()
    const { origin, gateway } = await stage({ clock })
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    await client.send(check(username), gateway.media)
    const { from, bytes } = await origin.udp.next()
    const checkBytes = bytes.length
    for (let i = 0; i < 3; i++) {
      clock.advance(20_000)
      await client.send('up', gateway.media)
      await origin.udp.next()
      await origin.udp.send('down', from)
      await client.next()
    }
    expect(gateway.service.listSessions()).toMatchObject([
      { role: 'publish', bytesIn: checkBytes + 3 * 2, bytesOut: 3 * 4 },
    ])
    clock.advance(20_000)
    await client.send('up', gateway.media)
    await origin.udp.next()
    clock.advance(12_000)
    expect(gateway.service.listSessions()).toHaveLength(0)
  })

  test('does not come by the store, which hears of it as long as it lives', async () => {
    const clock = new ManualClock()
    const store = new MemoryBalancerStore({ clock })
    const { origin, gateway } = await stage({ clock, sessionStore: store })
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    await client.send(check(username), gateway.media)
    const { from } = await origin.udp.next()
    // The SRS proxy's entry ends after 120 s, whatever flows.
    for (let seconds = 0; seconds < 300; seconds += 20) {
      clock.advance(20_000)
      await client.send('up', gateway.media)
      await origin.udp.next()
      await origin.udp.send('down', from)
      await client.next()
      gateway.service.listSessions()
    }
    expect(await store.findSession(username)).toMatchObject({ username })
  })

  test("comes when the origin's socket is gone", async () => {
    const { origin, gateway } = await stage()
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    await client.send(check(username), gateway.media)
    await origin.udp.next()
    await origin.udp.close()
    await until(() => {
      void client.send('media', gateway.media)
      return gateway.service.listSessions().length === 0
    }, 'the session to end')
    expect(await gateway.metric('sluice_webrtc_sessions_ended_total{reason="origin-gone"}')).toBe(1)
  })

  test('comes by an operator', async () => {
    const { origin, gateway } = await stage()
    await gateway.open('clnt')
    const [session] = gateway.service.listSessions()
    expect(gateway.service.kickSession('webrtc-99')).toBe(false)
    expect(gateway.service.kickSession(session?.id ?? '')).toBe(true)
    expect(gateway.service.listSessions()).toEqual([])
    await until(() => origin.seen.at(-1)?.method === 'DELETE', 'the origin to be told')
  })

  test('leaves nothing behind: 2,000 sessions with media, descriptors and tables as before', async () => {
    const { origin, gateway } = await stage()
    const client = await openClient()
    const one = async (i: number): Promise<void> => {
      const { username, location } = await gateway.open(`c${i}`.padEnd(5, '0'), '/live/s/whep')
      await client.send(check(username), gateway.media)
      expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
    }
    const twenty = (from: number): Promise<unknown> =>
      Promise.all(Array.from({ length: 20 }, (_, i) => one(from + i)))
    // The first ones fill the pools of HTTP connections, which stay.
    await twenty(0)
    const before = descriptors()
    for (let i = 20; i < 2000; i += 20) await twenty(i)
    await until(() => descriptors() <= before + 5, 'sockets to close')
    expect(gateway.datapath.totals()).toMatchObject({ endpoints: 1, flows: 0 })
    expect(gateway.service.listSessions()).toEqual([])
    expect(origin.seen.filter(({ method }) => method === 'DELETE')).toHaveLength(2000)
    expect(await gateway.store.streams()).toMatchObject([{ players: 0 }])
  }, 240_000)

  test('descriptors and flows stay constant over 100,000 packets of a client', async () => {
    const { origin, gateway } = await stage()
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    const first = check(username)
    await client.send(first, gateway.media)
    await origin.udp.next()
    const before = descriptors()
    const packet = Buffer.alloc(200, 0x80)
    for (let sent = 0; sent < 100_000; sent += 100) {
      origin.udp.received.length = 0
      for (let i = 0; i < 100; i++) void client.send(packet, gateway.media)
      await until(() => origin.udp.received.length === 100, 'a hundred packets')
    }
    expect(descriptors()).toBeLessThanOrEqual(before)
    expect(gateway.datapath.totals()).toMatchObject({ endpoints: 2, flows: 2 })
    const [session] = gateway.service.listSessions()
    expect(session?.bytesIn).toBe(first.length + 100_000 * packet.length)
  }, 60_000)
})
