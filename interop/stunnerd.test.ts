import { once } from 'node:events'
import { createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificate } from '../src/mechanisms/net/certificate.testkit.ts'
import { issueCredential } from '../src/services/turn/index.ts'
import type { TestTurnClient } from '../src/services/turn/turn-client.testkit.ts'
import { total } from './harness/metrics.ts'
import { runProgram } from './harness/program.ts'
import { until } from './harness/until.ts'
import { type EchoPeer, openTcpEcho, openUdpEcho } from './turn/echo-peer.ts'
import { buildPionClient, relayStreams, startRelay } from './turn/pion-client.ts'
import { FakeCds } from './turn/stunnerd-cds.ts'
import {
  aUser,
  certificateKeys,
  StunnerdDaemon,
  type StunnerdListenerSection,
  type StunnerdTransport,
  stunnerdConfig,
  stunnerdListeners,
  stunnerdMain,
  stunnerdTransports,
} from './turn/stunnerd-daemon.ts'
import { runUclient, type UclientReport } from './turn/uclient.ts'

/** Those that the clients of the harness speak; DTLS is uclient's alone. */
const transports = ['udp', 'tcp', 'tls'] as const

/** Errors do not count: with the token of a relay whose connection is gone the tool is refused, and asks without it. */
const lossless = { lost: 0 }

/** The peers are in this process: what comes while it is kept from running must find room in their sockets. */
const atEase = { intervalMs: 20 }

/** How a daemon learns that its file has changed. */
const ways = ['-w', 'SIGHUP'] as const

beforeAll(async () => {
  await buildPionClient()
}, 300_000)

// A run of the tool takes 2 to 8 s, nearly all of it idle.
describe.concurrent('turnutils_uclient', { timeout: 60_000 }, () => {
  let media: EchoPeer
  let named: EchoPeer
  let daemon: StunnerdDaemon
  let ephemeral: StunnerdDaemon

  beforeAll(async () => {
    media = await openUdpEcho()
    named = await openUdpEcho()
    const clusters = [
      { name: 'media', type: 'STATIC', endpoints: [`127.0.0.1:<${media.port}-${media.port + 1}>`] },
      { name: 'names', type: 'STRICT_DNS', endpoints: ['localhost'] },
      { name: 'streams', type: 'STATIC', protocol: 'tcp', endpoints: ['127.0.0.0/8'] },
    ]
    const byAddress = stunnerdTransports.map((transport) => ({ name: transport, transport }))
    const byName = stunnerdTransports.map((transport) => ({ name: `${transport}-names`, transport }))
    const listeners = [
      ...(await stunnerdListeners(byAddress, { routes: ['media'] })),
      ...(await stunnerdListeners(byName, { routes: ['names', 'streams'] })),
    ]
    const auth = { type: 'ephemeral', credentials: { secret: 'north' } }
    ;[daemon, ephemeral] = await Promise.all([
      StunnerdDaemon.start({ changes: { clusters, listeners } }),
      StunnerdDaemon.start({ changes: { auth } }),
    ])
    // Names are asked for in the background.
    await using client = await daemon.client('udp', { port: daemon.portOf('udp-names') })
    await client.allocate()
    await until('localhost is known', async () => {
      await client.permit(named)
      return true
    })
  })
  afterAll(async () => {
    for (const one of [daemon, ephemeral, media, named]) await one[Symbol.asyncDispose]()
  })

  test('loses nothing over any transport to a STATIC cluster with a port range', async ({ expect }) => {
    const runs = stunnerdTransports.map((transport) => uclient(daemon, transport, media))
    for (const report of await Promise.all(runs)) expect(report).toMatchObject(lossless)
  })

  test('loses nothing over any transport to a STRICT_DNS cluster', async ({ expect }) => {
    const runs = stunnerdTransports.map((transport) =>
      uclient(daemon, transport, named, { listener: `${transport}-names` }),
    )
    for (const report of await Promise.all(runs)) expect(report).toMatchObject(lossless)
  })

  test('loses nothing over any transport with a time-limited user, who alone is let in', async ({
    expect,
  }) => {
    const credentials = 'secret'
    const runs = stunnerdTransports.map((transport) => uclient(ephemeral, transport, named, { credentials }))
    for (const report of await Promise.all(runs)) expect(report).toMatchObject(lossless)
    await expect(uclient(ephemeral, 'udp', named)).rejects.toThrow('Cannot complete Allocation')
  })

  test('is refused channels to ports out of the range over any transport', async ({ expect }) => {
    const beside = { ...media, port: media.port + 2 }
    for (const transport of stunnerdTransports) {
      await expect(uclient(daemon, transport, beside)).rejects.toThrow('channel bind: error 403 (Forbidden)')
    }
  })

  test('has TCP allocations where a TCP cluster is routed to, and there only', async ({ expect }) => {
    const flags = ['-T']
    const runs = (['tcp', 'tls'] as const).map(async (transport) => {
      const server = daemon.underTest({ listener: `${transport}-names` })
      expect(await runUclient(server, { transport, flags, packets: 1 })).toMatchObject({ sent: 2, lost: 0 })
      await expect(runUclient(daemon.underTest(), { transport, flags })).rejects.toThrow('error 442')
    })
    await Promise.all(runs)
  })
})

describe('peers', () => {
  test('outside of the routes or of the port range are refused with 403 when they are asked for', async () => {
    await using peer = await openUdpEcho()
    const clusters = [
      { name: 'media', endpoints: [`127.0.0.1:<${peer.port}-${peer.port}>`, '127.9.0.0/16'] },
      { name: 'unrouted', endpoints: ['127.2.0.0/16'] },
    ]
    await using daemon = await StunnerdDaemon.start({ changes: { clusters } })
    for (const transport of transports) {
      await using client = await relaying(daemon, transport, peer)
      for (const address of ['127.2.0.1', '192.0.2.1']) {
        await expect(client.permit({ address, port: 1 })).rejects.toMatchObject({ code: 403 })
        await expect(client.bind({ address, port: 1 })).rejects.toMatchObject({ code: 403 })
      }
      const beside = { ...peer, port: peer.port + 1 }
      await expect(client.bind(beside)).rejects.toMatchObject({ code: 403 })
      await client.bind({ address: '127.9.9.9', port: 65_535 })
      // Permissions have no port, so what is sent to a port out of the range is dropped later.
      await client.permit(beside)
      client.send(beside, 'never comes')
      await client.echo(peer, 'goes on')
      expect(client.received).not.toContain('never comes')
    }
    expect(peer.echoed.packets).toBe(2 * transports.length)
    expect(total(await daemon.metrics(), 'sluice_turn_dropped_messages_total')).toBe(transports.length)
  })

  test.for(['tcp', 'tls'] as const)(
    'of a TCP cluster are connected to and connect in over %s, those of other ports are not',
    async (transport) => {
      await using peer = await openTcpEcho()
      await using other = await openTcpEcho()
      const endpoints = [`127.0.0.1:<${peer.port}-${peer.port}>`]
      const open = { name: 'media', protocol: 'tcp', endpoints: ['127.0.0.1'] }
      const ranged = { name: 'media', protocol: 'tcp', endpoints }
      await using daemon = await StunnerdDaemon.start({ changes: { clusters: [open] } })
      const bytes = 100_000
      expect(await relayStreams(daemon.underTest(), transport, peer, bytes)).toMatchObject({
        ...{ outBytes: bytes, inBytes: bytes, backBytes: bytes },
      })
      const counted = await daemon.metrics()
      expect(counted.get('stunner_cluster_bytes_total{name="media",direction="tx"}')).toBe(2 * bytes)
      expect(counted.get('stunner_cluster_bytes_total{name="media",direction="rx"}')).toBe(2 * bytes)
      await daemon.change({ clusters: [ranged] })
      await expect(relayStreams(daemon.underTest(), transport, other, bytes)).rejects.toThrow('403')
      expect(other.echoed.bytes).toBe(0)
    },
  )
})

test('a quota counts a user over all listeners, and another one holds at once', async () => {
  await using peer = await openUdpEcho()
  await using daemon = await StunnerdDaemon.start({ flags: ['-w'] })
  const { admin } = daemon.config
  await daemon.change({ admin: { ...admin, user_quota: 3 } })
  await using first = await daemon.client('udp')
  await using second = await daemon.client('tcp')
  await using third = await daemon.client('tls')
  for (const client of [first, second, third]) await client.allocate()
  for (const transport of transports) {
    await using late = await daemon.client(transport)
    await expect(late.allocate()).rejects.toMatchObject({ code: 486 })
  }
  await expect(uclient(daemon, 'dtls', peer)).rejects.toThrow('error 486')
  await second.release()
  await using next = await daemon.client('udp')
  await next.allocate()
  await using late = await daemon.client('tls')
  await expect(late.allocate()).rejects.toMatchObject({ code: 486 })
  await daemon.change({ admin: { ...admin, user_quota: 4 } })
  await late.allocate()
})

describe('health and metrics', () => {
  test('tell in the shape of STUNner of what there is', async () => {
    await using daemon = await StunnerdDaemon.start()
    expect(await daemon.ask('health', '/live')).toEqual({ status: 200, text: '{}\n' })
    const ready = { status: 200, text: '{"status":200,"message":"READY"}\n' }
    expect(await daemon.ask('health', '/ready')).toEqual(ready)
    const none = { pkts: 0, bytes: 0, timestamp: 0 }
    const stats = { rx: none, tx: none }
    expect(await daemon.status()).toEqual({
      version: 'v1',
      admin: {
        name: 'ns/gw',
        loglevel: 'all:INFO',
        metrics_endpoint: 'http://127.0.0.1:0/metrics',
        healthcheck_endpoint: 'http://127.0.0.1:0',
        quota: '0',
        offload: 'None[all]',
        licensing_info: 'none needed',
      },
      auth: {
        type: 'static',
        realm: 'stunner.l7mp.io',
        credentials: { username: '<SECRET>', password: '<SECRET>' },
      },
      listeners: stunnerdTransports.map((name) => ({
        name,
        protocol: `TURN-${name.toUpperCase()}`,
        address: '127.0.0.1',
        port: daemon.portOf(name),
        ...((name === 'tls' || name === 'dtls') && { cert: '<SECRET>', key: '<SECRET>' }),
        routes: ['media'],
        stats,
      })),
      clusters: [{ name: 'media', type: 'STATIC', protocol: 'udp', endpoints: ['127.0.0.1'], stats }],
      allocationCount: 0,
      status: 'READY',
    })
  })

  test('count what goes through each listener and cluster, to the byte', async () => {
    await using media = await openUdpEcho()
    await using other = await openUdpEcho()
    const clusters = [clusterOf('media', media), clusterOf('other', other)]
    const { listeners } = await stunnerdConfig()
    await using daemon = await StunnerdDaemon.start({
      changes: { clusters, listeners: routesOf(listeners, ['media', 'other']) },
    })
    let rounds = 0
    for (const transport of transports) {
      await using client = await daemon.client(transport)
      await client.allocate()
      await client.bind(media)
      await client.permit(other)
      const before = await countsOf(daemon)
      expect(before.sample('allocations_active')).toBe(1)
      expect(before.sample('listener_connections', transport)).toBe(1)
      expect(before.sample('listener_connections_total', transport)).toBe(1)
      // Allocate twice, ChannelBind, CreatePermission.
      expect(before.traffic('listener', transport, 'rx')[0]).toBe(4)
      for (let i = 0; i < 10; i++) await client.echo(media, `${i}`.padEnd(104))
      for (let i = 0; i < 5; i++) await client.echo(other, `${i}`.padEnd(100))
      const after = await countsOf(daemon)
      rounds++
      for (const direction of ['rx', 'tx'] as const) {
        const [packetsBefore = 0, bytesBefore = 0] = before.traffic('listener', transport, direction)
        // In a channel 4 bytes more; in an indication 36: header, XOR-PEER-ADDRESS and the head of DATA.
        const [packets, bytes] = [packetsBefore + 15, bytesBefore + 10 * (104 + 4) + 5 * (100 + 36)]
        expect(after.traffic('listener', transport, direction)).toEqual([packets, bytes])
        const [ended, left] = [rounds - 1, 44 * (rounds - 1)]
        expect(after.traffic('cluster', 'media', direction)).toEqual([
          10 * rounds + ended,
          1040 * rounds + left,
        ])
        expect(after.traffic('cluster', 'other', direction)).toEqual([5 * rounds, 500 * rounds])
      }
      // Nobody looks between this and the end of the allocation; the next round finds it counted.
      await client.echo(media, 'the last'.padEnd(44))
      await client.release()
      const ended = await countsOf(daemon)
      expect(ended.sample('allocations_active')).toBe(0)
      expect(ended.sample('listener_connections', transport)).toBe(0)
      expect(ended.sample('listener_connections_total', transport)).toBe(1)
    }
    expect((await countsOf(daemon)).traffic('cluster', 'media', 'tx')).toEqual([33, 3 * (1040 + 44)])
    expect(await daemon.status()).toMatchObject({
      clusters: [
        { name: 'media', stats: { tx: { pkts: 33, bytes: 3252 } } },
        { name: 'other', stats: { rx: { pkts: 15, bytes: 1500 } } },
      ],
    })
  })

  test('credit what is not seen before a route changes to the cluster that it went to', async () => {
    await using media = await openUdpEcho()
    await using other = await openUdpEcho()
    const clusters = [clusterOf('media', media), clusterOf('other', other)]
    const { listeners } = await stunnerdConfig()
    await using daemon = await StunnerdDaemon.start({
      changes: { clusters, listeners: routesOf(listeners, ['media']) },
    })
    await using client = await relaying(daemon, 'udp', media)
    await daemon.change({ listeners: routesOf(listeners, ['other']) })
    await client.bind(other)
    await client.echo(other, 'four')
    const counts = await countsOf(daemon)
    expect(counts.traffic('cluster', 'media', 'tx')).toEqual([1, Buffer.byteLength('udp begins')])
    expect(counts.traffic('cluster', 'other', 'tx')).toEqual([1, 4])
  })
})

// Most of their time is uclient's, who begins when it pleases.
describe.concurrent('while relays run,', { timeout: 60_000 }, () => {
  test.for(ways)(
    'certificate, credentials, routes, realm and log level change, and nothing is lost: %s',
    async (way, { expect }) => {
      await using peer = await openUdpEcho()
      await using byDtls = await openUdpEcho()
      await using daemon = await StunnerdDaemon.start({ flags: flagsOf(way) })
      const { admin, listeners, clusters } = daemon.config
      const dtls = uclient(daemon, 'dtls', byDtls, { packets: 100 })
      // Each goes on asking with what it was given at its beginning.
      const often = { ...atEase, renewMs: 20 }
      await using udp = await startRelay(daemon.underTest(), 'udp', peer, often)
      await using tls = await startRelay(daemon.underTest(), 'tls', peer, often)
      await until('echoes over DTLS', () => byDtls.echoed.packets > 10, { deadlineMs: 25_000 })

      const second = await makeCertificate(['second.test', 'localhost'])
      await change({
        listeners: listeners.map((it) => ('cert' in it ? { ...it, ...certificateKeys(second) } : it)),
      })
      await using replaced = await daemon.client('tls')
      expect(replaced.certificate?.subject.CN).toBe('second.test')
      await replaced.allocate()

      const bob = { username: 'bob', password: 'builder' }
      await change({ auth: { credentials: bob } })
      await isTaken(bob)
      await isRefused(aUser)

      await change({ auth: { type: 'ephemeral', realm: 'other.test', credentials: { secret: 'north' } } })
      expect(await daemon.status()).toMatchObject({ auth: { type: 'ephemeral', realm: 'other.test' } })
      await isTaken(issueCredential({ secret: 'north', uris: [], ttlSeconds: 600, wallMs: Date.now() }))
      await isRefused(bob)

      await change({
        listeners: routesOf(daemon.config.listeners, ['media', 'names']),
        clusters: [...clusters, { name: 'names', type: 'STRICT_DNS', endpoints: ['localhost'] }],
      })
      await change({ clusters: [clusterOf('media', peer), clusterOf('names', byDtls, 2)] })

      await change({ admin: { ...admin, loglevel: 'all:DEBUG' } })
      daemon.offer(`${JSON.stringify(daemon.config)}\n`)
      await daemon.said('the configuration is the one that holds')
      const quiet = { ...daemon.config, admin: { ...admin, loglevel: 'all:ERROR' } }
      daemon.offer(JSON.stringify(quiet))
      await until('another level', async () => JSON.stringify(await daemon.status()).includes('all:ERROR'))
      await echoed()

      for (const report of [await udp.finish(), await tls.finish()]) {
        expect(report).toMatchObject({ received: report.sent, lost: 0, broken: 0, twice: 0 })
        expect(report.renewals).toBeGreaterThan(10)
      }
      expect(await dtls).toMatchObject(lossless)

      async function change(changes: Parameters<StunnerdDaemon['change']>[0]): Promise<void> {
        expect(await daemon.change(changes)).toMatchObject({ msg: 'configuration changed', restarted: [] })
        await echoed()
      }
      async function echoed(): Promise<void> {
        const wanted = peer.echoed.packets + 20
        await until('20 echoes', () => peer.echoed.packets >= wanted)
      }
      async function isTaken(user: { readonly username: string; readonly password: string }): Promise<void> {
        await using client = await daemon.client('udp', user)
        await client.allocate()
      }
      async function isRefused(user: {
        readonly username: string
        readonly password: string
      }): Promise<void> {
        await using client = await daemon.client('udp', user)
        await expect(client.allocate()).rejects.toMatchObject({ code: 401 })
      }
    },
  )

  test.for(ways)(
    'a route that is removed stops data at once, and is there again when it is put back: %s',
    async (way, { expect }) => {
      await using peer = await openUdpEcho()
      await using daemon = await StunnerdDaemon.start({ flags: flagsOf(way) })
      const { listeners } = daemon.config
      await using _udp = await startRelay(daemon.underTest(), 'udp', peer, atEase)
      await using _tls = await startRelay(daemon.underTest(), 'tls', peer, atEase)
      await until('echoes', () => peer.echoed.packets > 20)
      await daemon.change({ listeners: routesOf(listeners, []) })
      const dropped = async () => total(await daemon.metrics(), 'sluice_turn_dropped_messages_total')
      // What was on its way in the sockets has passed when this is answered.
      await until('a drop', async () => (await dropped()) > 0)
      const { packets } = peer.echoed
      await until('many drops', async () => (await dropped()) > 20)
      expect(peer.echoed.packets).toBe(packets)
      await using client = await daemon.client('udp')
      await client.allocate()
      await expect(client.bind(peer)).rejects.toMatchObject({ code: 403 })
      await daemon.change({ listeners })
      await client.bind(peer)
      await client.echo(peer, 'allowed again')
    },
  )

  test.for(ways)('a bad file is refused in one line and changes nothing: %s', async (way, { expect }) => {
    await using peer = await openUdpEcho()
    await using daemon = await StunnerdDaemon.start({ flags: flagsOf(way) })
    await using relay = await startRelay(daemon.underTest(), 'udp', peer, atEase)
    await using taken = await takenPort()
    const { config } = daemon
    const { admin, listeners } = config
    const [first, ...others] = listeners
    const { cert } = certificateKeys(await makeCertificate())
    const bad = [
      ['{', 'CONFIG_SYNTAX', 'stunnerd.conf'],
      [{ ...config, version: 'v3' }, 'CONFIG_INVALID', 'version = "v3"'],
      [{ ...config, listeners: [...others, { ...first, protocol: 'sctp' }] }, 'CONFIG_INVALID', 'protocol'],
      [
        { ...config, listeners: listeners.map((it) => ({ ...it, cert })) },
        'CONFIG_INVALID',
        'belong together',
      ],
      [
        { ...config, listeners: [...listeners, { name: 'more', protocol: 'tcp', port: taken.port }] },
        'NET_PORT_TAKEN',
        `${taken.port}`,
      ],
      [
        {
          ...config,
          auth: { credentials: { username: 'bob', password: 'builder' } },
          admin: { ...admin, metrics_endpoint: `http://127.0.0.1:${taken.port}` },
        },
        'NET_PORT_TAKEN',
        `${taken.port}`,
      ],
    ] as const
    const before = withoutStats(await daemon.status())
    for (const [text, code, reason] of bad) {
      const count = daemon.lines(/"level":"(?:warn|error)"/).length
      const said = await daemon.changeText(typeof text === 'string' ? text : JSON.stringify(text))
      expect(said).toMatchObject({
        level: 'error',
        msg: 'configuration refused, the one before it stays',
        code,
        reason: expect.stringContaining(reason),
      })
      expect(daemon.lines(/"level":"(?:warn|error)"/)).toHaveLength(count + 1)
    }
    expect(withoutStats(await daemon.status())).toEqual(before)
    expect((await daemon.ask('health', '/ready')).status).toBe(200)
    expect((await daemon.ask('metrics', '/metrics')).status).toBe(200)
    await using client = await daemon.client('tls')
    await client.allocate()
    expect(await relay.finish()).toMatchObject({ lost: 0, broken: 0, twice: 0 })
  })
})

describe('a config discovery server', () => {
  test('pushes another configuration while relays run, and nothing is lost; it may go away and come back', async () => {
    await using peer = await openUdpEcho()
    const config = await stunnerdConfig()
    await using cds = await FakeCds.start(config)
    await using daemon = await StunnerdDaemon.start({
      config,
      origin: cds.url,
      flags: ['-w', '--id', 'ns/gw'],
    })
    expect(cds.requests).toEqual(['/api/v1/configs/ns/gw?watch=true'])
    await using udp = await startRelay(daemon.underTest(), 'udp', peer, atEase)
    await using tls = await startRelay(daemon.underTest(), 'tls', peer, atEase)
    const second = await makeCertificate(['second.test', 'localhost'])
    const bob = { username: 'bob', password: 'builder' }
    const changed = {
      ...config,
      auth: { realm: 'other.test', credentials: bob },
      listeners: config.listeners.map((it) => ('cert' in it ? { ...it, ...certificateKeys(second) } : it)),
      clusters: [...config.clusters, { name: 'more', endpoints: ['192.0.2.0/24'] }],
    }
    cds.push(changed)
    expect(await daemon.verdict(1)).toMatchObject({ msg: 'configuration changed', restarted: [] })
    await using client = await daemon.client('tls', bob)
    expect(client.certificate?.subject.CN).toBe('second.test')
    await client.allocate()

    // So it tells of a gateway that was deleted.
    cds.push({ ...changed, listeners: [], clusters: [] })
    expect(await daemon.verdict(2)).toMatchObject({ msg: 'configuration without listeners, passed over' })
    cds.cut()
    await daemon.said('no connection to the config discovery server, trying again')
    // Once more when it has come back.
    await daemon.verdict(3)
    cds.push({ ...changed, auth: { credentials: aUser } })
    expect(await daemon.verdict(4)).toMatchObject({ msg: 'configuration changed', restarted: [] })
    await using late = await daemon.client('udp')
    await late.allocate()
    for (const report of [await udp.finish(), await tls.finish()]) {
      expect(report).toMatchObject({ received: report.sent, lost: 0, broken: 0, twice: 0 })
      expect(report.sent).toBeGreaterThan(20)
    }
  })

  test('is asked once by who does not watch', async () => {
    await using cds = await FakeCds.start(await stunnerdConfig())
    const args = ['stunnerd', '--dry-run', '-c', cds.url, '--id', 'ns/gw']
    const env = { STUNNER_NODENAME: 'node-1' }
    const said = await runProgram(process.execPath, [stunnerdMain(), ...args], { env })
    expect(said).toContain('the configuration is good name=ns/gw')
    expect(cds.requests).toEqual(['/api/v1/configs/ns/gw?node=node-1'])
  })
})

describe('SIGTERM', () => {
  test('refuses new allocations, lets running ones go on, and ends with the last', async () => {
    await using peer = await openUdpEcho()
    await using daemon = await StunnerdDaemon.start()
    await using udp = await relaying(daemon, 'udp', peer)
    await using tcp = await relaying(daemon, 'tcp', peer)
    await using tls = await relaying(daemon, 'tls', peer)
    daemon.program.kill('SIGTERM')
    await daemon.said('draining')
    expect((await daemon.ask('health', '/live')).status).toBe(200)
    expect((await daemon.ask('health', '/ready')).status).toBe(503)
    expect(await daemon.status()).toMatchObject({ status: 'TERMINATING', allocationCount: 3 })
    await using late = await daemon.client('udp')
    await expect(late.allocate()).rejects.toMatchObject({ code: 508 })
    for (const client of [udp, tcp, tls]) {
      await client.refresh()
      await client.echo(peer, 'goes on')
      expect(daemon.program.isRunning).toBe(true)
      await client.release()
    }
    expect(await daemon.program.ended).toEqual({ code: 0, signal: null })
  })

  test('cuts what is left when the grace is over', async () => {
    await using peer = await openUdpEcho()
    await using daemon = await StunnerdDaemon.start({ flags: ['--grace', '1', '--force-ready-status'] })
    await using tls = await relaying(daemon, 'tls', peer)
    const beganMs = performance.now()
    daemon.program.kill('SIGTERM')
    await daemon.said('draining')
    expect((await daemon.ask('health', '/ready')).status).toBe(200)
    await tls.echo(peer, 'goes on')
    expect(await daemon.program.ended).toEqual({ code: 0, signal: null })
    expect(performance.now() - beganMs).toBeGreaterThan(900)
    await tls.ended
  })

  test('a second time ends it at once', async () => {
    await using peer = await openUdpEcho()
    await using daemon = await StunnerdDaemon.start()
    await using udp = await relaying(daemon, 'udp', peer)
    daemon.program.kill('SIGTERM')
    await daemon.said('draining')
    await udp.echo(peer, 'goes on')
    daemon.program.kill('SIGTERM')
    expect(await daemon.program.ended).toEqual({ code: 1, signal: null })
  })
})

/** A cluster of a peer's port, or of more that follow it. */
function clusterOf(
  name: string,
  { address, port }: EchoPeer,
  ports = 1,
): { readonly name: string; readonly endpoints: readonly string[] } {
  return { name, endpoints: [`${address}:<${port}-${port + ports - 1}>`] }
}

function flagsOf(way: (typeof ways)[number]): readonly string[] {
  return way === '-w' ? ['-w'] : []
}

/** Has a listener route there. */
function routesOf(
  listeners: readonly StunnerdListenerSection[],
  routes: readonly string[],
): readonly StunnerdListenerSection[] {
  return listeners.map((listener) => ({ ...listener, routes }))
}

/** A client with an allocation and a channel to a peer that echoes. */
async function relaying(
  daemon: StunnerdDaemon,
  transport: (typeof transports)[number],
  peer: EchoPeer,
): Promise<TestTurnClient> {
  const client = await daemon.client(transport)
  await client.allocate()
  await client.bind(peer)
  await client.echo(peer, `${transport} begins`)
  return client
}

async function uclient(
  daemon: StunnerdDaemon,
  transport: StunnerdTransport,
  peer: EchoPeer,
  {
    listener = transport,
    credentials = 'static',
    // Over TLS the tool takes what it reads at a time for one message, and two may come in one record.
    packets = transport === 'tls' ? 1 : 20,
  }: {
    readonly listener?: string
    readonly credentials?: 'static' | 'secret'
    readonly packets?: number
  } = {},
): Promise<UclientReport> {
  const report = await runUclient(daemon.underTest({ listener, credentials }), {
    transport: transport === 'dtls' ? 'udp' : transport,
    flags: [...(transport === 'dtls' ? ['-S'] : []), '-e', peer.address, '-r', String(peer.port)],
    packets,
  })
  // It has two sessions.
  if (report.sent !== 2 * packets)
    throw new Error(`turnutils_uclient has sent ${report.sent} of ${2 * packets}`)
  return report
}

/** Samples of STUNner's metrics at present. */
async function countsOf(daemon: StunnerdDaemon) {
  const metrics = await daemon.metrics()
  const sample = (metric: string, ...labels: readonly string[]): number | undefined => {
    const [name, direction] = labels
    const pairs = [name && `name="${name}"`, direction && `direction="${direction}"`].filter(Boolean)
    return metrics.get(`stunner_${metric}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''}`)
  }
  return {
    sample,
    /** Packets and bytes. */
    traffic: (kind: 'listener' | 'cluster', name: string, direction: 'rx' | 'tx') =>
      ['packets', 'bytes'].map((unit) => sample(`${kind}_${unit}_total`, name, direction)),
  }
}

/** A status as far as the configuration has a say in it. */
function withoutStats(status: object): unknown {
  return JSON.parse(JSON.stringify(status, (key, value: unknown) => (key === 'stats' ? undefined : value)))
}

/** A TCP port on which somebody listens. */
async function takenPort(): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const address = server.address()
  return {
    port: address !== null && typeof address === 'object' ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
