import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../src/foundation/clock.ts'
import { eventually } from '../../src/foundation/eventually.testkit.ts'
import {
  originIdOf,
  parseStreamKey,
  type RtcResource,
  type RtcSession,
} from '../../src/mechanisms/balancer/index.ts'
import { SharedHls } from '../../src/mechanisms/balancer/redis/shared-hls.ts'
import { SharedSessions } from '../../src/mechanisms/balancer/redis/shared-sessions.ts'
import { describeIdle } from '../../src/mechanisms/fleet/idle-member.testkit.ts'
import { newGatewayId, RedisFleet } from '../../src/mechanisms/fleet/index.ts'
import { createRedis, type RedisLink } from '../../src/mechanisms/redis/index.ts'
import { createLogger, createRegistry } from '../../src/mechanisms/telemetry/index.ts'
import { type RedisCluster, startCluster } from './cluster.ts'
import { GoProxy } from './go-proxy.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'

const KEY = parseStreamKey('__defaultVhost__/live/s')
const ORIGIN = originIdOf({ server: 'server', service: 'service', pid: '1' })

let server: RedisProcess
let cluster: RedisCluster
let tests = 0
let prefix: string | undefined
const gateways: Gateway[] = []

beforeAll(async () => {
  ;[server, cluster] = await Promise.all([startRedis(), startCluster()])
})
afterAll(async () => {
  await Promise.all([server.stop(), cluster.stop()])
})
beforeEach(() => {
  prefix = `sessions-${tests++}`
})
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.close()
})

describe.each([
  ['one server', () => ({ url: server.url })],
  ['a Cluster', () => ({ cluster: cluster.nodes })],
])('on %s', (_, place) => {
  it('a session is found by every gateway, taken by one, and ended through another', async () => {
    const [a, b, c] = [await open(place()), await open(place()), await open(place())]
    const added = session('a:b')
    await a.sessions.addSession(added)
    await eventually(async () =>
      expect(await b.sessions.findSession('a:b')).toEqual({ ...added, isServed: true }),
    )
    expect(await b.sessions.takeSession('a:b')).toBe(true)
    await eventually(() => expect(a.lost).toEqual([['a:b', 'taken']]))
    expect(await a.sessions.servesSession('a:b')).toBe(false)
    expect(await b.sessions.servesSession('a:b')).toBe(true)
    expect(await c.sessions.takeSession('a:b', 'unserved')).toBe(false)
    expect(await c.sessions.findSessionOfToken('token of a:b')).toEqual({ ...added, isServed: true })
    await c.sessions.removeSession('a:b')
    await eventually(() => expect(b.lost).toEqual([['a:b', 'ended']]))
    await eventually(async () => expect(await keys(a.redis)).toEqual([]))
  })

  it('a session of a gateway that was killed is taken by one of those that would', async () => {
    const [a, b, c] = [await open(place()), await open(place()), await open(place())]
    await a.sessions.addSession(session('a:b'))
    await eventually(async () => expect((await b.sessions.findSession('a:b'))?.isServed).toBe(true))
    await a.kill()
    await eventually(async () => expect((await b.sessions.findSession('a:b'))?.isServed).toBeUndefined())
    const takes = await Promise.all([
      b.sessions.takeSession('a:b', 'unserved'),
      c.sessions.takeSession('a:b', 'unserved'),
    ])
    expect(takes.filter((isTaken) => isTaken)).toHaveLength(1)
    expect(await b.sessions.findSession('a:b')).toMatchObject({ icePassword: 'secret-of-the-answer' })
  })

  it('sessions in use are there after hours, and gone once they are left', async () => {
    const [a, b] = [await open(place()), await open(place())]
    await a.sessions.addSession(session('a:b'))
    const { id } = await a.hls.openHls(KEY, 'http://h/live/s.m3u8')
    for (let time = 0; time < 20; time++) {
      await passTime(a, 30_000)
      await a.sessions.renewSession('a:b')
      await a.hls.findHls(id)
    }
    expect(await keys(a.redis)).toHaveLength(5)
    expect(await b.sessions.findSessionOfToken('token of a:b')).toBeDefined()
    await passTime(a, 120_000)
    expect(await keys(a.redis)).toEqual([])
    expect(await a.sessions.findSession('a:b')).toBeUndefined()
  })

  it('what Redis has lost is said again', async () => {
    const [a, b] = [await open(place()), await open(place())]
    for (let at = 0; at < 300; at++) await a.sessions.addSession(session(`a:${at}`))
    const opened = await a.hls.openHls(KEY, 'http://h/live/s.m3u8')
    await eventually(async () => expect(await keys(a.redis)).toHaveLength(603))
    for (const node of [server, ...cluster.servers]) await node.command('FLUSHALL')
    await eventually(async () => expect(await keys(a.redis)).toHaveLength(603))
    expect(await b.sessions.findSessionOfToken('token of a:299')).toMatchObject({
      icePassword: 'secret-of-the-answer',
    })
    expect(await b.hls.findHls(opened.id)).toEqual(opened)
  })

  it('an HLS session is one for all, from the moment at which one of them tells its id', async () => {
    const [a, b] = [await open(place()), await open(place())]
    const opened = await a.hls.openHls(KEY, 'http://h/live/s.m3u8')
    expect(await b.hls.findHls(opened.id)).toEqual(opened)
    await eventually(async () => expect(await keys(a.redis)).toHaveLength(2))
    const c = await open(place())
    expect(await c.hls.openHls(KEY, 'http://other/live/s.m3u8')).toEqual(opened)
    await eventually(async () => expect(await keys(a.redis)).toHaveLength(2))
  })
})

describe('with Go proxies at one Redis', () => {
  it.each([[7], [8]] as const)(
    'sessions of generation %i are found, and it finds ours',
    async (generation) => {
      await server.command('FLUSHALL')
      // Generation 7 knows none.
      prefix = undefined
      const a = await open({ url: server.url })
      using connection = await server.connect()
      const go = new GoProxy({ redis: connection, generation })
      await go.storeRtc(KEY, 'go:x')
      expect(await a.sessions.findSession('go:x')).toEqual({
        streamKey: KEY,
        username: 'go:x',
        role: 'play',
        originId: ORIGIN,
        originAddress: '10.0.0.5',
        originPort: 8000,
      })
      expect(await a.sessions.takeSession('go:x')).toBe(true)
      await a.sessions.addSession(session('a:b'))
      await eventually(async () => expect(await keys(a.redis)).toHaveLength(4))
      // Generation 8 reads none at all.
      const reader = new GoProxy({ redis: connection, generation: 7 })
      expect(await reader.loadRtcByUfrag('a:b')).toEqual({ stream_url: KEY, ufrag: 'a:b' })
      expect(await reader.loadRtcByUfrag('go:x')).toEqual({ stream_url: KEY, ufrag: 'go:x' })
    },
  )

  it.each([[7], [8]] as const)(
    'HLS ids of generation %i are found, each, and it finds ours',
    async (generation) => {
      await server.command('FLUSHALL')
      prefix = undefined
      const a = await open({ url: server.url })
      using connection = await server.connect()
      const go = new GoProxy({ redis: connection, generation })
      const fullUrl = 'http://127.0.0.1/live/s.m3u8?a=<1>&b'
      const ids = [await go.storeHls(KEY, fullUrl), await go.storeHls(KEY, fullUrl)]
      for (const id of ids) expect(await a.hls.findHls(id)).toEqual({ id, streamKey: KEY, fullUrl })
      const other = parseStreamKey('__defaultVhost__/live/other')
      const { id } = await a.hls.openHls(other, 'http://h/live/other.m3u8')
      const known = { spbhid: id, stream_url: other, full_url: 'http://h/live/other.m3u8' }
      const reader = new GoProxy({ redis: connection, generation: 7 })
      expect(await reader.loadHlsById(id)).toEqual(known)
      await eventually(async () => expect(await reader.loadHlsByUrl(other)).toEqual(known))
    },
  )

  it('a prefix is the same for both', async () => {
    prefix = 'shared'
    const a = await open({ url: server.url })
    using connection = await server.connect()
    const go = new GoProxy({ redis: connection, generation: 8, prefix })
    await go.storeRtc(KEY, 'go:x')
    expect(await a.sessions.findSession('go:x')).toMatchObject({ streamKey: KEY })
    const id = await go.storeHls(KEY, 'http://h/live/s.m3u8')
    expect(await a.hls.openHls(KEY, 'http://other/live/s.m3u8')).toMatchObject({ id })
  })
})

interface Gateway {
  readonly redis: RedisLink
  readonly clock: ManualClock
  readonly sessions: SharedSessions
  readonly hls: SharedHls
  readonly lost: readonly (readonly [string, string])[]
  /** Ends it without a word. */
  kill(): Promise<void>
  close(): Promise<void>
}

async function open(
  place: { readonly url: string } | { readonly cluster: readonly string[] },
): Promise<Gateway> {
  const clock = new ManualClock()
  const logger = createLogger({ level: 'silent' })
  const registry = createRegistry('test')
  const redis = createRedis({ ...place, prefix, logger, registry })
  const fleet = new RedisFleet({
    redis,
    id: newGatewayId('gateway'),
    version: '0',
    describe: describeIdle,
    logger,
    registry,
    leaseMs: 1000,
  })
  const common = { redis, fleet, clock, logger, registry }
  const sessions = new SharedSessions({
    ...common,
    secret: 'the secret of the fleet',
    sessionTtlMs: 120_000,
    maxSessions: 1000,
    originOf: () => Promise.resolve({ originId: ORIGIN, address: '10.0.0.5', rtcPort: 8000 }),
  })
  const hls = new SharedHls({ ...common, random: Math.random, hlsTtlMs: 120_000, maxHlsSessions: 1000 })
  const lost: [string, string][] = []
  sessions.onSessionLost((username, how) => void lost.push([username, how]))
  await redis.start()
  await fleet.start()
  sessions.start()
  hls.start()
  const close = async (): Promise<void> => {
    sessions.close()
    hls.close()
    await fleet.close()
    await redis.close()
  }
  const kill = async (): Promise<void> => {
    // Without Redis nobody can say goodbye.
    await redis.close()
    await close()
  }
  const gateway = { redis, clock, sessions, hls, lost, kill, close }
  gateways.push(gateway)
  return gateway
}

/** Keys of sessions. */
async function keys(redis: RedisLink): Promise<readonly string[]> {
  const all = await redis.scan(redis.key('*'), 10_000)
  return all.filter((name) => /(?:^|:)(?:srs-proxy|sluice-session)/.test(name)).toSorted()
}

/** What was begun is done; then clock and keys grow older together. */
async function passTime({ redis, clock }: Gateway, ms: number): Promise<void> {
  const names = await keys(redis)
  for (let round = 0; round < 5; round++) await Promise.all(names.map((name) => redis.command('PTTL', name)))
  await Promise.all(
    names.map(async (name) => {
      const leftMs = Number(await redis.command('PTTL', name)) - ms
      await (leftMs > 0 ? redis.command('PEXPIRE', name, leftMs) : redis.command('DEL', name))
    }),
  )
  clock.advance(ms)
}

function session(username: string, resource: Partial<RtcResource> = {}): RtcSession {
  return {
    streamKey: KEY,
    role: 'publish',
    username,
    originId: ORIGIN,
    originAddress: '127.0.0.1',
    originPort: 8000,
    icePassword: 'secret-of-the-answer',
    resource: {
      id: username,
      tokenHash: `token of ${username}`,
      originUrl: 'http://127.0.0.1:1985/rtc/v1/whip/?action=delete',
      clientAddress: '192.0.2.1',
      sinceMs: 1_700_000_000_000,
      hasTcp: false,
      ...resource,
    },
  }
}
