import { afterEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../src/foundation/clock.ts'
import { eventually } from '../../src/foundation/eventually.testkit.ts'
import { describeAs, type Said } from '../../src/mechanisms/fleet/conformance.testkit.ts'
import { gatewayId } from '../../src/mechanisms/fleet/gateway-id.ts'
import { RedisFleet } from '../../src/mechanisms/fleet/redis-fleet.ts'
import { createRedis, type RedisLink } from '../../src/mechanisms/redis/index.ts'
import { Registry, silentLogger } from '../../src/mechanisms/telemetry/index.ts'
import { startRedis, type RedisProcess } from './redis-process.ts'

/** By Redis' own clock; renewals are moved by hand, so that no lease ends because this machine is slow. */
const LEASE_MS = 600_000
const KEY = 'p:sluice-gateways'

interface Member {
  readonly fleet: RedisFleet
  readonly link: RedisLink
  readonly clock: ManualClock
  readonly said: Said
  readonly told: string[]
}

const cleanup: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of cleanup.splice(0).toReversed()) await end()
})

async function start(): Promise<RedisProcess> {
  const redis = await startRedis()
  cleanup.push(() => redis.stop())
  return redis
}

async function open(redis: RedisProcess, id: string, leaseMs: number = LEASE_MS): Promise<Member> {
  const [clock, said, told]: [ManualClock, Said, string[]] = [
    new ManualClock(),
    { isDraining: false, sessions: 0 },
    [],
  ]
  const link = createRedis({ url: redis.url, prefix: 'p', logger: silentLogger(), maxRetryMs: 100 })
  const fleet = new RedisFleet({
    redis: link,
    id: gatewayId(id),
    version: '1.2.3',
    describe: describeAs(said),
    leaseMs,
    clock,
    logger: silentLogger(),
    registry: new Registry(),
  })
  fleet.onGone((gone) => told.push(`gone ${gone}`))
  fleet.onReturn(() => told.push('return'))
  cleanup.push(async () => {
    // Its deadline is on a clock that stands still.
    const closed = fleet.close()
    clock.advance(1000)
    await closed
    await link.close()
  })
  await link.start()
  await fleet.start()
  return { fleet, link, clock, said, told }
}

const ids = ({ fleet }: Member): readonly string[] => fleet.members().map(({ id }) => id)

/** Moves to the next renewal and waits for its end: the one after that is armed then. */
async function renew({ clock }: Member): Promise<void> {
  await eventually(() => expect(clock.dueInMs).toBeDefined())
  clock.advance(clock.dueInMs ?? 0)
  await eventually(() => expect(clock.dueInMs).toBeGreaterThan(0))
}

/** Until it may call others gone. */
async function passLease(member: Member): Promise<void> {
  for (let times = 0; times < 4; times++) await renew(member)
}

async function whenHeard(redis: RedisProcess, listeners: number): Promise<void> {
  await eventually(async () => {
    expect(await redis.command('PUBSUB', 'NUMSUB', 'p:sluice-bus')).toEqual(['p:sluice-bus', listeners])
  })
}

/** As if its lease had run out. */
async function expire(redis: RedisProcess, id: string): Promise<void> {
  const entry = String(await redis.command('HGET', KEY, id))
  await redis.command('HSET', KEY, id, entry.replace(/^\d+/, '1700000000000'))
}

describe('a fleet on a real Redis', () => {
  test('finds its members; the lease is of Redis own clock; goodbye is heard at once', async () => {
    const redis = await start()
    const [a, b] = [await open(redis, 'a'), await open(redis, 'b')]
    expect(ids(b)).toEqual(['a', 'b'])
    await renew(a)
    expect(a.fleet.members()).toEqual(b.fleet.members())
    const until = Number(String(await redis.command('HGET', KEY, 'b')).split(' ', 1)[0])
    expect(Math.abs(until - ((await seconds(redis)) * 1000 + LEASE_MS))).toBeLessThan(60_000)
    expect(await redis.command('PTTL', KEY)).toBeGreaterThan(80_000_000)
    await whenHeard(redis, 2)
    b.said.isDraining = true
    await b.fleet.announce()
    await eventually(() => expect(a.fleet.members()[1]).toMatchObject({ id: 'b', isDraining: true }))
    await b.fleet.close()
    await eventually(() => expect(a.told).toEqual(['gone b']))
    expect([ids(a), await redis.command('HKEYS', KEY)]).toEqual([['a'], ['a']])
  })

  test('one that is killed has gone when its lease has run out', async () => {
    const redis = await start()
    const [a, b] = [await open(redis, 'a'), await open(redis, 'b', 3000)]
    await passLease(a)
    await b.link.close()
    await eventually(async () => {
      await renew(a)
      expect(a.told).toEqual(['gone b'])
    })
    expect(await a.fleet.gone([a.fleet.id, b.fleet.id])).toEqual(new Set(['b']))
    const c = await open(redis, 'c')
    expect(await a.fleet.gone([b.fleet.id, c.fleet.id])).toEqual(new Set(['b']))
  })

  test('messages reach one or all others', async () => {
    const redis = await start()
    const members = [await open(redis, 'a'), await open(redis, 'b'), await open(redis, 'c')]
    const [a, , c] = members
    const heard: string[] = []
    for (const { fleet } of members)
      fleet.on('t', (data, from) => heard.push(`${fleet.id} ${from} ${JSON.stringify(data)}`))
    await whenHeard(redis, 3)
    await eventually(async () => {
      expect(await redis.command('PUBSUB', 'NUMSUB', 'p:sluice-bus:c')).toEqual(['p:sluice-bus:c', 1])
    })
    const long = 'é'.repeat(30_000)
    a?.fleet.send('all', 't', [1])
    if (c !== undefined) a?.fleet.send(c.fleet.id, 't', long)
    await eventually(() => expect(heard).toHaveLength(3))
    expect(heard.toSorted()).toEqual(['b a [1]', `c a ${JSON.stringify(long)}`, 'c a [1]'].toSorted())
  })

  test('that is flushed: each says again what it holds, and nobody is called gone', async () => {
    const redis = await start()
    const [a, b] = [await open(redis, 'a'), await open(redis, 'b')]
    await passLease(a)
    await passLease(b)
    await redis.command('FLUSHALL')
    await renew(a)
    expect([ids(a), a.told]).toEqual([['a', 'b'], ['return']])
    await renew(b)
    await passLease(a)
    await passLease(b)
    expect([ids(a), a.told, ids(b), b.told]).toEqual([['a', 'b'], ['return'], ['a', 'b'], ['return']])
  })

  test('that is killed and started again without its data: the same', async () => {
    const redis = await start()
    const [a, b] = [await open(redis, 'a'), await open(redis, 'b')]
    await passLease(a)
    await passLease(b)
    await redis.kill()
    await eventually(() => expect([a.link.isUp, b.link.isUp]).toEqual([false, false]))
    await renew(a)
    await expect(a.fleet.gone([gatewayId('x')])).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    expect(ids(a)).toEqual(['a', 'b'])
    await redis.restart()
    await eventually(() => expect([a.told, b.told]).toEqual([['return'], ['return']]))
    await passLease(a)
    await passLease(b)
    expect([ids(a), ids(b), a.told, b.told]).toEqual([['a', 'b'], ['a', 'b'], ['return'], ['return']])
  })

  test('whose entry had run out says again what it holds', async () => {
    const redis = await start()
    const a = await open(redis, 'a')
    await expire(redis, 'a')
    await renew(a)
    expect(a.told).toEqual(['return'])
  })

  test('passes over what is no entry, and takes it away where it cannot be a lease', async () => {
    const redis = await start()
    const good = String((await seconds(redis)) * 1000 + 60_000)
    const entry = JSON.stringify({ instance: 'i', version: 'v', startedMs: 1, ...describeAs(quiet)() })
    for (const [id, value] of [
      ['rubbish', 'rubbish'],
      ['old', `1700000000000 ${entry}`],
      ['ahead', `9999999999999 ${entry}`],
      ['long', `${good} ${'x'.repeat(9000)}`],
      ['odd', `${good} {`],
      ['good', `${good} ${entry}`],
    ] as const) {
      await redis.command('HSET', KEY, id, value)
    }
    const a = await open(redis, 'a')
    expect(ids(a)).toEqual(['a', 'good'])
    expect([...((await redis.command('HKEYS', KEY)) as string[])].toSorted()).toEqual(['a', 'good', 'odd'])
  })

  test.each([1500, 2500])('that %i other things were written to is cleaned of them', async (count) => {
    const redis = await start()
    using client = await redis.connect()
    const fields = Array.from({ length: count }, (_, index) => [`x${index}`, 'rubbish']).flat()
    await client.command('HSET', KEY, ...fields)
    const a = await open(redis, 'a')
    expect([ids(a), await redis.command('HKEYS', KEY)]).toEqual([['a'], ['a']])
  })

  test('has room for a thousand', async () => {
    const redis = await start()
    const until = (await seconds(redis)) * 1000 + 80_000_000
    const entry = JSON.stringify({ instance: 'i', version: 'v', startedMs: 1, ...describeAs(quiet)() })
    using client = await redis.connect()
    await Promise.all(
      Array.from({ length: 999 }, (_, index) =>
        client.command('HSET', KEY, `x${index}`, `${until} ${entry}`),
      ),
    )
    const a = await open(redis, 'a')
    expect(ids(a)).toHaveLength(1000)
    await open(redis, 'b')
    expect(await redis.command('HEXISTS', KEY, 'b')).toBe(0)
    await renew(a)
    expect(ids(a)).toHaveLength(1000)
  })
})

const quiet: Said = { isDraining: false, sessions: 0 }

async function seconds(redis: RedisProcess): Promise<number> {
  const [whole] = (await redis.command('TIME')) as readonly string[]
  return Number(whole)
}
