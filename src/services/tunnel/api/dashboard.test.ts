import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ManualClock, systemClock } from '../../../foundation/clock.ts'
import type { TunnelServerConfig } from '../../../mechanisms/frp-config/index.ts'
import { createRegistry, silentLogger } from '../../../mechanisms/telemetry/index.ts'
import type { NewProxy } from '../../../protocols/frp/index.ts'
import type { ProxyTraffic, ProxyView } from '../statistics/contract.ts'
import { TunnelStatistics } from '../statistics/tunnel-statistics.ts'
import { dashboardRoutes } from './dashboard-routes.ts'
import { registerFrpMetrics } from './frp-metrics.ts'
import { askWeb, type WebAnswer, type WebQuestion } from './web-client.testkit.ts'
import { WebServer } from './web-server.ts'

/** The answers below were recorded from frps 0.70.1 with the same proxies; addresses, times and ids are ours. */
const START = new Date(2026, 10, 26, 1, 16, 22)
const START_S = START.getTime() / 1000

let clock: ManualClock
let statistics: TunnelStatistics
let server: WebServer
const control = {
  kick: vi.fn<(runId: string) => boolean>(() => true),
  closeProxy: vi.fn((name: string) => name === 'ann.tcp'),
}
let tcp: ProxyTraffic

beforeEach(async () => {
  control.kick.mockClear()
  clock = new ManualClock(START.getTime())
  statistics = new TunnelStatistics({ file: '', log: silentLogger(), clock })
  const client = { version: '0.70.1', hostname: 'vm', os: 'linux', arch: 'amd64', metas: {} }
  const address = '127.0.0.1'
  const connectedAtMs = clock.wallMs()
  statistics.clientOnline({
    ...client,
    ...{
      runId: 'a5c377ddc695284e',
      user: 'ann',
      clientId: 'desk',
      wireVersion: 'v1',
      address,
      connectedAtMs,
    },
  })
  statistics.clientOnline({
    ...client,
    ...{ runId: 'b574196e44a6e7b8', user: '', clientId: '', wireVersion: 'v2', address, connectedAtMs },
  })
  tcp = statistics.proxyOnline(
    ann('tcp', ':20000', {
      metas: { a: 'b' },
      annotations: { 'x/y': 'z' },
      ...{ use_encryption: true, use_compression: true, group: 'g', group_key: 'k', remote_port: 20_000 },
      ...{ bandwidth_limit: '1MB', bandwidth_limit_mode: 'server' },
    }),
  )
  tcp.addIn(86)
  tcp.addOut(103)
  statistics.proxyOnline(ann('udp', ':20000', { remote_port: 20_000 }))
  statistics.proxyOnline(
    ann('http', 'a.example:17080,b.example:17080', {
      custom_domains: ['a.example', 'b.example'],
      locations: ['/x', '/y'],
      ...{ subdomain: 's', http_user: 'u', http_pwd: 'p', host_header_rewrite: 'inner' },
      ...{ route_by_http_user: 'ru', headers: { 'x-a': '1' } },
    }),
  )
  statistics.proxyOnline(ann('https', 'a.example:17443', { custom_domains: ['a.example'] }))
  statistics.proxyOnline(
    ann('tcpmux', 'a.example:17081', {
      custom_domains: ['a.example'],
      ...{ multiplexer: 'httpconnect', http_user: 'u', http_pwd: 'p', route_by_http_user: 'u' },
    }),
  )
  statistics.proxyOnline(ann('stcp', '', { sk: 's', allow_users: ['*'] }))
  statistics.proxyOnline({
    ...{ name: 'gone', type: 'tcp', user: '', clientId: '', runId: 'b574196e44a6e7b8' },
    ...{ remoteAddr: ':20030', startedAtMs: connectedAtMs, request: newProxy('tcp', {}) },
  })

  const registry = createRegistry('1')
  registerFrpMetrics(registry, statistics)
  const parts = { config, version: '0.70.1', statistics, control, registry, log: silentLogger(), clock }
  server = new WebServer({
    config: { addr: '127.0.0.1', port: 0, user: '', password: '', tls: undefined },
    routes: dashboardRoutes(parts),
    log: silentLogger(),
    clock: systemClock,
  })
  await server.start()
})
afterEach(() => server.close())

const ask = (path: string, question?: WebQuestion): Promise<WebAnswer> =>
  askWeb(server.address, path, question)
const jsonOf = async (path: string): Promise<unknown> => (await ask(path)).json

const CLIENT = {
  ...{ key: 'ann.desk', user: 'ann', clientID: 'desk', runID: 'a5c377ddc695284e', version: '0.70.1' },
  ...{ wireProtocol: 'v1', hostname: 'vm', clientIP: '127.0.0.1', firstConnectedAt: START_S },
  ...{ lastConnectedAt: START_S, online: true },
}
const PLAIN_CLIENT = {
  ...{ key: 'b574196e44a6e7b8', user: '', clientID: 'b574196e44a6e7b8', runID: 'b574196e44a6e7b8' },
  ...{ version: '0.70.1', wireProtocol: 'v2', hostname: 'vm', clientIP: '127.0.0.1' },
  ...{ firstConnectedAt: START_S, lastConnectedAt: START_S, online: true },
}

describe('v1 of the API of frps', () => {
  it('serverinfo', async () => {
    expect(await jsonOf('/api/serverinfo')).toEqual({
      ...{ version: '0.70.1', bindPort: 17_000, vhostHTTPPort: 17_080, vhostHTTPSPort: 17_443 },
      ...{ tcpmuxHTTPConnectPort: 17_081, kcpBindPort: 0, quicBindPort: 0, subdomainHost: 'sub.example' },
      ...{ maxPoolCount: 5, maxPortsPerClient: 0, heartbeatTimeout: -1, allowPortsStr: '20000-20100,20200' },
      ...{ totalTrafficIn: 86, totalTrafficOut: 103, curConns: 0, clientCounts: 2 },
      proxyTypeCount: { http: 1, https: 1, stcp: 1, tcp: 2, tcpmux: 1, udp: 1 },
    })
  })

  it.each([
    [
      'tcp',
      '"annotations":{"x/y":"z"},"transport":{"useEncryption":true,"useCompression":true,"bandwidthLimit":"1MB","bandwidthLimitMode":"server"},"metadatas":{"a":"b"},"loadBalancer":{"group":"g","groupKey":"k"}',
      ',"remotePort":20000',
    ],
    ['udp', undefined, ',"remotePort":20000'],
    [
      'http',
      undefined,
      ',"customDomains":["a.example","b.example"],"subdomain":"s","locations":["/x","/y"],"hostHeaderRewrite":"inner"',
    ],
    ['https', undefined, ',"customDomains":["a.example"]'],
    ['tcpmux', undefined, ',"customDomains":["a.example"],"multiplexer":"httpconnect","routeByHTTPUser":"u"'],
    ['stcp', undefined, ''],
  ])('a proxy of type %s, byte for byte', async (type, base, own) => {
    const plain =
      '"transport":{"bandwidthLimit":"","bandwidthLimitMode":"client"},"loadBalancer":{"group":""}'
    const traffic = type === 'tcp' ? [86, 103] : [0, 0]
    const expected =
      `{"name":"ann.${type}","conf":{"name":"ann.${type}","type":"${type}",${base ?? plain},"healthCheck":` +
      `{"type":"","intervalSeconds":0},"localIP":"127.0.0.1","plugin":null${own}},"user":"ann","clientID":"desk",` +
      `"todayTrafficIn":${traffic[0]},"todayTrafficOut":${traffic[1]},"curConns":0,` +
      `"lastStartTime":"11-26 01:16:22","lastCloseTime":"","status":"online"}\n`
    expect((await ask(`/api/proxies/ann.${type}`)).text).toBe(expected)
    expect((await ask(`/api/proxy/${type}/ann.${type}`)).text).toBe(expected)
    const { text } = await ask(`/api/proxy/${type}`)
    expect(text).toMatch(/^\{"proxies":\[/)
    expect(text).toContain(expected.trim())
  })

  it('a http proxy without locations has null', async () => {
    statistics.proxyOnline(ann('http', '', { custom_domains: ['x'] }))
    expect((await ask('/api/proxies/ann.http')).text).toContain(
      '"customDomains":["x"],"locations":null,"hostHeaderRewrite":""}',
    )
  })

  it('a proxy that is offline', async () => {
    clock.advance(33_000)
    statistics.proxyOffline('gone')
    expect((await ask('/api/proxies/gone')).text).toBe(
      '{"name":"gone","conf":null,"clientID":"b574196e44a6e7b8","todayTrafficIn":0,"todayTrafficOut":0,' +
        '"curConns":0,"lastStartTime":"11-26 01:16:22","lastCloseTime":"11-26 01:16:55","status":"offline"}\n',
    )
  })

  it.each(['/api/proxies/none', '/api/proxy/tcp/none', '/api/proxy/udp/ann.tcp', '/api/traffic/none'])(
    '%s is not known',
    async (path) => {
      expect(await ask(path)).toMatchObject({
        status: 404,
        json: { Code: 404, Msg: 'no proxy info found' },
      })
    },
  )

  it('an unknown type has no proxies; traffic has seven days', async () => {
    expect(await jsonOf('/api/proxy/nope')).toEqual({ proxies: [] })
    expect(await jsonOf('/api/traffic/ann.tcp')).toEqual({
      name: 'ann.tcp',
      trafficIn: [86, 0, 0, 0, 0, 0, 0],
      trafficOut: [103, 0, 0, 0, 0, 0, 0],
    })
  })

  it('clients, all and some', async () => {
    expect(await jsonOf('/api/clients')).toEqual([PLAIN_CLIENT, CLIENT])
    expect(await jsonOf('/api/clients/ann.desk')).toEqual(CLIENT)
    expect(await jsonOf('/api/clients?user=ann&clientId=desk&status=ONLINE')).toEqual([CLIENT])
    expect(await jsonOf('/api/clients?runId=b574196e44a6e7b8')).toEqual([PLAIN_CLIENT])
    expect(await jsonOf('/api/clients?status=offline')).toEqual([])
    expect(await ask('/api/clients/none')).toMatchObject({
      status: 404,
      json: { Code: 404, Msg: 'client none not found' },
    })
  })

  it('a client that is offline has lost its run id', async () => {
    clock.advance(5000)
    statistics.clientOffline('a5c377ddc695284e')
    expect(await jsonOf('/api/clients?status=offline')).toEqual([
      { ...CLIENT, runID: '', online: false, disconnectedAt: START_S + 5 },
    ])
  })

  it('offline proxies are forgotten', async () => {
    statistics.proxyOffline('gone')
    const wrong = await ask('/api/proxies', { method: 'DELETE' })
    expect(wrong).toMatchObject({ status: 400, json: { Code: 400, Msg: 'status only support offline' } })
    const right = await ask('/api/proxies?status=offline', { method: 'DELETE' })
    expect(right.json).toEqual({ Code: 200, Msg: 'success' })
    expect((await ask('/api/proxies/gone')).status).toBe(404)
  })

  it('ours: a client is kicked, a proxy closed', async () => {
    const post = { method: 'POST' }
    expect((await ask('/api/clients/ann.desk/kick', post)).json).toEqual({ Code: 200, Msg: 'success' })
    expect(control.kick).toHaveBeenCalledWith('a5c377ddc695284e')
    expect((await ask('/api/clients/none/kick', post)).status).toBe(404)
    statistics.clientOffline('a5c377ddc695284e')
    expect((await ask('/api/clients/ann.desk/kick', post)).status).toBe(404)
    expect((await ask('/api/proxies/ann.tcp/close', post)).json).toEqual({ Code: 200, Msg: 'success' })
    expect((await ask('/api/proxies/none/close', post)).status).toBe(404)
    expect((await ask('/api/proxies/ann.tcp/close')).status).toBe(405)
  })
})

describe('v2 of the API of frps', () => {
  const data = async (path: string): Promise<unknown> => {
    const { json } = await ask(`/api/v2/${path}`)
    expect(json).toMatchObject({ code: 200, msg: 'success' })
    return (json as { readonly data: unknown }).data
  }
  const namesOf = async (path: string): Promise<unknown> =>
    ((await data(path)) as { readonly items: readonly { readonly name: string }[] }).items.map(
      ({ name }) => name,
    )
  const STATUS = { phase: 'online', todayTrafficIn: 0, todayTrafficOut: 0, curConns: 0, lastStartAt: START_S }
  const PLAIN = {
    transport: {
      useEncryption: false,
      useCompression: false,
      bandwidthLimit: '',
      bandwidthLimitMode: 'client',
    },
    loadBalancer: { group: '' },
  }

  it('system info', async () => {
    expect(await data('system/info')).toEqual({
      version: '0.70.1',
      config: {
        ...{ bindPort: 17_000, vhostHTTPPort: 17_080, vhostHTTPSPort: 17_443 },
        ...{ tcpmuxHTTPConnectPort: 17_081, kcpBindPort: 0, quicBindPort: 0, subdomainHost: 'sub.example' },
        ...{ maxPoolCount: 5, maxPortsPerClient: 0, heartbeatTimeout: -1 },
        ...{ allowPortsStr: '20000-20100,20200', tlsForce: false },
      },
      status: {
        ...{ totalTrafficIn: 86, totalTrafficOut: 103, curConns: 0, clientCounts: 2 },
        proxyTypeCount: { http: 1, https: 1, stcp: 1, tcp: 2, tcpmux: 1, udp: 1 },
      },
    })
  })

  it('users', async () => {
    const items = [
      { user: '', clientCount: 1, proxyCount: 1 },
      { user: 'ann', clientCount: 1, proxyCount: 6 },
    ]
    expect(await data('users')).toEqual({ total: 2, page: 1, pageSize: 50, items })
    expect(await data('users?q=NN')).toMatchObject({ total: 1 })
  })

  it('clients', async () => {
    expect(await data('clients')).toEqual({ total: 2, page: 1, pageSize: 50, items: [PLAIN_CLIENT, CLIENT] })
    expect(await data('clients?user=')).toMatchObject({ items: [PLAIN_CLIENT] })
    expect(await data('clients?q=DESK')).toMatchObject({ items: [CLIENT] })
    expect(await data('clients?runID=x')).toMatchObject({ total: 0, items: [] })
    expect(await data('clients/ann.desk')).toEqual({
      ...CLIENT,
      status: { phase: 'online', curConns: 0, proxyCount: 6 },
    })
  })

  it('proxies', async () => {
    expect(await data('proxies/ann.http')).toEqual({
      ...{ name: 'ann.http', user: 'ann', clientID: 'desk' },
      spec: {
        type: 'http',
        http: {
          ...PLAIN,
          customDomains: ['a.example', 'b.example'],
          subdomain: 's',
          locations: ['/x', '/y'],
          hostHeaderRewrite: 'inner',
        },
      },
      status: STATUS,
    })
    expect(await data('proxies/ann.tcp')).toEqual({
      ...{ name: 'ann.tcp', user: 'ann', clientID: 'desk' },
      spec: {
        type: 'tcp',
        tcp: {
          annotations: { 'x/y': 'z' },
          metadatas: { a: 'b' },
          transport: {
            ...{ useEncryption: true, useCompression: true, bandwidthLimit: '1MB' },
            bandwidthLimitMode: 'server',
          },
          loadBalancer: { group: 'g' },
          remotePort: 20_000,
        },
      },
      status: { ...STATUS, todayTrafficIn: 86, todayTrafficOut: 103 },
    })
    expect(await data('proxies/ann.stcp')).toMatchObject({ spec: { type: 'stcp', stcp: PLAIN } })
    expect(await data('proxies/ann.tcpmux')).toMatchObject({
      spec: { tcpmux: { customDomains: ['a.example'], multiplexer: 'httpconnect', routeByHTTPUser: 'u' } },
    })
    clock.advance(33_000)
    statistics.proxyOffline('gone')
    expect(await data('proxies/gone')).toEqual({
      ...{ name: 'gone', user: '', clientID: 'b574196e44a6e7b8', spec: { type: 'tcp', tcp: {} } },
      status: { ...STATUS, phase: 'offline', lastCloseAt: START_S + 33 },
    })
  })

  it('lists of proxies are sorted by type and name, filtered, and come by pages', async () => {
    const all = ['ann.http', 'ann.https', 'ann.stcp', 'ann.tcp', 'gone', 'ann.tcpmux', 'ann.udp']
    expect(await namesOf('proxies')).toEqual(all)
    expect(await namesOf('proxies?page=2&pageSize=3')).toEqual(all.slice(3, 6))
    expect(await data('proxies?page=5')).toEqual({ total: 7, page: 5, pageSize: 50, items: [] })
    expect(await namesOf('proxies?type=TCP')).toEqual(['ann.tcp', 'gone'])
    expect(await namesOf('proxies?user=')).toEqual(['gone'])
    expect(await namesOf('proxies?q=B.EXAMPLE')).toEqual(['ann.http', 'ann.https', 'ann.tcpmux'].slice(0, 1))
    expect(await namesOf('proxies?q=20030')).toEqual(['gone'])
    statistics.proxyOffline('gone')
    expect(await namesOf('proxies?status=offline')).toEqual(['gone'])
    expect(await namesOf('proxies?q=offline')).toEqual(['gone'])
  })

  it('traffic has seven days, the oldest first', async () => {
    await statistics.start()
    clock.advance(86_400_000)
    tcp.addIn(1)
    const history = ['2026-11-21', '2026-11-22', '2026-11-23', '2026-11-24', '2026-11-25']
      .map((date) => ({ date, trafficIn: 0, trafficOut: 0 }))
      .concat([
        { date: '2026-11-26', trafficIn: 86, trafficOut: 103 },
        { date: '2026-11-27', trafficIn: 1, trafficOut: 0 },
      ])
    expect(await data('proxies/ann.tcp/traffic')).toEqual({
      ...{ name: 'ann.tcp', unit: 'bytes', granularity: 'day' },
      history,
    })
    await statistics.close()
  })

  it.each([
    ['GET', 'clients/none', 404, 'client none not found'],
    ['GET', 'proxies/none', 404, 'no proxy info found'],
    ['GET', 'proxies/none/traffic', 404, 'no proxy info found'],
    ['GET', 'proxies?pageSize=201', 400, 'pageSize must be between 1 and 200'],
    ['GET', 'proxies?page=x', 400, 'page must be a positive integer'],
    ['GET', 'users?page=0', 400, 'page must be a positive integer'],
    ['GET', 'clients?status=y', 400, 'status must be one of all, online, offline'],
    ['GET', 'proxies?type=y', 400, 'type must be one of tcp, udp, http, https, tcpmux, stcp, xtcp, sudp'],
    ['POST', 'system/prune', 400, 'type is required'],
    ['POST', 'system/prune?type=x', 400, 'type must be one of offline_proxies'],
  ])('%s %s: %i %s', async (method, path, code, msg) => {
    expect(await ask(`/api/v2/${path}`, { method })).toMatchObject({
      status: code,
      json: { code, msg, data: null },
    })
  })

  it('offline proxies are forgotten', async () => {
    statistics.proxyOffline('gone')
    const { json } = await ask('/api/v2/system/prune?type=offline_proxies', { method: 'POST' })
    expect(json).toEqual({
      code: 200,
      msg: 'success',
      data: { type: 'offline_proxies', cleared: 1, total: 7 },
    })
  })
})

describe('beside the API', () => {
  it('metrics have the names and labels of frp, and move while bytes flow', async () => {
    const counter = { bytesIn: 4, bytesOut: 0 }
    tcp.open(counter)
    statistics.proxyOffline('gone')
    const lines = (await ask('/metrics')).text.split('\n')
    expect(lines).toEqual(
      expect.arrayContaining([
        '# TYPE frp_server_client_counts gauge',
        'frp_server_client_counts 2',
        'frp_server_proxy_counts{type="tcp"} 1',
        'frp_server_proxy_counts{type="http"} 1',
        'frp_server_proxy_counts_detailed{name="ann.http",type="http"} 1',
        'frp_server_proxy_counts_detailed{name="gone",type="tcp"} 0',
        'frp_server_connection_counts{name="ann.tcp",type="tcp"} 1',
        '# TYPE frp_server_traffic_in counter',
        'frp_server_traffic_in{name="ann.tcp",type="tcp"} 90',
        'frp_server_traffic_out{name="ann.tcp",type="tcp"} 103',
      ]),
    )
    statistics.forgetOfflineProxies()
    expect((await ask('/metrics')).text).not.toContain('gone')
  })

  it('the first page leads to a page for people, which takes names for what they are', async () => {
    statistics.proxyOnline({ ...ann('tcp', ':1', {}), name: '<script>alert("x")</script>' })
    expect(await ask('/')).toMatchObject({ status: 301, headers: { location: '/static/' } })
    const { text, headers } = await ask('/static/')
    expect(headers['content-type']).toBe('text/html; charset=utf-8')
    expect(text).toContain('<td>ann.http</td>')
    expect(text).not.toContain('<script')
  })
})

const config = {
  ...{ bindPort: 17_000, vhostHTTPPort: 17_080, vhostHTTPSPort: 17_443, tcpmuxHTTPConnectPort: 17_081 },
  ...{ subDomainHost: 'sub.example', maxPortsPerClient: 0 },
  transport: { maxPoolCount: 5, heartbeatTimeout: -1, tls: { force: false } },
  allowPorts: [
    { from: 20_000, to: 20_100 },
    { from: 20_200, to: 20_200 },
  ],
} as unknown as TunnelServerConfig

/** A proxy of ann, named after its type. */
function ann(type: string, remoteAddr: string, request: Partial<NewProxy>): ProxyView {
  return {
    ...{ name: `ann.${type}`, type, user: 'ann', clientId: 'desk', runId: 'a5c377ddc695284e', remoteAddr },
    startedAtMs: START.getTime(),
    request: newProxy(type, request),
  }
}

function newProxy(proxy_type: string, fields: Partial<NewProxy>): NewProxy {
  return {
    ...{ proxy_name: 'x', proxy_type, use_encryption: false, use_compression: false },
    ...{
      bandwidth_limit: '',
      bandwidth_limit_mode: '',
      group: '',
      group_key: '',
      metas: {},
      annotations: {},
    },
    ...{ remote_port: 0, custom_domains: [], subdomain: '', locations: [], http_user: '', http_pwd: '' },
    ...{ host_header_rewrite: '', headers: {}, response_headers: {}, route_by_http_user: '' },
    ...{ multiplexer: '', sk: '', allow_users: [] },
    ...fields,
  }
}
