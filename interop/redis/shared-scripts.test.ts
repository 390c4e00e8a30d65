import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type StreamKeys, streamKeys } from '../../src/mechanisms/balancer/redis/keys.ts'
import {
  CLEAR,
  DROP,
  FAIL,
  LEAVE,
  PICK,
  UNPICK,
  USE,
} from '../../src/mechanisms/balancer/redis/stream-scripts.ts'
import { parseStreamKey } from '../../src/mechanisms/balancer/index.ts'
import { createRedis, type RedisLink, type RedisScript } from '../../src/mechanisms/redis/index.ts'
import { createLogger, createRegistry } from '../../src/mechanisms/telemetry/index.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'

const PENDING_MS = 30_000
const IDLE_MS = 600_000
const DAY_MS = 86_400_000

let server: RedisProcess
let redis: RedisLink
let keys: StreamKeys
let tests = 0

beforeAll(async () => {
  server = await startRedis()
  const logger = createLogger({ level: 'silent' })
  redis = createRedis({ url: server.url, timeoutSeconds: 30, logger, registry: createRegistry('test') })
  await redis.start()
})
afterAll(async () => {
  await redis.close()
  await server[Symbol.asyncDispose]()
})
beforeEach(() => {
  keys = streamKeys(redis, parseStreamKey(`__defaultVhost__/live/${tests++}`))
})

async function run(script: RedisScript, ...args: readonly (string | number)[]): Promise<unknown> {
  return await redis.run(script, [keys.url, keys.publish, keys.play, keys.next], args)
}

/** Place and word of an answer. */
async function answer(
  script: RedisScript,
  ...args: readonly (string | number)[]
): Promise<readonly unknown[]> {
  const reply = await run(script, ...args)
  return Array.isArray(reply) ? reply.slice(0, 2) : []
}

function pick(wanted: string, givesWay = '', gone = ''): Promise<readonly unknown[]> {
  return answer(PICK, wanted, PENDING_MS, givesWay, gone)
}

function use(place: string, who: string, role: string, given: { gives?: string; wanted?: string } = {}) {
  return answer(USE, place, IDLE_MS, who, role, given.gives ?? '', given.wanted ?? '', 0)
}

function says(origin: string, ageMs = 0): Promise<readonly unknown[]> {
  return answer(USE, origin, DAY_MS, `@${origin}`, 'publish', '', '', ageMs)
}

async function ttlMs(key: string): Promise<number> {
  return Number(await redis.command('PTTL', key))
}

async function fields(key: string): Promise<unknown> {
  return await redis.command('HGETALL', key)
}

describe('pick', () => {
  it('of a stream that is used is no choice of somebody else, however soon its place runs out', async () => {
    expect(await pick('x')).toEqual(['x', 'new'])
    expect(await pick('y')).toEqual(['x', 'pending'])
    await redis.command('HSET', keys.play, 'a', 'x')
    expect(await pick('y')).toEqual(['x', 'kept'])
    await redis.command('DEL', keys.play)
    await redis.command('HSET', keys.publish, 'a', 'x')
    expect(await pick('y')).toEqual(['x', 'kept'])
    await redis.command('DEL', keys.publish)
    await redis.command('HSET', keys.publish, '!@y', '1')
    expect(await pick('y')).toEqual(['x', 'pending'])
    await redis.command('PERSIST', keys.url)
    expect(await pick('y')).toEqual(['x', 'kept'])
  })

  it('takes those out who were at an origin that is gone, and no others', async () => {
    await redis.command('SET', keys.url, 'x')
    await redis.command('HSET', keys.publish, 'a', 'x', 'b', 'y')
    await redis.command('HSET', keys.play, 'c', 'x', 'd', 'y')
    expect(await pick('z', 'x', 'gone')).toEqual(['z', 'new'])
    expect(await fields(keys.publish)).toEqual(['b', 'y'])
    expect(await fields(keys.play)).toEqual(['d', 'y'])
  })

  it('gives all who cannot use a place the same other one', async () => {
    await use('x', 'a', 'play')
    expect(await pick('y', 'x')).toEqual(['y', 'next'])
    expect(await pick('z', 'x')).toEqual(['y', 'next'])
    expect(await pick('z')).toEqual(['x', 'kept'])
    expect(await use('y', 'b', 'play', { gives: 'x' })).toEqual(['y', 'moved'])
    expect(await redis.command('EXISTS', keys.next)).toBe(0)
  })
})

describe('use', () => {
  it('of a publisher moves the stream unless another one is live there', async () => {
    await use('x', 'a', 'publish')
    expect(await use('y', 'b', 'publish')).toEqual(['x', 'elsewhere'])
    expect(await fields(keys.publish)).toEqual(['a', 'x'])
    expect(await use('y', 'b', 'publish', { wanted: 'wanted' })).toEqual(['y', 'moved'])
    // It is no publisher of this stream any more.
    expect(await use('x', 'a', 'publish')).toEqual(['y', 'elsewhere'])
    expect(await fields(keys.publish)).toEqual(['b', 'y'])
  })

  it('of a player moves it only from the place that gives way, and not from a publisher', async () => {
    await use('x', 'a', 'play')
    expect(await use('y', 'b', 'play')).toEqual(['x', 'elsewhere'])
    expect(await use('y', 'b', 'play', { gives: 'z' })).toEqual(['x', 'elsewhere'])
    await use('x', 'c', 'publish')
    expect(await use('y', 'b', 'play', { gives: 'x' })).toEqual(['x', 'elsewhere'])
    await run(LEAVE, 'c', IDLE_MS)
    expect(await use('y', 'b', 'play', { gives: 'x' })).toEqual(['y', 'moved'])
  })

  it('is of one kind for each gateway', async () => {
    await use('x', 'a', 'play')
    await use('x', 'a', 'publish')
    expect([await fields(keys.publish), await fields(keys.play)]).toEqual([['a', 'x'], []])
    await use('x', 'a', 'play')
    expect([await fields(keys.publish), await fields(keys.play)]).toEqual([[], ['a', 'x']])
  })

  it('tells of players that are elsewhere', async () => {
    await redis.command('HSET', keys.play, 'b', 'y')
    expect(await use('x', 'a', 'publish')).toEqual(['x', 'moved'])
    await use('x', 'b', 'play')
    expect(await use('x', 'a', 'publish')).toEqual(['x', 'kept'])
  })

  it('of a player gives what a Go proxy wrote no end, that of a publisher does', async () => {
    await redis.command('SET', keys.url, 'x')
    await use('x', 'a', 'play')
    expect(await ttlMs(keys.url)).toBe(-1)
    await run(LEAVE, 'a', IDLE_MS)
    expect(await ttlMs(keys.url)).toBe(-1)
    await use('x', 'a', 'publish')
    expect(await ttlMs(keys.url)).toBeGreaterThan(PENDING_MS)
  })
})

describe('the word of an origin', () => {
  it('outlasts every use at its place, and no other place', async () => {
    await says('x')
    await use('x', 'a', 'play')
    await use('x', 'b', 'publish')
    await run(LEAVE, 'a', IDLE_MS)
    await run(LEAVE, 'b', IDLE_MS)
    for (const key of [keys.url, keys.publish]) expect(await ttlMs(key)).toBeGreaterThan(IDLE_MS)
    await use('y', 'b', 'publish')
    expect(await ttlMs(keys.url)).toBeLessThanOrEqual(IDLE_MS)
    expect(await ttlMs(keys.publish)).toBeGreaterThan(IDLE_MS)
  })

  it('that was said before it was taken back is worth nothing, a later one is', async () => {
    await says('x')
    expect(await run(LEAVE, '@x', IDLE_MS)).toBe(1)
    expect(await ttlMs(keys.url)).toBeLessThanOrEqual(IDLE_MS)
    expect(await ttlMs(keys.publish)).toBeLessThanOrEqual(IDLE_MS)
    expect(await says('x', 5000)).toEqual(['x', 'ended'])
    expect(await run(LEAVE, '@x', IDLE_MS)).toBe(0)
    await redis.command('HSET', keys.publish, '!@x', Date.now() - 60_000)
    expect(await says('x', 5000)).toEqual(['x', 'kept'])
    expect(await fields(keys.publish)).toEqual(['@x', 'x'])
  })

  it('does not hold a stream where no gateway publishes it, but for players', async () => {
    await says('x')
    expect(await use('y', 'b', 'play', { gives: 'x' })).toEqual(['x', 'elsewhere'])
    expect(await use('y', 'b', 'publish')).toEqual(['y', 'moved'])
    expect(await says('x')).toEqual(['y', 'elsewhere'])
  })
})

describe('what goes', () => {
  it('a choice that nobody accepted, and nothing that was accepted', async () => {
    await pick('x')
    expect(await run(UNPICK, 'y', PENDING_MS)).toBe(0)
    expect(await run(UNPICK, 'x', PENDING_MS)).toBe(1)
    await pick('x')
    await redis.command('HSET', keys.play, 'a', 'x')
    expect(await run(UNPICK, 'x', PENDING_MS)).toBe(0)
    await redis.command('DEL', keys.play)
    await redis.command('HSET', keys.publish, 'a', 'x')
    expect(await run(UNPICK, 'x', PENDING_MS)).toBe(0)
    await redis.command('DEL', keys.publish)
    await redis.command('PEXPIRE', keys.url, IDLE_MS)
    expect(await run(UNPICK, 'x', PENDING_MS)).toBe(0)
    await redis.command('PERSIST', keys.url)
    expect(await run(UNPICK, 'x', PENDING_MS)).toBe(0)
  })

  it('an origin that failed is left, with its word, unless somebody else publishes there', async () => {
    await says('x')
    expect(await answer(FAIL, 'y', '', 'a')).toEqual(['x', 'kept'])
    expect(await answer(FAIL, 'x', 'silent', 'a')).toEqual(['x', 'kept'])
    await use('x', 'b', 'publish')
    expect(await answer(FAIL, 'x', '', 'a')).toEqual(['x', 'kept'])
    expect(await answer(FAIL, 'x', '', 'b')).toEqual(['', 'left'])
    expect(await fields(keys.publish)).toEqual(['b', 'x'])
  })

  it('all of a stream at an origin that is gone, and nothing of one that is elsewhere', async () => {
    await use('x', 'a', 'publish')
    expect(await run(DROP, 'y')).toBe(0)
    expect(await run(DROP, 'x')).toBe(2)
    await use('x', 'a', 'play')
    await pick('y', 'x')
    expect(await run(CLEAR)).toBe(1)
    expect(await redis.command('EXISTS', keys.play)).toBe(0)
    expect(await redis.command('EXISTS', keys.next)).toBe(0)
  })

  it('a user, and its place a while later', async () => {
    await use('x', 'a', 'publish')
    await redis.command('PEXPIRE', keys.url, 1000)
    expect(await run(LEAVE, 'a', IDLE_MS)).toBe(1)
    expect(await ttlMs(keys.url)).toBeGreaterThan(PENDING_MS)
    expect(await run(LEAVE, 'a', IDLE_MS)).toBe(0)
  })
})
