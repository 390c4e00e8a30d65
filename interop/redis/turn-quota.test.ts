import { afterEach, describe, expect, test } from 'vitest'
import { ManualClock, systemClock } from '../../src/foundation/clock.ts'
import { eventually } from '../../src/foundation/eventually.testkit.ts'
import { describeAs } from '../../src/mechanisms/fleet/conformance.testkit.ts'
import { gatewayId } from '../../src/mechanisms/fleet/gateway-id.ts'
import { RedisFleet } from '../../src/mechanisms/fleet/redis-fleet.ts'
import { FakeFleet } from '../../src/mechanisms/quota/fake-counts.testkit.ts'
import { SharedCounts } from '../../src/mechanisms/quota/index.ts'
import { createRedis, type RedisLink } from '../../src/mechanisms/redis/index.ts'
import { Registry, silentLogger } from '../../src/mechanisms/telemetry/index.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'

const MOST = 5
const KEY = 'p:sluice-turn:alice'

const cleanup: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of cleanup.splice(0).toReversed()) await end()
})

async function start(): Promise<RedisProcess> {
  const redis = await startRedis()
  cleanup.push(() => redis.stop())
  return redis
}

/** What is late by the default may only be a slow machine. */
async function connect(redis: RedisProcess, timeoutSeconds = 30): Promise<RedisLink> {
  const link = createRedis({
    url: redis.url,
    prefix: 'p',
    logger: silentLogger(),
    maxRetryMs: 100,
    timeoutSeconds,
  })
  cleanup.push(() => link.close())
  await link.start()
  return link
}

interface Gateway {
  readonly id: string
  readonly link: RedisLink
  readonly counts: SharedCounts
  readonly fleet: FakeFleet
}

async function open(
  redis: RedisProcess,
  id: string,
  { dead = new Set<string>(), timeoutSeconds }: { dead?: Set<string>; timeoutSeconds?: number } = {},
): Promise<Gateway> {
  const [link, fleet] = [await connect(redis, timeoutSeconds), new FakeFleet(id, dead)]
  const counts = await count(link, fleet)
  return { id, link, counts, fleet }
}

async function count(
  redis: RedisLink,
  fleet: Pick<RedisFleet, 'id' | 'gone' | 'onReturn'>,
): Promise<SharedCounts> {
  const counts = new SharedCounts({
    redis,
    fleet,
    name: 'sluice-turn',
    most: () => MOST,
    clock: systemClock,
    logger: silentLogger(),
    registry: new Registry(),
    // A refusal must not come of a slow machine.
    deadlineMs: 60_000,
  })
  await counts.start()
  cleanup.push(() => counts.close())
  return counts
}

/** Count by gateway, as Redis has it. */
async function stored(redis: RedisProcess, key: string = KEY): Promise<Record<string, number>> {
  const all = await redis.command('HGETALL', key)
  const counts: Record<string, number> = {}
  if (!Array.isArray(all)) return counts
  for (let at = 0; at + 1 < all.length; at += 2)
    counts[String(all[at])] = Number.parseInt(String(all[at + 1]), 10)
  return counts
}

async function take(counts: SharedCounts): Promise<boolean> {
  return await counts.take('alice')
}

/** The clock of Redis, in seconds. */
async function now(redis: RedisProcess): Promise<number> {
  const time = await redis.command('TIME')
  return Number(Array.isArray(time) ? time[0] : 0)
}

describe('quotas of TURN users on a real Redis', () => {
  test('hundreds of takes and gives at once at four gateways never pass the bound, and the counts come right', async () => {
    const redis = await start()
    const gateways = await Promise.all(['a', 'b', 'c', 'd'].map((id) => open(redis, id)))
    let all = 0
    let most = 0
    /** Asks until it has had three; what it gets it holds while others ask. */
    const client = async (gateway: Gateway): Promise<void> => {
      for (let had = 0; had < 3; ) {
        if (await take(gateway.counts)) {
          had++
          all++
          most = Math.max(most, all)
          await redis.command('PING')
          all--
          gateway.counts.give('alice')
        } else await redis.command('PING')
      }
    }
    await Promise.all(gateways.flatMap((gateway) => Array.from({ length: 10 }, () => client(gateway))))
    expect(most).toBeLessThanOrEqual(MOST)
    expect(most).toBeGreaterThan(1)
    await eventually(async () => expect(await stored(redis)).toEqual({}))
    const kept = await Promise.all(gateways.flatMap(({ counts }) => [take(counts), take(counts)]))
    expect(kept.filter(Boolean)).toHaveLength(MOST)
    await eventually(async () => {
      const counts = await stored(redis)
      expect(Object.values(counts).reduce((sum, one) => sum + one, 0)).toBe(MOST)
      for (const { id, counts: of } of gateways) expect(counts[id] ?? 0).toBe(of.held('alice'))
    })
  })

  test('a take costs one script, and the key does not outlive its users for long', async () => {
    const redis = await start()
    const [a] = [await open(redis, 'a')]
    await a.counts.take('alice')
    const calls = async (): Promise<number> =>
      Number(
        /cmdstat_evalsha:calls=(\d+)/.exec(String(await redis.command('INFO', 'commandstats')))?.[1] ?? 0,
      )
    const before = await calls()
    await a.counts.take('alice')
    expect((await calls()) - before).toBe(1)
    expect(await redis.command('TTL', KEY)).toBeGreaterThan(1700)
    expect(await redis.command('TTL', KEY)).toBeLessThanOrEqual(1800)
    a.counts.give('alice')
    a.counts.give('alice')
    await eventually(async () => expect(await redis.command('EXISTS', KEY)).toBe(0))
  })

  test('counts that lapsed, that are none, and those of the gone are worth nothing', async () => {
    const redis = await start()
    const dead = new Set<string>()
    const a = await open(redis, 'a', { dead })
    const seconds = await now(redis)
    const fields = {
      lapsed: `5 1 ${seconds - 1}`,
      future: `5 1 ${seconds + 90_000}`,
      garbage: 'five',
      huge: `${'9'.repeat(40)} 1 ${seconds + 100}`,
      gone: `5 1 ${seconds + 100}`,
    }
    for (const [field, value] of Object.entries(fields)) await redis.command('HSET', KEY, field, value)
    expect(await a.counts.take('alice')).toBe(false)
    expect(await stored(redis)).toEqual({ gone: 5 })
    dead.add('gone')
    expect(await a.counts.take('alice')).toBe(true)
    expect(await stored(redis)).toEqual({ a: 1 })
  })

  test('a count that was overtaken on its way changes nothing, and in the end the gateway is right', async () => {
    const redis = await start()
    const a = await open(redis, 'a')
    await a.counts.take('alice')
    const seconds = await now(redis)
    await redis.command('HSET', KEY, 'a', `4 100 ${seconds + 100}`)
    expect(await a.counts.take('alice')).toBe(true)
    await eventually(async () => expect(await stored(redis)).toEqual({ a: 2 }))
    expect(String(await redis.command('HGET', KEY, 'a'))).toMatch(/^2 10\d /)
  })

  test('a key of another kind costs a warning and nothing else', async () => {
    const redis = await start()
    await redis.command('SET', KEY, 'text')
    const a = await open(redis, 'a')
    expect(await a.counts.take('alice')).toBe(true)
    await redis.command('DEL', KEY)
    await eventually(async () => expect(await stored(redis)).toEqual({ a: 1 }))
  })

  test('a Redis that was killed comes back empty and is told everything', async () => {
    const redis = await start()
    const [a, b] = [await open(redis, 'a'), await open(redis, 'b')]
    await a.counts.take('alice')
    await b.counts.take('alice')
    await redis.kill()
    await eventually(() => expect([a.link.isUp, b.link.isUp]).toEqual([false, false]))
    for (let i = 0; i < MOST; i++) expect(await a.counts.take('alice')).toBe(i + 1 < MOST)
    a.counts.give('alice')
    await redis.restart()
    await eventually(() => expect([a.link.isUp, b.link.isUp]).toEqual([true, true]))
    a.fleet.comeBack()
    b.fleet.comeBack()
    await eventually(async () => expect(await stored(redis)).toEqual({ a: MOST - 1, b: 1 }))
    expect(await b.counts.take('alice')).toBe(false)
  })

  test('while a Redis is stopped the own count decides, and what was done after all is not counted twice', async () => {
    const redis = await start()
    const a = await open(redis, 'a', { timeoutSeconds: 1 })
    await a.counts.take('alice')
    await redis.pause()
    expect(await a.counts.take('alice')).toBe(true)
    redis.resume()
    await eventually(async () => expect(await stored(redis)).toEqual({ a: 2 }))
    expect(await a.counts.take('alice')).toBe(true)
    await eventually(async () => expect(await stored(redis)).toEqual({ a: 3 }))
  })

  test('what a killed gateway held is given back when its lease has run out', async () => {
    const redis = await start()
    const clock = new ManualClock()
    const join = async (
      id: string,
    ): Promise<{ fleet: RedisFleet; link: RedisLink; counts: SharedCounts }> => {
      const link = await connect(redis)
      const fleet = new RedisFleet({
        redis: link,
        id: gatewayId(id),
        version: '1.2.3',
        describe: describeAs({ isDraining: false, sessions: 0 }),
        leaseMs: 3000,
        clock,
        logger: silentLogger(),
        registry: new Registry(),
      })
      await fleet.start()
      return { fleet, link, counts: await count(link, fleet) }
    }
    const a = await join('a')
    for (let i = 0; i < MOST; i++) expect(await a.counts.take('alice')).toBe(true)
    await a.link.close()
    const b = await join('b')
    cleanup.push(async () => {
      const closed = Promise.all([a.fleet.close(), b.fleet.close()])
      clock.advance(1000)
      await closed
    })
    expect(await b.counts.take('alice')).toBe(false)
    // Its lease is of Redis' own clock; it is certain of that one lease after it has come.
    await eventually(async () => {
      clock.advance(1000)
      expect(await b.counts.take('alice')).toBe(true)
    })
    expect(await stored(redis)).toEqual({ b: 1 })
  })
})
