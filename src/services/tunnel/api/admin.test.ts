import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ManualClock, systemClock } from '../../../foundation/clock.ts'
import { SluiceError } from '../../../foundation/errors.ts'
import { type ProxyConfig, proxyConfigOf, visitorConfigOf } from '../../../mechanisms/frp-config/index.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import type { ClientWork, ProxyStatus } from '../client/contract.ts'
import { adminRoutes } from './admin-routes.ts'
import { ProxyStore } from './proxy-store.ts'
import { askWeb, type WebAnswer } from './web-client.testkit.ts'
import { WebServer } from './web-server.ts'

/** Answers were recorded from frpc 0.70.1. */
const FILE_WORK: ClientWork = {
  proxies: [
    proxy({ name: 'tcp', type: 'tcp', localPort: 17_500, remotePort: 20_000 }),
    proxy({ name: 'udp', type: 'udp', localPort: 17_501, remotePort: 20_000 }),
  ],
  visitors: [
    visitorConfigOf({ name: 'v', type: 'stcp', serverName: 'stcp', secretKey: 's', bindPort: 20_300 }),
  ],
}

let folder: string
let clock: ManualClock
let store: ProxyStore
let server: WebServer
let work: ClientWork
let status: readonly ProxyStatus[]
const reload = vi.fn<(options: { readonly strict: boolean }) => Promise<void>>()
const stop = vi.fn()
const apply = vi.fn()

beforeEach(async () => {
  vi.resetAllMocks()
  folder = mkdtempSync(join(tmpdir(), 'admin-'))
  clock = new ManualClock()
  work = FILE_WORK
  status = []
  apply.mockImplementation(() => {
    work = store.over(FILE_WORK)
  })
  await open()
})
afterEach(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

async function open(configFile: string | undefined = join(folder, 'frpc.toml')): Promise<void> {
  store = new ProxyStore({
    file: join(folder, 'store.json'),
    parseProxy: (entry) => proxyConfigOf(entry, { strict: false }),
    parseVisitor: (entry) => visitorConfigOf(entry, { strict: false }),
  })
  await store.load()
  const control = { isLoggedIn: true, runId: 'r1', status: () => status }
  const parts = { version: '0.70.1', control, work: () => work, serverAddr: '127.0.0.1', configFile }
  server = new WebServer({
    config: { addr: '127.0.0.1', port: 0, user: '', password: '', tls: undefined },
    routes: adminRoutes({ ...parts, reload, stop, store, apply, log: silentLogger(), clock }),
    log: silentLogger(),
    clock: systemClock,
  })
  await server.start()
}

async function ask(method: string, path: string, body?: unknown): Promise<WebAnswer> {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  return askWeb(server.address, path, { method, ...(text !== undefined && { body: text }) })
}

describe('the admin API of frpc', () => {
  it('status of every proxy by type and name', async () => {
    await ask('POST', '/api/store/proxies', { name: 'st', type: 'tcp', tcp: { localPort: 1 } })
    const http = proxy({ name: 'http', type: 'http', localIP: '::1', localPort: 80, subdomain: 's' })
    status = [
      statusOf(proxy({ name: 'z', type: 'tcp' }), { phase: 'start error', error: 'port not allowed' }),
      statusOf(proxy({ name: 'st', type: 'tcp', localPort: 1 }), { remoteAddr: ':20001' }),
      statusOf(http, { remoteAddr: 's.sub.example:17080' }),
    ]
    const running = { status: 'running', err: '', plugin: '' }
    const { text, json } = await ask('GET', '/api/status')
    expect(json).toEqual({
      http: [
        {
          ...{ name: 'http', type: 'http', ...running, local_addr: '[::1]:80' },
          remote_addr: 's.sub.example:17080',
        },
      ],
      tcp: [
        {
          ...{ name: 'st', type: 'tcp', ...running, local_addr: '127.0.0.1:1' },
          ...{ remote_addr: '127.0.0.1:20001', source: 'store' },
        },
        {
          ...{ name: 'z', type: 'tcp', status: 'start error', err: 'port not allowed' },
          ...{ local_addr: '', plugin: '', remote_addr: '' },
        },
      ],
    })
    expect(text.startsWith('{"http":')).toBe(true)
  })

  it('reload is strict only when asked for, and says what is wrong', async () => {
    reload.mockResolvedValue()
    const { status: code, text } = await ask('GET', '/api/reload')
    expect([code, text]).toEqual([200, ''])
    await ask('GET', '/api/reload?strictConfig=true')
    expect(reload.mock.calls).toEqual([[{ strict: false }], [{ strict: true }]])
    reload.mockRejectedValue(new SluiceError('X', 'unknown key "x"', { side: 'self', retryable: false }))
    expect(await ask('GET', '/api/reload')).toMatchObject({
      status: 400,
      json: { Code: 400, Msg: 'invalid argument: unknown key "x"' },
    })
    reload.mockRejectedValue(new Error('inner'))
    expect(await ask('GET', '/api/reload')).toMatchObject({ status: 500 })
    const cross = await askWeb(server.address, '/api/reload', { headers: { Origin: 'http://evil.example' } })
    expect(cross.status).toBe(403)
  })

  it('stop answers first', async () => {
    expect((await ask('GET', '/api/stop')).status).toBe(405)
    expect((await ask('POST', '/api/stop')).status).toBe(200)
    expect(stop).not.toHaveBeenCalled()
    clock.advance(100)
    expect(stop).toHaveBeenCalledTimes(1)
  })

  it('the configuration file is shown and overwritten as it is', async () => {
    const file = join(folder, 'frpc.toml')
    expect(await ask('GET', '/api/config')).toMatchObject({ status: 400 })
    writeFileSync(file, 'serverAddr = "ü"\n')
    const { text, headers } = await ask('GET', '/api/config')
    expect([text, headers['content-type']]).toEqual(['serverAddr = "ü"\n', 'text/plain; charset=utf-8'])
    expect(await ask('PUT', '/api/config', '')).toMatchObject({
      status: 400,
      json: { Code: 400, Msg: "body can't be empty" },
    })
    expect((await ask('PUT', '/api/config', 'x = 1')).status).toBe(200)
    expect(readFileSync(file, 'utf8')).toBe('x = 1')
    rmSync(file)
    mkdirSync(file)
    expect((await ask('PUT', '/api/config', 'x = 1')).status).toBe(500)
  })

  it('one proxy and one visitor, byte for byte', async () => {
    expect((await ask('GET', '/api/proxy/udp/config')).text).toBe(
      '{"name":"udp","type":"udp","udp":{"name":"udp","type":"udp","transport":{"bandwidthLimit":"","bandwidthLimitMode":"client"},"loadBalancer":{"group":""},"healthCheck":{"type":"","intervalSeconds":0},"localIP":"127.0.0.1","localPort":17501,"plugin":null,"remotePort":20000}}\n',
    )
    expect((await ask('GET', '/api/visitor/v/config')).text).toBe(
      '{"name":"v","type":"stcp","stcp":{"name":"v","type":"stcp","transport":{},"secretKey":"s","serverName":"stcp","bindAddr":"127.0.0.1","bindPort":20300,"plugin":null}}\n',
    )
    for (const kind of ['proxy', 'visitor']) {
      expect(await ask('GET', `/api/${kind}/none/config`)).toMatchObject({
        status: 404,
        json: { Code: 404, Msg: `${kind} "none" not found` },
      })
    }
  })

  it.each([
    [
      {
        ...{ name: 'http', type: 'http', localPort: 17_500, customDomains: ['a.example', 'b.example'] },
        ...{ subdomain: 's', locations: ['/x', '/y'], httpUser: 'u', httpPassword: 'p' },
        ...{ hostHeaderRewrite: 'inner', requestHeaders: { set: { 'x-a': '1' } } },
        ...{ responseHeaders: { set: { 'x-b': '2' } }, routeByHTTPUser: 'ru' },
      },
      '"customDomains":["a.example","b.example"],"subdomain":"s","locations":["/x","/y"],"httpUser":"u","httpPassword":"p","hostHeaderRewrite":"inner","requestHeaders":{"set":{"x-a":"1"}},"responseHeaders":{"set":{"x-b":"2"}},"routeByHTTPUser":"ru"',
    ],
    [
      { name: 'https', type: 'https', localPort: 17_500, customDomains: ['a.example'] },
      '"customDomains":["a.example"]',
    ],
    [
      {
        ...{ name: 'tcpmux', type: 'tcpmux', localPort: 17_500, customDomains: ['a.example'] },
        ...{ httpUser: 'u', httpPassword: 'p', routeByHTTPUser: 'u', multiplexer: 'httpconnect' },
      },
      '"customDomains":["a.example"],"httpUser":"u","httpPassword":"p","routeByHTTPUser":"u","multiplexer":"httpconnect"',
    ],
    [
      { name: 'stcp', type: 'stcp', localPort: 17_500, secretKey: 's', allowUsers: ['*'] },
      '"secretKey":"s","allowUsers":["*"]',
    ],
  ])('what types have of their own: %j', async (config, own) => {
    work = { proxies: [proxy(config)], visitors: [] }
    const { type } = config
    expect((await ask('GET', `/api/proxy/${type}/config`)).text).toBe(
      `{"name":"${type}","type":"${type}","${type}":{"name":"${type}","type":"${type}","transport":{"bandwidthLimit":"","bandwidthLimitMode":"client"},"loadBalancer":{"group":""},"healthCheck":{"type":"","intervalSeconds":0},"localIP":"127.0.0.1","localPort":17500,"plugin":null,${own}}}\n`,
    )
  })

  it('the first page leads to a page for people', async () => {
    status = [statusOf(proxy({ name: '<b>', type: 'tcp' }), { remoteAddr: ':1' })]
    expect(await ask('GET', '/')).toMatchObject({ status: 301, headers: { location: '/static/' } })
    const { text } = await ask('GET', '/static/')
    expect(text).toContain('<td>&#60;b&#62;</td>')
    expect(text).toContain('<td>127.0.0.1:20300</td>')
    expect((await ask('GET', '/healthz')).status).toBe(200)
  })
})

describe('the store', () => {
  const st = { name: 'st', type: 'tcp', tcp: { localPort: 17_500, remotePort: 20_005 } }

  it('a proxy is made, changed and removed; what is to run follows, and the file', async () => {
    expect((await ask('GET', '/api/store/proxies')).json).toEqual({ proxies: [] })
    const created = await ask('POST', '/api/store/proxies', st)
    expect(created.json).toMatchObject({ name: 'st', type: 'tcp', tcp: { name: 'st', remotePort: 20_005 } })
    expect(work.proxies.map(({ name }) => name)).toEqual(['tcp', 'udp', 'st'])
    expect((await ask('GET', '/api/store/proxies/st')).json).toEqual(created.json)

    const other = { ...st, tcp: { localPort: 17_500, remotePort: 20_006 } }
    expect((await ask('PUT', '/api/store/proxies/st', other)).json).toMatchObject({
      tcp: { remotePort: 20_006 },
    })
    expect(work.proxies.at(-1)).toMatchObject({ remotePort: 20_006 })
    expect(saved()).toEqual({
      proxies: [{ localPort: 17_500, remotePort: 20_006, name: 'st', type: 'tcp' }],
      visitors: [],
    })

    const removed = await ask('DELETE', '/api/store/proxies/st')
    expect([removed.status, removed.text]).toEqual([200, ''])
    expect(work).toEqual(FILE_WORK)
    expect(saved()).toEqual({ proxies: [], visitors: [] })
  })

  it('a visitor likewise', async () => {
    const sv = { name: 'sv', type: 'stcp', stcp: { serverName: 'x', bindPort: 20_301 } }
    expect((await ask('POST', '/api/store/visitors', sv)).json).toMatchObject({
      stcp: { serverName: 'x', bindPort: 20_301, bindAddr: '127.0.0.1' },
    })
    expect((await ask('GET', '/api/store/visitors')).json).toMatchObject({ visitors: [{ name: 'sv' }] })
    expect((await ask('GET', '/api/visitor/sv/config')).status).toBe(200)
    expect(work.visitors.map(({ name }) => name)).toEqual(['v', 'sv'])
    expect((await ask('DELETE', '/api/store/visitors/sv')).status).toBe(200)
    expect(work.visitors.map(({ name }) => name)).toEqual(['v'])
  })

  it('an entry stands above that of the file with the same name, and may turn it off', async () => {
    const udp = { name: 'udp', type: 'udp', udp: { localPort: 1, remotePort: 20_007 } }
    await ask('POST', '/api/store/proxies', udp)
    expect(work.proxies).toHaveLength(2)
    expect(work.proxies.find(({ name }) => name === 'udp')).toMatchObject({ localPort: 1 })
    const off = { ...udp, udp: { ...udp.udp, enabled: false } }
    expect((await ask('PUT', '/api/store/proxies/udp', off)).json).toMatchObject({ udp: { enabled: false } })
    expect(work.proxies.map(({ name }) => name)).toEqual(['tcp'])
  })

  it.each([
    [{ name: 'x', type: 'tcp' }, 'exactly one proxy type block is required'],
    [{ name: 'x', type: 'tcp', tcp: {}, udp: {} }, 'exactly one proxy type block is required'],
    [{ name: 'x', type: 'tcp', udp: {} }, 'proxy type block "udp" does not match type "tcp"'],
    [{ name: 'x', type: 'zzz', udp: {} }, 'invalid proxy type: zzz'],
    [{ type: 'tcp', tcp: {} }, 'proxy name is required'],
    [{ name: ' ', type: 'tcp', tcp: {} }, 'proxy name is required'],
    [{ name: 'x', type: 'tcp', tcp: 1 }, 'block "tcp" must be an object'],
    [[], 'must be an object'],
    ['{"name":"x"', 'parse JSON error:'],
    ['null', 'must be an object'],
    [{ name: 'x', type: 'tcp', tcp: { localPort: 99_999 } }, 'invalid argument: validation error:'],
    [{ name: 'x', type: 'xtcp', xtcp: {} }, 'invalid argument: validation error:'],
  ])('%j is refused', async (definition, message) => {
    const { status: code, json } = await ask('POST', '/api/store/proxies', definition)
    expect(code).toBe(400)
    expect(json).toEqual({ Code: 400, Msg: expect.stringContaining(message) })
    expect(apply).not.toHaveBeenCalled()
  })

  it('names that are there, or are not, are said', async () => {
    await ask('POST', '/api/store/proxies', st)
    const missing = 'not found: proxy "none"'
    for (const [method, path, body, code, Msg] of [
      ['POST', '/proxies', st, 409, 'conflict: already exists: proxy "st"'],
      ['PUT', '/proxies/st', { ...st, name: 'st2' }, 400, 'proxy name in URL must match name in body'],
      ['PUT', '/proxies/none', { ...st, name: 'none' }, 404, missing],
      ['DELETE', '/proxies/none', undefined, 404, missing],
      ['GET', '/proxies/none', undefined, 404, missing],
      ['GET', '/visitors/none', undefined, 404, 'not found: visitor "none"'],
    ] as const) {
      const answer = await ask(method, `/api/store${path}`, body)
      expect([answer.status, answer.json]).toEqual([code, { Code: code, Msg }])
    }
  })

  it('a change that cannot be written has not happened', async () => {
    await ask('POST', '/api/store/proxies', st)
    rmSync(join(folder, 'store.json'))
    mkdirSync(join(folder, 'store.json'))
    expect((await ask('DELETE', '/api/store/proxies/st')).status).toBe(500)
    expect((await ask('GET', '/api/store/proxies/st')).status).toBe(200)
    expect(work.proxies).toHaveLength(3)
  })

  it('one that cannot be put into force says so', async () => {
    apply.mockRejectedValue(new Error('no'))
    expect(await ask('POST', '/api/store/proxies', st)).toMatchObject({
      status: 500,
      json: { Msg: 'apply config failed: failed to apply config: no' },
    })
  })

  it('changes at the same time all count', async () => {
    const names = Array.from({ length: 10 }, (_, i) => `p${i}`)
    await Promise.all(names.map((name) => ask('POST', '/api/store/proxies', { ...st, name })))
    expect(work.proxies).toHaveLength(12)
    expect(saved()).toMatchObject({ proxies: { length: 10 } })
  })

  it('reads what frpc has written', async () => {
    writeFileSync(
      join(folder, 'store.json'),
      '{"proxies":[{"name":"y","type":"tcp","transport":{"bandwidthLimit":""},"loadBalancer":{"group":""},"healthCheck":{"type":"","intervalSeconds":0},"localPort":1,"plugin":null},{"name":"off","type":"tcp","enabled":false}],"visitors":[{"name":"sv","type":"stcp","transport":{},"serverName":"x","bindPort":20301,"plugin":null}]}',
    )
    await server.close()
    await open()
    expect(store.over(FILE_WORK).proxies.map(({ name }) => name)).toEqual(['tcp', 'udp', 'y'])
    expect(store.over(FILE_WORK).visitors.map(({ name }) => name)).toEqual(['v', 'sv'])
  })

  it.each(['{', '[1]', '{"proxies":3}', '{"proxies":[{"name":"x"}]}', 'null'])(
    'a file that holds %s is an error that names it',
    async (text) => {
      const file = join(folder, 'store.json')
      writeFileSync(file, text)
      await expect(store.load()).rejects.toMatchObject({
        code: 'TUNNEL_BAD_OPTION',
        message: expect.stringContaining(`store.path ${file} cannot be loaded`),
      })
    },
  )
})

function saved(): unknown {
  return JSON.parse(readFileSync(join(folder, 'store.json'), 'utf8'))
}

function proxy(entry: Readonly<Record<string, unknown>>): ProxyConfig {
  return proxyConfigOf(entry)
}

function statusOf(config: ProxyConfig, status: Partial<ProxyStatus>): ProxyStatus {
  const { name, type } = config
  return { name, type, phase: 'running', error: '', remoteAddr: '', config, ...status }
}
