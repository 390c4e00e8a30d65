import { createServer as createHttpServer, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer, type Server, Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../foundation/clock.ts'
import { MemoryBalancerStore, streamKeyOf } from '../mechanisms/balancer/index.ts'
import { type Config, defaultConfig, parseConfig } from '../mechanisms/config/index.ts'
import { NodeDatapath } from '../mechanisms/datapath/index.ts'
import { silentLogger } from '../mechanisms/telemetry/index.ts'
import { Gateway, type GatewayParts } from './gateway.ts'

/** The defaults on free loopback ports. */
function config(changes: Partial<Config> = {}): Config {
  const defaults = defaultConfig()
  return {
    ...defaults,
    registration: { ...defaults.registration, listen: '127.0.0.1:0' },
    admin: { ...defaults.admin, listen: '127.0.0.1:0' },
    media: {
      ...defaults.media,
      http: { ...defaults.media.http, listen: ['127.0.0.1:0'] },
      rtmp: { ...defaults.media.rtmp, listen: ['127.0.0.1:0'] },
      webrtc: { ...defaults.media.webrtc, listen: ['127.0.0.1:0'] },
      srt: { ...defaults.media.srt, listen: ['127.0.0.1:0'] },
    },
    ...changes,
  }
}

function parsed(sections: object): Config {
  return parseConfig('test.json', JSON.stringify(sections))
}

function mediaWithRules(access: readonly object[]): Config['media'] {
  return { ...config().media, access: parsed({ media: { access } }).media.access }
}

/** TURN by TCP on a port that HTTP shares. */
const sharedListener = {
  name: 'shared',
  transport: 'tcp',
  listen: '127.0.0.1:0',
  relayTransports: ['udp'],
  proxyProtocolFrom: [],
  sharedWithHttp: true,
  strictChannels: false,
} as const

async function start(parts: Partial<GatewayParts> = {}): Promise<Gateway> {
  const gateway = new Gateway(config(), { logger: silentLogger(), ...parts })
  await gateway.start()
  return gateway
}

function register(gateway: Gateway, fields: object): Promise<Response> {
  return fetch(`http://${gateway.addresses.registration}/api/v1/srs/register`, {
    method: 'POST',
    body: JSON.stringify({ ip: '127.0.0.1', server: 's', service: 'a', pid: '1', ...fields }),
  })
}

async function ready(gateway: Gateway): Promise<{ status: number; reasons: unknown }> {
  const response = await fetch(`http://${gateway.addresses.admin}/readyz`)
  return { status: response.status, ...((await response.json()) as { reasons: unknown }) }
}

describe('Gateway', () => {
  it('binds what the configuration says and answers on all of it', async () => {
    await using gateway = await start()
    const { http, rtmp, webrtc, registration, admin } = gateway.addresses
    expect([http, rtmp, webrtc].map((list) => list.length)).toEqual([1, 1, 1])
    for (const address of [...http, ...rtmp, ...webrtc, registration, admin])
      expect(address).toMatch(/^127\.0\.0\.1:\d+$/)
    expect((await fetch(`http://${http[0]}/api/v1/versions`)).status).toBe(200)
    expect((await fetch(`http://${admin}/healthz`)).status).toBe(200)
  })

  it('is ready while an origin is healthy, and says why when none is', async () => {
    const clock = new ManualClock()
    await using gateway = await start({ clock })
    expect(await ready(gateway)).toMatchObject({ status: 503, reasons: ['no origin has registered'] })
    await register(gateway, { rtmp: ['1935'] })
    expect(await ready(gateway)).toMatchObject({ status: 200, reasons: [] })
    clock.advance(301_000)
    expect(await ready(gateway)).toMatchObject({ status: 503, reasons: ['no origin is healthy'] })
  })

  it('leads requests by what its parts say: store, datapath, clock and dial', async () => {
    const dialled: unknown[] = []
    const store = new MemoryBalancerStore()
    await using gateway = await start({
      store,
      datapath: new NodeDatapath(),
      dial: (options) => {
        dialled.push({ host: options.host, port: options.port })
        return new Socket().destroy(new Error('no network in this test'))
      },
    })
    await register(gateway, { rtmp: ['1935'], http: ['8080'] })
    const response = await fetch(`http://${gateway.addresses.http[0]}/live/s.flv`)
    expect(response.status).toBe(502)
    expect(dialled).toEqual([{ host: '127.0.0.1', port: 8080 }])
    expect(await store.streams()).toEqual([])
  })

  it('closes what had started when an address is taken, and can name it', async () => {
    const taken = await new Promise<Server>((resolve) => {
      const server = createServer().listen(0, '127.0.0.1', () => resolve(server))
    })
    try {
      const address = taken.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      const base = config()
      const gateway = new Gateway(
        { ...base, media: { ...base.media, http: { ...base.media.http, listen: [`127.0.0.1:${port}`] } } },
        { logger: silentLogger() },
      )
      await expect(gateway.start()).rejects.toThrow(`127.0.0.1:${port}`)
      expect(gateway.addresses).toEqual({
        http: [],
        https: [],
        rtmp: [],
        rtmps: [],
        webrtc: [],
        srt: [],
        turn: {},
        tunnel: undefined,
        registration: '',
        admin: '',
      })
    } finally {
      taken.close()
    }
  })

  it('lets HTTP on a port of TURN go on while it drains, as on its own ports', async () => {
    const viewers: ServerResponse[] = []
    const origin = createHttpServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'video/x-flv' }).write('first')
      viewers.push(response)
    })
    await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = origin.address() as AddressInfo
      const base = config()
      const gateway = new Gateway(
        { ...base, turn: { ...base.turn, listeners: [sharedListener] } },
        { logger: silentLogger() },
      )
      await gateway.start()
      await register(gateway, { rtmp: ['1935'], http: [String(port)] })
      const bodies = []
      for (const address of [gateway.addresses.http[0], `127.0.0.1:${gateway.addresses.turn['shared']}`]) {
        const response = await fetch(`http://${address}/live/s.flv`)
        expect(response.status).toBe(200)
        bodies.push(response.text())
      }
      const closed = gateway.close({ graceMs: 60_000 })
      expect(gateway.addresses.turn).toHaveProperty('shared')
      await new Promise((resolve) => setImmediate(resolve))
      for (const viewer of viewers) viewer.end(' last')
      expect(await Promise.all(bodies)).toEqual(['first last', 'first last'])
      await closed
      expect(gateway.addresses.turn).toEqual({})
    } finally {
      origin.closeAllConnections()
      origin.close()
    }
  })

  it('may be closed twice, and before it was started', async () => {
    const gateway = new Gateway(config(), { logger: silentLogger() })
    await gateway.close()
    await gateway.start()
    await gateway.close()
    await gateway.close()
  })

  it('shows streams and clears picks over the admin API', async () => {
    const store = new MemoryBalancerStore()
    await using gateway = await start({ store })
    await register(gateway, { rtmp: ['1935'] })
    const key = streamKeyOf('__defaultVhost__', 'live', 's')
    const claim = await store.pick(key, 'rtmp', { role: 'publish' })
    await claim.keep()
    const api = `http://${gateway.addresses.admin}/api/v1`
    expect(await (await fetch(`${api}/streams`)).json()).toMatchObject({ streams: [{ key, publishers: 1 }] })
    expect(
      (await fetch(`${api}/picks/${encodeURIComponent(key)}`, { method: 'DELETE' })).status,
    ).toBeLessThan(300)
    expect(await (await fetch(`${api}/streams`)).json()).toEqual({ streams: [] })
    expect(await (await fetch(`http://${gateway.addresses.admin}/metrics`)).text()).toContain(
      'sluice_streams 0',
    )
  })

  it('a reload puts rules of access, static origins and placement in force, and names what wants a restart', async () => {
    await using gateway = await start()
    const before = config()
    const rules = mediaWithRules([{ play: { policy: 'deny' } }])
    const changed = {
      ...before,
      balancer: { ...before.balancer, policy: 'least-load', maxPicks: 7 },
      media: { ...rules, http: before.media.http, rtmp: { ...before.media.rtmp, idleSeconds: 5 } },
      origins: parsed({ origins: [{ name: 'a', kind: 'srs', host: '127.0.0.1', check: false }] }).origins,
    } as const
    const ask = async (): Promise<number> =>
      (await fetch(`http://${gateway.addresses.http[0]}/live/s.m3u8`)).status
    expect(await ask()).toBe(503)
    expect(await gateway.reload(changed)).toEqual(['media.rtmp', 'balancer'])
    expect((await gateway.store.list()).map(({ server }) => server)).toEqual(['a'])
    expect(await ask()).toBe(403)
    expect(await gateway.reload(changed)).toEqual(['media.rtmp', 'balancer'])
    await gateway.reload(before)
    expect(await gateway.store.list()).toEqual([])
    expect(await ask()).toBe(503)
  })

  it('a reload with a section that is wrong changes nothing', async () => {
    await using gateway = await start()
    const before = config()
    const [origin] = parsed({ origins: [{ name: 'a', kind: 'nginx-rtmp', host: '127.0.0.1' }] }).origins
    const wrong = { ...origin, followSeconds: 1 } as Config['origins'][number]
    const rules = mediaWithRules([{ play: { policy: 'deny' } }])
    await expect(
      gateway.reload({ ...before, media: { ...before.media, access: rules.access }, origins: [wrong] }),
    ).rejects.toMatchObject({ code: 'ORIGINS_CANNOT_FOLLOW' })
    expect((await fetch(`http://${gateway.addresses.http[0]}/live/s.m3u8`)).status).toBe(503)
  })
})
