import { createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { freePort } from '../../foundation/free-port.testkit.ts'
import {
  configText,
  allocationInfo,
  FakeServer,
  FakeSource,
  keptLog,
  otherCertificate,
  selfSignedListener,
  testCertificate,
} from './stunnerd.testkit.ts'
import type { AllocationQuota } from '../../services/turn/index.ts'
import { Stunnerd, type StunnerdOptions } from './stunnerd.ts'

const opened: Stunnerd[] = []
afterEach(async () => {
  for (const daemon of opened.splice(0)) await daemon.close()
})

function make(options: Partial<StunnerdOptions> & { text?: string } = {}) {
  const { text = configText(), ...rest } = options
  const source = new FakeSource(text)
  const log = keptLog('all:INFO')
  let server: FakeServer | undefined
  const daemon = new Stunnerd({
    source,
    createServer: (it) => (server = new FakeServer(it)),
    log,
    id: 'default/me',
    env: {},
    firstHealthcheckEndpoint: 'http://127.0.0.1:0',
    localAddresses: () => new Set(['127.0.0.1']),
    ...rest,
  })
  if (server === undefined) throw new Error('no relay was made')
  opened.push(daemon)
  return { daemon, source, log, server }
}

async function open(options: Parameters<typeof make>[0] = {}) {
  const made = make(options)
  await made.daemon.start()
  /** Another configuration comes, as after SIGHUP. */
  const reload = async (text: string) => {
    made.source.text = text
    await made.daemon.reload()
  }
  return { ...made, reload }
}

async function ask(daemon: Stunnerd, path: string, kind: 'health' | 'metrics' = 'health') {
  const response = await fetch(`http://127.0.0.1:${daemon.addresses[kind]?.port}${path}`)
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
}

describe('stunnerd', () => {
  it('gives the relay its listeners, users, realm and bounds', async () => {
    const { server } = await open({ threads: 3 })
    expect(server.options).toMatchObject({ listeners: [], engine: 'auto', threads: 3 })
    expect(server.options.limits).toMatchObject({ packetsPerSecond: 0, maxPerAddress: 100_000 })
    expect(server.last.realm).toBe('stunner.l7mp.io')
    expect(server.last.listeners).toMatchObject([{ name: 'udp', transport: 'udp', listen: { port: 3478 } }])
    const [listener] = server.last.listeners ?? []
    expect(listener?.peers.admits('10.1.1.1', 5004, 'udp')).toBe(true)
    expect(listener?.peers.admits('192.0.2.1', 5004, 'udp')).toBe(false)
  })

  it('counts allocations of a user as the configuration says, also after it has changed', async () => {
    const { server, reload } = await open({ text: configText({ admin: { user_quota: 1 } }) })
    const quota = server.options.quota as AllocationQuota
    const request = { userId: 'u', realm: 'r', listener: 'udp', clientAddress: '192.0.2.1' }
    expect(quota.take(request)).toBe(true)
    expect(quota.take(request)).toBe(false)
    await reload(configText({ admin: { user_quota: 2 } }))
    expect(quota.take(request)).toBe(true)
    expect(quota.take(request)).toBe(false)
    await reload(configText())
    expect(quota.take(request)).toBe(true)
  })

  it('does not start with a configuration that cannot be used, and leaves nothing open', async () => {
    const { daemon, server } = make({ text: 'version: v3' })
    await expect(daemon.start()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    expect(server.calls).toEqual(['start', 'close 0'])
    expect(daemon.addresses).toEqual({ health: undefined, metrics: undefined })
  })

  it('says of a license and of an offload engine what becomes of them, once', async () => {
    const admin = {
      license_config: { key: 'k', hmac: 'top-secret' },
      offload_engine: 'xdp',
      offload_interfaces: ['eth0'],
    }
    const { log, reload } = await open({ text: configText({ admin }) })
    await reload(configText({ admin: { ...admin, user_quota: 1 } }))
    const text = log.lines.join('')
    expect(text.match(/license_config is not needed/g)).toHaveLength(1)
    expect(text.match(/native engine takes its place.* engine=XDP interfaces=\["eth0"\]/g)).toHaveLength(1)
    expect(text).not.toContain('top-secret')
  })
})

describe('a new configuration', () => {
  it('keeps policy, users and listeners that are the same, object by object', async () => {
    const { server, reload } = await open()
    const before = server.last.listeners?.[0]
    await reload(configText({ clusters: [{ name: 'media', endpoints: ['10.0.0.1'] }] }))
    expect(server.updates).toHaveLength(2)
    expect(server.last).not.toHaveProperty('credentials')
    expect(server.last).not.toHaveProperty('realm')
    expect(server.last.listeners).toEqual([before])
    expect(server.last.listeners?.[0]?.peers).toBe(before?.peers)
    expect(before?.peers.admits('10.1.1.1', 5004, 'udp')).toBe(false)
    expect(before?.peers.admits('10.0.0.1', 5004, 'udp')).toBe(true)
  })

  it('that is the same is not applied', async () => {
    const { server, reload } = await open()
    await reload(`${configText()}\n`)
    expect(server.updates).toHaveLength(1)
  })

  it('changes users, realm, certificate and log levels in place', async () => {
    const { server, reload, log } = await open({
      text: configText({ listeners: [selfSignedListener(testCertificate)] }),
    })
    expect(server.last.listeners?.[0]?.certificate).toEqual(testCertificate)
    await reload(
      configText({
        listeners: [selfSignedListener(otherCertificate)],
        auth: { type: 'ephemeral', realm: 'new', credentials: { secret: 's' } },
        admin: { loglevel: 'all:ERROR' },
      }),
    )
    expect(server.last.listeners?.[0]?.certificate).toEqual(otherCertificate)
    expect(server.last.realm).toBe('new')
    expect(server.last.credentials).toBeDefined()
    expect(log.logger.level).toBe('error')
  })

  it('has no say in log levels of the command line', async () => {
    const { log } = await open({
      logLevels: 'all:WARN',
      text: configText({ admin: { loglevel: 'all:DEBUG' } }),
    })
    expect(log.logger.level).toBe('warn')
  })

  it('changes nothing when it cannot be used, and the log says why', async () => {
    const { daemon, server, reload, log } = await open()
    const before = daemon.status()
    for (const text of [
      'version: v3',
      '{',
      configText({ listeners: [selfSignedListener({ cert: 'x', key: 'y' })] }),
    ])
      await reload(text)
    expect(daemon.status()).toEqual(before)
    expect(server.updates).toHaveLength(1)
    const refused = log.lines.filter((it) => it.includes('configuration refused, the one before it stays'))
    expect(refused).toHaveLength(3)
    expect(refused[0]).toContain('version = \\"v3\\"')
  })

  it('changes nothing when a listener cannot be opened: endpoints, routes, quota and levels stay', async () => {
    const port = await freePort()
    const admin = { user_quota: 1, healthcheck_endpoint: `http://127.0.0.1:${port}` }
    const { daemon, server, reload, log } = await open({ text: configText({ admin }) })
    const peers = server.last.listeners?.[0]?.peers
    server.failure = new Error('UDP *:3478 is taken')
    await reload(
      configText({
        admin: {
          healthcheck_endpoint: `http://127.0.0.1:${await freePort()}`,
          user_quota: 0,
          loglevel: 'all:DEBUG',
        },
        clusters: [],
      }),
    )
    expect(log.lines.join('')).toContain('reason="UDP *:3478 is taken"')
    expect(daemon.status()).toMatchObject({
      admin: { quota: '1', healthcheck_endpoint: admin.healthcheck_endpoint },
    })
    expect(peers?.admits('10.1.1.1', 1, 'udp')).toBe(true)
    expect(log.logger.level).toBe('info')
    expect(daemon.addresses.health?.port).toBe(port)
    expect((await ask(daemon, '/live')).status).toBe(200)
    server.failure = undefined
    await reload(configText({ admin, clusters: [] }))
    expect(peers?.admits('10.1.1.1', 1, 'udp')).toBe(false)
  })

  it('changes nothing when an endpoint cannot be opened', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const address = taken.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const { daemon, server, reload, log } = await open({
      text: configText({ admin: { metrics_endpoint: 'http://127.0.0.1:0/m' } }),
    })
    await reload(configText({ admin: { metrics_endpoint: `http://127.0.0.1:${port}/m` } }))
    expect(log.lines.join('')).toContain('NET_PORT_TAKEN')
    expect(server.updates).toHaveLength(1)
    expect((await ask(daemon, '/m', 'metrics')).status).toBe(200)
    expect((await ask(daemon, '/live')).status).toBe(200)
    await new Promise((resolve) => taken.close(resolve))
  })

  it('moves endpoints, also where they change places', async () => {
    const [one, two] = [await freePort(), await freePort()]
    const endpoints = (health: number, metrics: number) =>
      configText({
        admin: {
          healthcheck_endpoint: `http://127.0.0.1:${health}`,
          metrics_endpoint: `http://127.0.0.1:${metrics}/metrics`,
        },
      })
    const { daemon, reload } = await open({ text: endpoints(one, two) })
    await reload(endpoints(two, one))
    expect(daemon.addresses).toMatchObject({ health: { port: two }, metrics: { port: one } })
    await reload(configText({ admin: { healthcheck_endpoint: '' } }))
    expect(daemon.addresses).toEqual({ health: undefined, metrics: undefined })
  })

  it('is applied after the one before it', async () => {
    const { server, daemon, source } = await open()
    source.text = configText({ auth: { realm: 'one', credentials: { username: 'u', password: 'p' } } })
    const first = daemon.reload()
    source.text = configText({ auth: { realm: 'two', credentials: { username: 'u', password: 'p' } } })
    await Promise.all([first, daemon.reload()])
    expect(server.updates.map((it) => it.realm)).toEqual(['stunner.l7mp.io', 'one', 'two'])
  })
})

describe('watching', () => {
  it('serves health before a configuration is there, and is ready with it', async () => {
    const { daemon, source, server } = make({ isWatching: true })
    await daemon.start()
    expect((await ask(daemon, '/live')).status).toBe(200)
    expect(await ask(daemon, '/ready')).toMatchObject({
      status: 503,
      body: '{"status":503,"message":"stunnerd not ready"}\n',
    })
    expect(JSON.parse((await ask(daemon, '/status')).body)).toMatchObject({
      version: 'v1',
      admin: { name: 'default/me' },
      listeners: [],
      status: 'NOT-READY',
    })
    source.deliver?.(configText())
    await expect.poll(() => daemon.state).toBe('READY')
    expect(server.updates).toHaveLength(1)
  })

  it('waits for a better one when the first cannot be used', async () => {
    const { daemon, source, log } = make({ isWatching: true })
    await daemon.start()
    source.deliver?.('version: v3')
    await expect.poll(() => log.lines.join('')).toContain('configuration refused, waiting for another one')
    source.deliver?.(configText())
    await expect.poll(() => daemon.state).toBe('READY')
  })

  it('passes over a configuration without listeners: its gateway was deleted', async () => {
    const { daemon, source, server, log } = make({ isWatching: true })
    await daemon.start()
    source.deliver?.(configText())
    await expect.poll(() => daemon.state).toBe('READY')
    source.deliver?.(configText({ listeners: [], clusters: [] }))
    await expect.poll(() => log.lines.join('')).toContain('configuration without listeners, passed over')
    expect(server.updates).toHaveLength(1)
  })
})

describe('draining', () => {
  it('is not ready, serves until no allocation is left, and takes no configuration', async () => {
    const { daemon, source, server } = make({ isWatching: true })
    await daemon.start()
    source.deliver?.(configText())
    await expect.poll(() => daemon.state).toBe('READY')
    server.allocations = [allocationInfo()]
    let isClosed = false
    const closed = daemon.close({ graceMs: 5000 }).then(() => (isClosed = true))
    await expect.poll(() => server.calls).toEqual(['start', 'close 5000'])
    expect(source.isStopped).toBe(true)
    expect((await ask(daemon, '/live')).status).toBe(200)
    expect((await ask(daemon, '/ready')).status).toBe(503)
    expect(JSON.parse((await ask(daemon, '/status')).body)).toMatchObject({
      status: 'TERMINATING',
      allocationCount: 1,
    })
    source.text = configText({ admin: { user_quota: 5 } })
    await daemon.reload()
    expect(server.updates).toHaveLength(1)
    expect(isClosed).toBe(false)
    server.drain()
    await closed
    expect(daemon.addresses.health).toBe(undefined)
  })

  it('stays ready when it is told to', async () => {
    const { daemon, server } = await open({ isAlwaysReady: true })
    server.allocations = [allocationInfo()]
    const closed = daemon.close({ graceMs: 5000 })
    await expect.poll(() => daemon.state).toBe('TERMINATING')
    expect((await ask(daemon, '/ready')).status).toBe(200)
    server.drain()
    await closed
  })
})

describe('health and metrics', () => {
  it('answers as STUNner does', async () => {
    const { daemon } = await open()
    expect(await ask(daemon, '/live')).toEqual({
      status: 200,
      type: 'application/json; charset=utf-8',
      body: '{}\n',
    })
    expect(await ask(daemon, '/ready')).toMatchObject({
      status: 200,
      body: '{"status":200,"message":"READY"}\n',
    })
    expect((await ask(daemon, '/')).status).toBe(404)
  })

  it('tells its status in the shape of STUNner, without secrets', async () => {
    const { daemon, server } = await open({
      text: configText({
        admin: { metrics_endpoint: 'http://127.0.0.1:0/metrics', user_quota: 2, offload_engine: 'TC' },
        listeners: [
          selfSignedListener(testCertificate, { public_address: '198.51.100.1', public_port: 443 }),
        ],
      }),
    })
    server.allocations = [
      allocationInfo({
        listener: 'tls',
        sent: { packets: 2, bytes: 200 },
        received: { packets: 1, bytes: 50 },
        peerTraffic: [
          { peer: '10.0.0.1:5004', sent: { packets: 2, bytes: 200 }, received: { packets: 1, bytes: 50 } },
        ],
      }),
    ]
    server.stats = [
      {
        name: 'tls',
        connections: 1,
        connectionsTotal: 4,
        rx: { packets: 5, bytes: 500 },
        tx: { packets: 6, bytes: 600 },
      },
    ]
    const { body } = await ask(daemon, '/status')
    expect(JSON.parse(body)).toEqual({
      version: 'v1',
      admin: {
        name: 'ns/gw',
        loglevel: 'all:INFO',
        metrics_endpoint: 'http://127.0.0.1:0/metrics',
        healthcheck_endpoint: 'http://127.0.0.1:0',
        quota: '2',
        offload: 'TC[all]',
        licensing_info: 'none needed',
      },
      auth: {
        type: 'static',
        realm: 'stunner.l7mp.io',
        credentials: { username: '<SECRET>', password: '<SECRET>' },
      },
      listeners: [
        {
          name: 'tls',
          protocol: 'TLS',
          public_address: '198.51.100.1',
          public_port: 443,
          address: '127.0.0.1',
          port: 5349,
          cert: '<SECRET>',
          key: '<SECRET>',
          routes: ['media'],
          stats: { rx: { pkts: 5, bytes: 500, timestamp: 0 }, tx: { pkts: 6, bytes: 600, timestamp: 0 } },
        },
      ],
      clusters: [
        {
          name: 'media',
          type: 'STATIC',
          protocol: 'udp',
          endpoints: ['10.0.0.0/8'],
          stats: { rx: { pkts: 1, bytes: 50, timestamp: 0 }, tx: { pkts: 2, bytes: 200, timestamp: 0 } },
        },
      ],
      allocationCount: 1,
      status: 'READY',
    })

    const { body: metrics } = await ask(daemon, '/metrics', 'metrics')
    for (const line of [
      'stunner_allocations_active 1',
      'stunner_listener_connections{name="tls"} 1',
      'stunner_listener_connections_total{name="tls"} 4',
      'stunner_listener_packets_total{name="tls",direction="rx"} 5',
      'stunner_listener_packets_total{name="tls",direction="tx"} 6',
      'stunner_listener_bytes_total{name="tls",direction="rx"} 500',
      'stunner_listener_bytes_total{name="tls",direction="tx"} 600',
      'stunner_cluster_packets_total{name="media",direction="rx"} 1',
      'stunner_cluster_packets_total{name="media",direction="tx"} 2',
      'stunner_cluster_bytes_total{name="media",direction="rx"} 50',
      'stunner_cluster_bytes_total{name="media",direction="tx"} 200',
    ]) {
      expect(metrics.split('\n')).toContain(line)
    }
    expect(metrics).toMatch(/# TYPE stunner_cluster_bytes_total counter/)
    expect(metrics).toContain('sluice_build_info')
    // Once more: counters are absolute.
    expect((await ask(daemon, '/metrics', 'metrics')).body).toContain(
      'stunner_cluster_bytes_total{name="media",direction="tx"} 200',
    )
  })

  it('serves metrics at a path, and at every one below it where that ends in a slash', async () => {
    const { daemon, reload } = await open({
      text: configText({ admin: { metrics_endpoint: 'http://127.0.0.1:0/stats' } }),
    })
    expect((await ask(daemon, '/stats', 'metrics')).status).toBe(200)
    expect((await ask(daemon, '/metrics', 'metrics')).status).toBe(404)
    await reload(configText({ admin: { metrics_endpoint: 'http://127.0.0.1:0' } }))
    expect((await ask(daemon, '/', 'metrics')).status).toBe(200)
    expect((await ask(daemon, '/metrics', 'metrics')).status).toBe(200)
  })

  it('credits what went to peers before a route changes to the cluster that they were of', async () => {
    const clusters = [
      { name: 'media', endpoints: ['10.0.0.0/8'] },
      { name: 'other', endpoints: ['192.0.2.0/24'] },
    ]
    const { daemon, server, reload } = await open({ text: configText({ clusters }) })
    const sent = { packets: 3, bytes: 300 }
    const received = { packets: 0, bytes: 0 }
    server.allocations = [
      allocationInfo({ sent, received, peerTraffic: [{ peer: '10.0.0.1:5004', sent, received }] }),
    ]
    const listeners = [{ name: 'udp', address: '127.0.0.1', port: 3478, routes: ['other'] }]
    await reload(configText({ clusters, listeners }))
    server.allocations = [allocationInfo({ sent, received })]
    expect(daemon.status()).toMatchObject({
      clusters: [
        { name: 'media', stats: { tx: { pkts: 3, bytes: 300 } } },
        { name: 'other', stats: { tx: { pkts: 0, bytes: 0 } } },
      ],
    })
  })

  it('keeps in the cluster counters what ended allocations have moved', async () => {
    const { daemon, server } = await open()
    server.options.events?.allocationDeleted?.(
      allocationInfo({ sent: { packets: 3, bytes: 300 } }),
      'expired',
    )
    expect(daemon.status()).toMatchObject({
      clusters: [{ name: 'media', stats: { tx: { pkts: 3, bytes: 300 } } }],
    })
  })
})
