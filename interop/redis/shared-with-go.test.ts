import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../src/foundation/clock.ts'
import { eventually } from '../../src/foundation/eventually.testkit.ts'
import {
  MemoryBalancerStore,
  type OriginAnnouncement,
  originIdOf,
  RedisBalancerStore,
  type RtcSession,
  streamKeyOf,
} from '../../src/mechanisms/balancer/index.ts'
import { describeIdle } from '../../src/mechanisms/fleet/idle-member.testkit.ts'
import { LoneFleet, newGatewayId } from '../../src/mechanisms/fleet/index.ts'
import { createRedis } from '../../src/mechanisms/redis/index.ts'
import { createLogger, createRegistry } from '../../src/mechanisms/telemetry/index.ts'
import { type Generation, GoProxy, type SrsRegistration } from './go-proxy.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'
import type { RespClient } from './resp-client.ts'

let server: RedisProcess
let redis: RespClient
const opened: AsyncDisposable[] = []
const NOW = '2026-11-21T08:41:59.762Z'
const clock = new ManualClock(Date.parse(NOW))

beforeAll(async () => {
  server = await startRedis()
  redis = await server.connect()
})

beforeEach(async () => {
  for (const thing of opened.splice(0).toReversed()) await thing[Symbol.asyncDispose]()
  await redis.command('FLUSHALL')
})

afterAll(async () => {
  for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
  redis.close()
  await server.stop()
})

const key = streamKeyOf('', 'live', 'livestream')

/** An origin as it registers at Sluice, and the same as it registers at a Go proxy. */
const announcement: OriginAnnouncement = {
  ip: '127.0.0.1',
  deviceId: 'origin1',
  server: 'vid-13772xk',
  service: '3114493m',
  pid: '28955',
  rtmp: [19351],
  http: [8081],
  api: [19851],
  srt: [10081],
  rtc: [8001],
}
const registration: SrsRegistration = {
  ip: '127.0.0.1',
  device_id: 'origin1',
  server: 'vid-13772xk',
  service: '3114493m',
  pid: '28955',
  rtmp: ['19351'],
  http: ['8081'],
  api: ['19851'],
  srt: ['10081'],
  rtc: ['8001'],
}
const id = originIdOf(announcement)

/** One that offers little, and so has few fields. */
const bareAnnouncement: OriginAnnouncement = {
  ip: '192.0.2.7',
  server: 'vid-2',
  service: 's',
  pid: '1',
  ...{ rtmp: [1935], http: [], api: [], srt: [], rtc: [] },
}
const bareRegistration: SrsRegistration = {
  ip: '192.0.2.7',
  server: 'vid-2',
  service: 's',
  pid: '1',
  rtmp: ['1935'],
}

const session: RtcSession = {
  streamKey: key,
  role: 'publish',
  username: 'n5d8:qW3k',
  originId: id,
  originAddress: '127.0.0.1',
  originPort: 8001,
  icePassword: 'the password of the answer',
}

describe('the same facts leave the same keys and values, byte for byte', () => {
  test.each([
    ['without a prefix', undefined],
    ['with a prefix', 'P'],
  ])('%s', async (_title, prefix) => {
    const go = goProxy(prefix === undefined ? 7 : 8, prefix)
    await go.announce(registration)
    await go.pick(key)
    await go.announce(bareRegistration)
    await go.storeRtc(key, session.username)
    const fullUrl = 'http://127.0.0.1/live/livestream.m3u8'
    await go.storeHls(key, fullUrl, '8e44b3c')
    const byGo = await everything()
    expect(Object.keys(byGo)).toHaveLength(8)
    await redis.command('FLUSHALL')

    const sluice = await startStore(prefix)
    await sluice.announce(announcement)
    await (await sluice.pick(key, 'rtmp', { role: 'publish' })).keep()
    await sluice.announce(bareAnnouncement)
    await sluice.addSession(session)
    const hls = await sluice.openHls(key, fullUrl)
    const bySluice = await eventually(async () => {
      // An id is made up by whoever opens; all else is told.
      const all = await everything(({ name, value }) => ({
        name: name.replace(hls.id, '8e44b3c'),
        value: withoutOurs(value).replace(hls.id, '8e44b3c'),
      }))
      expect(Object.keys(all)).toHaveLength(8)
      return all
    })
    expect(bySluice).toEqual(byGo)
  })

  test('and they live as long, but for picks', async () => {
    const ttls = async (): Promise<Record<string, number>> => {
      const names = Object.keys(await everything()).filter((name) => !name.includes('spbhid'))
      const all = names.map(async (name) => [name, Number(await redis.command('TTL', name))] as const)
      // What a slow machine has used of it does not count.
      return Object.fromEntries(
        (await Promise.all(all)).map(([name, left]) => [name, left < 0 ? left : Math.ceil(left / 30)]),
      )
    }
    const go = goProxy()
    await go.announce(registration)
    await go.storeRtc(key, session.username)
    await go.storeHls(key, 'http://127.0.0.1/live/livestream.m3u8')
    const byGo = await ttls()
    await redis.command('FLUSHALL')
    const sluice = await startStore()
    await sluice.announce(announcement)
    await sluice.addSession(session)
    await sluice.openHls(key, 'http://127.0.0.1/live/livestream.m3u8')
    await eventually(async () => expect(await ttls()).toEqual(byGo))
  })
})

describe('Sluice reads what a Go proxy wrote', () => {
  test('origins, in the forms in which SRS writes endpoints', async () => {
    const go = goProxy()
    await go.announce({
      ...registration,
      srt: ['udp://0.0.0.0:10081'],
      rtc: ['udp://0.0.0.0:8001', 'tcp://0.0.0.0:8002'],
    })
    const sluice = await startStore()
    const { lastHeartbeatMs, ...origin } = (await sluice.list())[0] ?? {}
    expect(origin).toMatchObject({ ...announcement, id, state: 'healthy', draining: false })
    expect(Math.abs(clock.wallMs() - (lastHeartbeatMs ?? 0))).toBeLessThan(30_000)
    await go.announce({ ...registration, server: 'vid-2' })
    clock.advance(11_000)
    await eventually(async () => expect(await sluice.list()).toHaveLength(2))
  })

  test('origins, whatever the clock of that proxy says: their keys are there as long as they live', async () => {
    const texts = {
      early: '2026-11-21T07:41:59Z',
      late: '2026-11-21T09:41:59Z',
      east: '2026-11-21T16:41:59.1+08:00',
    }
    for (const [name, text] of Object.entries(texts)) {
      const go = new GoProxy({ redis, generation: 7, now: () => text })
      await go.announce({ ...registration, server: name })
    }
    const sluice = await startStore()
    const states = (await sluice.list()).map((origin) => [origin.server, origin.state])
    expect(Object.fromEntries(states)).toEqual({ early: 'healthy', late: 'healthy', east: 'healthy' })
  })

  test('picks', async () => {
    const go = goProxy()
    for (let at = 0; at < 5; at++)
      await go.announce({ ...registration, server: `vid-${at}`, rtmp: [`${1935 + at}`] })
    const sluice = await startStore()
    for (const name of numbered(50)) {
      const stream = streamKeyOf('', 'live', name)
      const picked = await go.pick(stream)
      const claim = await sluice.pick(stream, 'rtmp', { role: 'play' })
      expect(claim.origin.server).toBe(picked.server_id)
      await claim.release()
    }
  })

  test('HLS sessions, older ones of the same stream too', async () => {
    const go = goProxy()
    const url = 'http://127.0.0.1/live/livestream.m3u8'
    const first = await go.storeHls(key, url)
    const second = await go.storeHls(key, url)
    const sluice = await startStore()
    expect(await sluice.findHls(first)).toEqual({ id: first, streamKey: key, fullUrl: url })
    expect(await sluice.findHls(second)).toEqual({ id: second, streamKey: key, fullUrl: url })
    const other = await startStore()
    expect((await other.openHls(key, url)).id).toBe(second)
    const byEight = await goProxy(8).storeHls(streamKeyOf('', 'live', 'b'), url)
    expect((await other.findHls(byEight))?.streamKey).toBe('__defaultVhost__/live/b')
  })

  test('WebRTC sessions, whose media are where their stream is', async () => {
    for (const generation of [7, 8] as const) {
      const go = goProxy(generation)
      await go.announce(registration)
      await go.pick(key)
      const username = `n5d8:by${generation}`
      await go.storeRtc(key, username)
      const sluice = await startStore()
      const found = await sluice.findSession(username)
      expect(found).toMatchObject({
        streamKey: key,
        username,
        originId: id,
        originAddress: '127.0.0.1',
        originPort: 8001,
      })
      expect(found?.icePassword).toBe(undefined)
    }
  })
})

describe('a Go proxy reads what Sluice wrote', () => {
  test.each([7, 8] as const)('origins and picks, generation %s', async (generation) => {
    const sluice = await startStore()
    for (let at = 0; at < 5; at++)
      await sluice.announce({
        ...announcement,
        server: `vid-${at}`,
        rtmp: [1935 + at],
        weight: 2,
        load: 0.5,
        zone: 'a',
      })
    const go = goProxy(generation)
    for (const name of numbered(50)) {
      const stream = streamKeyOf('', 'live', name)
      const claim = await sluice.pick(stream, 'rtmp', { role: 'publish' })
      // One that is not kept yet counts too: its player may be quicker than the answer of the origin.
      if (Number(name) % 2 === 0) await claim.keep()
      const picked = await go.pick(stream)
      expect(picked.server_id).toBe(claim.origin.server)
      expect(go.dial(picked, 'rtmp')).toEqual({ host: '127.0.0.1', port: claim.origin.rtmp[0] })
      for (const protocol of ['http', 'api', 'srt', 'rtc'] as const)
        expect(go.dial(picked, protocol).port).toBe(announcement[protocol][0])
    }
  })

  test('HLS and WebRTC sessions', async () => {
    const sluice = await startStore()
    await sluice.announce(announcement)
    const url = 'http://127.0.0.1/live/livestream.m3u8'
    const hls = await sluice.openHls(key, url)
    await sluice.addSession(session)
    const go = goProxy()
    expect(await go.loadHlsById(hls.id)).toEqual({ spbhid: hls.id, stream_url: key, full_url: url })
    await eventually(async () => expect((await go.loadHlsByUrl(key)).spbhid).toBe(hls.id))
    await eventually(async () =>
      expect(await go.loadRtcByUfrag(session.username)).toEqual({ stream_url: key, ufrag: session.username }),
    )
  })

  test('and nothing that is secret', async () => {
    const sluice = await startStore()
    await sluice.addSession(session)
    await eventually(async () => expect(await redis.command('EXISTS', 'srs-proxy-ufrag:n5d8:qW3k')).toBe(1))
    expect(JSON.stringify(await everything())).not.toContain(session.icePassword)
  })
})

describe('both at once', () => {
  test('an origin that is not SRS is led to by Sluice alone', async () => {
    const sluice = await startStore()
    await sluice.announce(announcement)
    const lists = { rtmp: [], http: [], api: [], srt: [], rtc: [] }
    const urls = { rtmp: 'rtmp://127.0.0.1/{app}/{stream}' }
    const other = {
      ip: '127.0.0.1',
      server: 'mtx',
      service: 's',
      pid: '1',
      ...lists,
      kind: 'mediamtx',
      urls,
    } as const
    await sluice.announce(other)
    const go = goProxy()
    for (const name of numbered(30)) expect((await go.pick(`v/live/${name}`)).server_id).toBe('vid-13772xk')
    const second = await startStore()
    expect((await second.list()).map((origin) => origin.id).toSorted()).toEqual(
      [originIdOf(other), id].toSorted(),
    )
  })

  test('an origin that registers at one and then at the other is one', async () => {
    const sluice = await startStore()
    await sluice.announce({ ...announcement, weight: 3 })
    await goProxy().announce(registration)
    expect(await list()).toEqual([`srs-proxy-server:${id}`])
    await sluice.announce({ ...announcement, weight: 3 })
    expect(await list()).toEqual([`srs-proxy-server:${id}`])
    expect(await sluice.list()).toHaveLength(1)
  })

  test('an origin that a Go proxy dropped from the list in a race is back with its next heartbeat', async () => {
    const sluice = await startStore()
    await sluice.announce(announcement)
    // A Go proxy had read the list before.
    await redis.command('SET', 'srs-proxy-all-servers', '["srs-proxy-server:a-b-1"]')
    await redis.command(
      'SET',
      'srs-proxy-server:a-b-1',
      '{"ip":"127.0.0.1","server_id":"a","service_id":"b","pid":"1","rtmp":["1"],"update_at":"2026-11-21T08:41:59Z"}',
    )
    clock.advance(11_000)
    await eventually(async () => expect(await sluice.list()).toHaveLength(2))
    await sluice.announce(announcement)
    expect(await list()).toEqual(['srs-proxy-server:a-b-1', `srs-proxy-server:${id}`])
  })

  test('an origin that Sluice cannot make anything of stays in the list: a Go proxy may', async () => {
    const go = goProxy()
    await go.announce({ ...registration, ip: '0.0.0.0' })
    const sluice = await startStore()
    expect(await sluice.list()).toEqual([])
    expect(await list()).toEqual([`srs-proxy-server:${id}`])
    await redis.command('DEL', `srs-proxy-server:${id}`)
    clock.advance(11_000)
    await eventually(async () => expect(await list()).toEqual([]))
  })

  test('the streams of an origin that is gone move, and both agree where to', async () => {
    const go = goProxy()
    await go.announce(registration)
    await go.pick(key)
    const stream = streamKeyOf('', 'live', 'other')
    await go.pick(stream)
    await redis.command('DEL', `srs-proxy-server:${id}`)
    const sluice = await startStore()
    await sluice.announce({ ...announcement, server: 'vid-2' })
    const claim = await sluice.pick(key, 'rtmp', { role: 'publish' })
    expect(claim.origin.server).toBe('vid-2')
    await claim.keep()
    expect((await go.pick(key)).server_id).toBe('vid-2')

    await go.announce({ ...registration, server: 'vid-3' })
    const { server_id } = await go.pick(stream)
    expect((await sluice.pick(stream, 'rtmp', { role: 'play' })).origin.server).toBe(server_id)
  })

  test('a pick of a Go proxy, whose publisher Sluice cannot see, does not expire because a player came and went', async () => {
    const go = goProxy()
    await go.announce(registration)
    await go.pick(key)
    const sluice = await startStore()
    const hold = await (await sluice.pick(key, 'rtmp', { role: 'play' })).keep()
    const ours = async (): Promise<unknown> => await redis.command('KEYS', `sluice-*{srs-proxy-url:${key}}`)
    await eventually(async () => expect(await ours()).toHaveLength(1))
    expect(await redis.command('TTL', `srs-proxy-url:${key}`)).toBe(-1)
    hold.end()
    await eventually(async () => expect(await ours()).toEqual([]))
    expect(await redis.command('TTL', `srs-proxy-url:${key}`)).toBe(-1)
  })
})

function goProxy(generation: Generation = 7, prefix?: string): GoProxy {
  return new GoProxy({
    redis,
    generation,
    now: () => new Date(clock.wallMs()).toISOString(),
    ...(prefix !== undefined && { prefix }),
  })
}

/** What a gateway has of the Redis. */
async function startStore(prefix?: string): Promise<RedisBalancerStore> {
  const logger = createLogger({ level: 'error' })
  const registry = createRegistry('test')
  const connection = createRedis({
    url: server.url,
    logger,
    registry,
    ...(prefix !== undefined && { prefix }),
  })
  await connection.start()
  const store = new RedisBalancerStore({
    redis: connection,
    fleet: new LoneFleet({
      id: newGatewayId('one'),
      version: '0',
      clock,
      describe: describeIdle,
    }),
    local: new MemoryBalancerStore({ clock }),
    logger,
    registry,
    clock,
    secret: 'of the tests',
  })
  await store.start()
  opened.push({
    [Symbol.asyncDispose]: async () => {
      await store.close()
      await connection.close()
    },
  })
  return store
}

/** All that both have; what is Sluice's alone is left out. */
async function everything(
  change: (entry: { name: string; value: string }) => { name: string; value: string } = (entry) => entry,
): Promise<Record<string, string>> {
  const names = (await redis.command('KEYS', '*srs-proxy-*')) as readonly string[]
  const entries = names
    .filter((name) => !name.includes('sluice'))
    .map(async (name) => change({ name, value: String(await redis.command('GET', name)) }))
  return Object.fromEntries((await Promise.all(entries)).map(({ name, value }) => [name, value]))
}

/** Fields of our own come last. */
function withoutOurs(value: string): string {
  return value.replace(/,"sluice":\{.*\}\}$/, '}')
}

async function list(): Promise<unknown> {
  return JSON.parse(String(await redis.command('GET', 'srs-proxy-all-servers')))
}

function numbered(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${index}`)
}
