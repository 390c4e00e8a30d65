import { mkdirSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificate, type TestCertificate } from '../src/mechanisms/net/certificate.testkit.ts'
import { encodeProxyHeader } from '../src/protocols/proxy-protocol/index.ts'
import type { TestTurnClient } from '../src/services/turn/turn-client.testkit.ts'
import { total } from './harness/metrics.ts'
import { runProgram } from './harness/program.ts'
import { repository } from './harness/repository.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { type EchoPeer, openUdpEcho } from './turn/echo-peer.ts'
import { buildPionClient, startRelay } from './turn/pion-client.ts'
import { aUser, listenersOf, TurnGateway, type TurnGatewayOptions } from './turn/turn-gateway.ts'
import type { TurnTransport } from './turn/turn-server.ts'
import { runUclient } from './turn/uclient.ts'

interface Issued {
  readonly username: string
  readonly password: string
  readonly ttl: number
  readonly uris: readonly string[]
}

const transports = ['udp', 'tcp', 'tls'] as const
const engines = ['auto', 'node'] as const

const closers: AsyncDisposable[] = []
afterEach(async () => {
  for (const closer of closers.splice(0).toReversed()) await closer[Symbol.asyncDispose]()
})

/** Ends it with the test. */
function owned<T extends AsyncDisposable>(one: T): T {
  closers.push(one)
  return one
}

async function start(options: TurnGatewayOptions = {}): Promise<TurnGateway> {
  return owned(await TurnGateway.start(options))
}

/** A client with an allocation and a channel to a peer that echoes. */
async function relaying(
  gateway: TurnGateway,
  transport: TurnTransport,
  peer: EchoPeer,
  options: Parameters<TurnGateway['client']>[1] = {},
): Promise<TestTurnClient> {
  const client = owned(await gateway.client(transport, options))
  await client.allocate()
  await client.bind(peer)
  await client.echo(peer, `${transport} begins`)
  return client
}

describe('credentials', () => {
  const uris = ['turn:127.0.0.1:3478?transport=udp']

  test('of the admin API and of `sluice credential` are good for turnutils_uclient by every transport', async () => {
    const gateway = await start({ turn: { uris } })
    const peer = owned(await openUdpEcho())
    const asked = await gateway.ask('GET', '/api/v1/turn/credentials?username=carol&ttl=600')
    const ofApi = asked.body as Issued
    expect(ofApi).toMatchObject({ ttl: 600, uris })
    const main = join(repository, 'dist/cli/main.js')
    const args = [main, 'credential', '-c', gateway.file, '--user', 'dave']
    const printed = await runProgram(process.execPath, args)
    const ofCommand = JSON.parse(printed) as Issued
    expect(ofCommand).toMatchObject({ ttl: 86_400, uris })
    const flags = ['-e', peer.address, '-r', String(peer.port)]
    // One packet of each session: over TLS the tool takes what it reads at a time for one message, and on a busy machine two
    // come in one record.
    const runs = [ofApi, ofCommand].flatMap((issued) =>
      transports.map((transport) => runUclient(gateway.underTest(issued), { transport, flags, packets: 1 })),
    )
    for (const report of await Promise.all(runs)) {
      expect(report).toMatchObject({ sent: 2, received: 2, lost: 0 })
    }
    await expect(runUclient(gateway.underTest({ ...ofApi, password: 'no' }), { flags })).rejects.toThrow(
      'Cannot complete Allocation',
    )
  }, 40_000)
})

describe.for(engines)('with engine %s', (engine) => {
  test('a DTLS listener serves with the certificate of its files, another one after SIGHUP', async () => {
    const files = await certificateOf()
    const listeners = [{ name: 'dtls', transport: 'dtls', listen: '127.0.0.1:0', ...files }]
    const gateway = await start({ engine, turn: { listeners } })
    const peer = owned(await openUdpEcho())
    const server = { ...gateway.underTest(), ports: { udp: gateway.ports['dtls'] ?? 0, tcp: 0, tls: 0 } }
    const flags = ['-S', '-e', peer.address, '-r', String(peer.port)]
    const lossless = { sent: 20, received: 20, lost: 0 }
    expect(await runUclient(server, { flags })).toMatchObject(lossless)
    writeCertificate(files, await makeCertificate(['second.test']))
    expect(await gateway.reload({})).toMatchObject({ msg: 'configuration read again' })
    expect(await runUclient(server, { flags })).toMatchObject(lossless)
  })

  test('the admin API lists allocations while they run, ends one, and all of a user', async () => {
    const gateway = await start({ engine })
    const peer = owned(await openUdpEcho())
    const beganMs = Date.now()
    const clients = []
    for (const transport of transports) clients.push(await relaying(gateway, transport, peer))
    const { body } = await gateway.ask('GET', '/api/v1/turn/credentials?username=carol')
    const carol = await relaying(gateway, 'udp', peer, body as Issued)
    const shown = await gateway.allocations()
    expect(shown.map(({ listener }) => listener)).toEqual([...transports, 'udp'])
    for (const [index, transport] of transports.entries()) {
      const bytes = Buffer.byteLength(`${transport} begins`)
      expect(shown[index]).toMatchObject({
        userId: 'user',
        transport,
        client: `127.0.0.1:${clients[index]?.port}`,
        relayed: [expect.stringMatching(/^127\.0\.0\.1:\d+$/)],
        peers: [`127.0.0.1:${peer.port}`],
        sent: { packets: 1, bytes },
        received: { packets: 1, bytes },
        dropped: 0,
      })
      const { since, expires } = shown[index] ?? {}
      expect(Date.parse(since ?? '')).toBeGreaterThanOrEqual(beganMs - 1)
      expect(Date.parse(expires ?? '') - Date.parse(since ?? '')).toBeGreaterThan(598_000)
    }
    expect(shown[3]).toMatchObject({ userId: 'carol' })

    const { id = '' } = shown[1] ?? {}
    expect(await gateway.ask('DELETE', `/api/v1/turn/allocations/${id}`)).toEqual({
      status: 200,
      body: { id },
    })
    expect((await gateway.ask('DELETE', `/api/v1/turn/allocations/${id}`)).status).toBe(404)
    await clients[1]?.ended
    await expect(clients[0]?.refresh()).resolves.toBeUndefined()
    expect(await gateway.ask('DELETE', '/api/v1/turn/users/user/allocations')).toEqual({
      status: 200,
      body: { user: 'user', killed: 2 },
    })
    await expect(clients[0]?.refresh()).rejects.toMatchObject({ code: 437 })
    await clients[2]?.ended
    await carol.echo(peer, 'still here')
    expect((await gateway.allocations()).map(({ userId }) => userId)).toEqual(['carol'])
    const counted = await gateway.metrics()
    expect(counted.get('sluice_turn_allocations_ended_total{reason="killed"}')).toBe(3)
  })

  test('the event webhook is told of all, with usage at the end, and metrics count the same', async () => {
    const service = await eventService()
    const gateway = await start({ engine, turn: { events: { url: service.url, token: 't0ken' } } })
    const peer = owned(await openUdpEcho())
    for (const transport of transports) {
      const client = await relaying(gateway, transport, peer)
      await client.refresh()
      await client.release()
    }
    const events = await until('nine events', () => service.events.length === 9 && service.events)
    for (const [index, transport] of transports.entries()) {
      const bytes = Buffer.byteLength(`${transport} begins`)
      const of = { userId: 'user', listener: transport }
      expect(events.slice(3 * index, 3 * index + 3)).toEqual([
        expect.objectContaining({ event: 'allocation-created', allocation: expect.objectContaining(of) }),
        expect.objectContaining({ event: 'allocation-refreshed', allocation: expect.objectContaining(of) }),
        expect.objectContaining({
          event: 'allocation-deleted',
          reason: 'released',
          allocation: expect.objectContaining({
            ...of,
            sent: { packets: 1, bytes },
            received: { packets: 1, bytes },
          }),
        }),
      ])
    }
    expect(service.tokens).toEqual(new Set(['Bearer t0ken']))
    const counted = await gateway.metrics()
    const sample = (name: string): number | undefined => counted.get(`sluice_turn_${name}`)
    expect(sample('allocations_created_total')).toBe(3)
    expect(sample('allocations_ended_total{reason="released"}')).toBe(3)
    expect(sample('answers_total{method="allocate",result="401"}')).toBe(3)
    expect(sample('answers_total{method="allocate",result="success"}')).toBe(3)
    expect(sample('answers_total{method="refresh",result="success"}')).toBe(6)
    for (const listener of transports) {
      expect(sample(`allocations{listener="${listener}"}`)).toBe(0)
      // Allocate twice, ChannelBind, data, Refresh twice.
      expect(sample(`listener_packets_total{listener="${listener}",direction="rx"}`)).toBe(6)
      expect(sample(`listener_bytes_total{listener="${listener}",direction="tx"}`)).toBeGreaterThan(0)
    }
    expect(sample('events_lost_total')).toBe(0)
  })

  test('a quota counts over UDP, TCP and TLS together, and what was released can be had again', async () => {
    const gateway = await start({ engine, turn: { limits: { maxPerUser: 3 } } })
    const clients = []
    for (const transport of transports) {
      const client = owned(await gateway.client(transport))
      await client.allocate()
      clients.push(client)
    }
    for (const [index, transport] of transports.entries()) {
      const late = owned(await gateway.client(transport))
      await expect(late.allocate()).rejects.toMatchObject({ code: 486 })
      await clients[index]?.release()
      await late.allocate()
    }
    // So it can after its connection broke.
    const last = (await gateway.allocations()).find(({ listener }) => listener === 'tls')
    await gateway.ask('DELETE', `/api/v1/turn/allocations/${last?.id ?? ''}`)
    await owned(await gateway.client('udp')).allocate()
  })

  test('behind a balancer, the PROXY protocol says who the client is', async () => {
    const files = await certificateOf()
    const proxied = { proxyProtocolFrom: ['127.0.0.1'] }
    const gateway = await start({
      engine,
      turn: { listeners: listenersOf(files, { tcp: proxied, tls: proxied }) },
    })
    const peer = owned(await openUdpEcho())
    const addresses = {
      1: {
        source: { address: '203.0.113.9', port: 4444 },
        destination: { address: '203.0.113.1', port: 3478 },
      },
      2: {
        source: { address: '2001:db8::9', port: 5555 },
        destination: { address: '2001:db8::1', port: 5349 },
      },
    } as const
    for (const [transport, version] of [
      ['tcp', 1],
      ['tls', 2],
    ] as const) {
      const preamble = encodeProxyHeader({ version, command: 'proxy', addresses: addresses[version] })
      await relaying(gateway, transport, peer, { preamble })
    }
    const shown = await gateway.allocations()
    expect(shown.map(({ client }) => client)).toEqual(['203.0.113.9:4444', '[2001:db8::9]:5555'])
    const bare = owned(await gateway.client('tcp'))
    await expect(bare.allocate()).rejects.toMatchObject({ code: 'closed' })
  })
})

describe('SIGHUP', () => {
  beforeAll(async () => {
    await buildPionClient()
  }, 300_000)

  test.for(engines)(
    'with engine %s loses no datagram of what runs, while certificate, secrets and users change',
    { timeout: 60_000 },
    async (engine) => {
      const gateway = await start({ engine })
      const peer = owned(await openUdpEcho())
      const { body } = await gateway.ask('GET', '/api/v1/turn/credentials?username=carol')
      const north = body as Issued
      const relays = []
      // Each goes on asking with what it was given at its beginning, some of which is no longer known then.
      for (const transport of transports) {
        for (const user of [aUser, north]) {
          const relay = await startRelay(gateway.underTest(user), transport, peer, {
            intervalMs: 10,
            renewMs: 20,
          })
          relays.push(owned(relay))
        }
      }
      const echoed = async (): Promise<void> => {
        const before = peer.echoed.packets
        await until('300 echoes', () => peer.echoed.packets >= before + 300)
      }
      await echoed()
      await gateway.replaceCertificate('second.test')
      const bob = { username: 'bob', password: 'builder' }
      const said = await gateway.reload({ credentials: { users: [bob], secrets: ['south', 'north'] } })
      expect(said).toMatchObject({ level: 'info', msg: 'configuration read again' })
      await echoed()
      const south = (await gateway.ask('GET', '/api/v1/turn/credentials?username=carol')).body as Issued
      for (const user of [bob, north, south]) {
        const client = owned(await gateway.client('tls', user))
        expect(client.certificate?.subject.CN).toBe('second.test')
        await client.allocate()
      }
      await expect(owned(await gateway.client('udp')).allocate()).rejects.toMatchObject({ code: 401 })
      await gateway.reload({ credentials: { users: [], secrets: ['south'] } })
      await echoed()
      await owned(await gateway.client('udp', south)).allocate()
      await expect(owned(await gateway.client('udp', north)).allocate()).rejects.toMatchObject({ code: 401 })
      for (const report of await Promise.all(relays.map((relay) => relay.finish()))) {
        expect(report).toMatchObject({ received: report.sent, lost: 0, broken: 0, twice: 0 })
        expect(report.sent).toBeGreaterThan(100)
        expect(report.renewals).toBeGreaterThan(10)
      }
      expect(gateway.program.output).not.toContain('opened anew')
    },
  )

  test('with a bad file changes nothing and says so in one line', async () => {
    const gateway = await start()
    const peer = owned(await openUdpEcho())
    const client = await relaying(gateway, 'udp', peer)
    const bad = [
      [await gateway.hangUp('{'), 'CONFIG_SYNTAX', 'sluice.json'],
      [await gateway.reload({ realm: '' }), 'CONFIG_INVALID', 'turn.realm'],
      [await gateway.reload({ peers: { allow: ['10.0.0.0/99'] } }), 'PEERS_BAD_RULE', 'turn.peers.allow[0]'],
      [
        await gateway.reload({ credentials: { users: [aUser, aUser] } }),
        'TURN_CREDENTIAL_BAD_OPTION',
        'turn.credentials.users',
      ],
    ] as const
    for (const [said, code, key] of bad) {
      expect(said).toMatchObject({ level: 'error', code, reason: expect.stringContaining(key) })
    }
    await client.echo(peer, 'as before')
    await owned(await gateway.client('udp')).allocate()
    const lines = gateway.program.output.split('\n')
    expect(lines.slice(lines.findIndex((line) => line.includes('"gateway ready"')) + 1)).toHaveLength(4)
  })

  test('names sections and keys that want a restart', async () => {
    const gateway = await start()
    await gateway.reload({ secret: 'new', realm: 'other' })
    const said = await gateway.program.line((line) => (line.includes('need a restart') ? line : undefined))
    expect(JSON.parse(said)).toMatchObject({ level: 'warn', sections: ['turn.secret'] })
  })

  test.for(engines)(
    'with engine %s stops data at once to whom is no longer allowed',
    { timeout: 30_000 },
    async (engine) => {
      const gateway = await start({ engine })
      const peer = owned(await openUdpEcho())
      const relays = []
      for (const transport of transports) {
        relays.push(owned(await startRelay(gateway.underTest(), transport, peer, { intervalMs: 5 })))
      }
      await until('echoes', () => peer.echoed.packets > 100)
      await gateway.reload({ peers: { allow: [] } })
      // What was on its way in the sockets has passed when this is answered.
      const dropped = async (): Promise<number> =>
        total(await gateway.metrics(), 'sluice_turn_dropped_messages_total')
      await until('a drop', async () => (await dropped()) > 0)
      const { packets } = peer.echoed
      await until('many drops', async () => (await dropped()) > 200)
      expect(peer.echoed.packets).toBe(packets)
      const client = owned(await gateway.client('udp'))
      await client.allocate()
      await expect(client.bind(peer)).rejects.toMatchObject({ code: 403 })
      await gateway.reload({})
      await client.bind(peer)
      await client.echo(peer, 'allowed again')
    },
  )
})

describe('a port that is shared with HTTP', () => {
  test('serves pages, WHIP and TURN, by ALPN and without', async () => {
    using folder = temporaryFolder()
    const pages = join(folder.path, 'pages')
    mkdirSync(pages)
    writeFileSync(join(pages, 'index.html'), '<h1>on the same port</h1>')
    const files = await certificateOf()
    const shared = { sharedWithHttp: true }
    const gateway = await start({
      config: { media: { http: { pages } } },
      turn: { listeners: listenersOf(files, { tcp: shared, tls: shared }) },
    })
    const peer = owned(await openUdpEcho())
    const port = gateway.ports['tls'] ?? 0
    for (const alpn of [['http/1.1'], ['h2', 'http/1.1'], undefined]) {
      expect(await askOverTls(port, 'GET / HTTP/1.1', alpn)).toMatch(/^HTTP\/1\.1 200 .*on the same port/s)
      const whip = await askOverTls(port, 'POST /rtc/v1/whip/?app=live&stream=s HTTP/1.1', alpn)
      expect(whip).toMatch(/^HTTP\/1\.1 400 .*"code":"WEBRTC_BAD_SDP"/s)
    }
    for (const alpn of [['stun.turn'], ['stun.nat-discovery'], undefined]) {
      await relaying(gateway, 'tls', peer, alpn === undefined ? {} : { alpn })
    }
    const plain = await fetch(`http://127.0.0.1:${gateway.ports['tcp']}/`)
    expect(await plain.text()).toContain('on the same port')
    await relaying(gateway, 'tcp', peer)
    expect((await gateway.allocations()).length).toBe(4)
  })

  test('is cut for what is neither', async () => {
    const files = await certificateOf()
    const gateway = await start({
      turn: { listeners: listenersOf(files, { tls: { sharedWithHttp: true } }) },
    })
    expect(await askOverTls(gateway.ports['tls'] ?? 0, '\u0016\u0003', undefined)).toBe('')
  })
})

describe.for(engines)('SIGTERM with engine %s', (engine) => {
  const turnOnly = { media: { http: { listen: [] }, rtmp: { listen: [] } } }

  test('refuses new allocations, lets running ones go on, and ends with the last', async () => {
    const gateway = await start({ engine, config: { ...turnOnly, shutdown: { graceSeconds: 60 } } })
    const peer = owned(await openUdpEcho())
    const clients = []
    for (const transport of transports) clients.push(await relaying(gateway, transport, peer))
    expect((await gateway.ask('GET', '/readyz')).status).toBe(200)
    const ended = gateway.program.ended
    gateway.program.kill('SIGTERM')
    await gateway.program.line((line) => line.includes('"draining"') || undefined)
    expect(await gateway.ask('GET', '/readyz')).toMatchObject({
      status: 503,
      body: { reasons: ['draining'] },
    })
    const late = owned(await gateway.client('udp'))
    await expect(late.allocate()).rejects.toMatchObject({ code: 508 })
    for (const client of clients) {
      await client.echo(peer, 'goes on')
      await client.refresh()
    }
    for (const client of clients) {
      expect(gateway.program.isRunning).toBe(true)
      await client.release()
    }
    expect(await ended).toEqual({ code: 0, signal: null })
  })

  test('cuts what is left at the deadline', async () => {
    const service = await eventService()
    const gateway = await start({
      engine,
      config: { ...turnOnly, shutdown: { graceSeconds: 1 } },
      turn: { events: { url: service.url } },
    })
    const peer = owned(await openUdpEcho())
    const clients = []
    for (const transport of transports) clients.push(await relaying(gateway, transport, peer))
    const beganMs = performance.now()
    gateway.program.kill('SIGTERM')
    await gateway.program.line((line) => line.includes('"draining"') || undefined)
    for (const client of clients) await client.echo(peer, 'goes on')
    expect(await gateway.program.ended).toEqual({ code: 0, signal: null })
    expect(performance.now() - beganMs).toBeGreaterThan(900)
    expect(performance.now() - beganMs).toBeLessThan(5000)
    await clients[1]?.ended
    // Who follows allocations has been told of their ends.
    const ends = service.events.filter(({ event }) => event === 'allocation-deleted')
    expect(ends.map(({ reason }) => reason)).toEqual(['closed', 'closed', 'closed'])
  })
})

/** A certificate in files that live as long as the test. */
async function certificateOf(): Promise<{ readonly certFile: string; readonly keyFile: string }> {
  const folder = temporaryFolder()
  owned({ [Symbol.asyncDispose]: async () => folder[Symbol.dispose]() })
  const files = { certFile: join(folder.path, 'cert.pem'), keyFile: join(folder.path, 'key.pem') }
  writeCertificate(files, await makeCertificate())
  return files
}

function writeCertificate(
  { certFile, keyFile }: { readonly certFile: string; readonly keyFile: string },
  { cert, key }: TestCertificate,
): void {
  writeFileSync(certFile, cert)
  writeFileSync(keyFile, key)
}

interface PostedEvent {
  readonly event: string
  readonly reason?: string
  readonly allocation: Readonly<Record<string, unknown>>
}

/** Takes events and keeps them. */
async function eventService() {
  const events: PostedEvent[] = []
  const tokens = new Set<string | undefined>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      events.push(...(JSON.parse(Buffer.concat(chunks).toString()) as { events: PostedEvent[] }).events)
      tokens.add(request.headers.authorization)
      response.writeHead(204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  owned({
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`, events, tokens }
}

/** All that comes back for a request without a body, until the connection is closed. */
async function askOverTls(
  port: number,
  requestLine: string,
  alpn: readonly string[] | undefined,
): Promise<string> {
  const socket = connect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(alpn !== undefined && { ALPNProtocols: [...alpn] }),
  })
  socket.write(`${requestLine}\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  // Who is cut may see a reset.
  socket.on('error', () => {})
  await once(socket, 'close')
  return text
}
