import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { createLogger, createRegistry } from '../telemetry/index.ts'
import { FakeConnection, FakeCounts, FakeFleet } from './fake-counts.testkit.ts'
import { SharedCounts, type SharedCountsOptions } from './shared-counts.ts'

const key = 'turn:alice'

class Gateway {
  readonly redis: FakeConnection
  readonly fleet: FakeFleet
  readonly counts: SharedCounts
  readonly registry = createRegistry('1.2.3')
  readonly lines: Record<string, unknown>[] = []

  constructor(fleet: FakeGateways, id: string, options: Partial<SharedCountsOptions>) {
    this.redis = new FakeConnection(fleet.counts)
    this.fleet = new FakeFleet(id, fleet.dead)
    const lines = { write: (line: string) => void this.lines.push(JSON.parse(line)) }
    this.counts = new SharedCounts({
      redis: this.redis,
      fleet: this.fleet,
      name: 'turn',
      most: () => fleet.most,
      clock: fleet.clock,
      logger: createLogger({ stream: lines }),
      registry: this.registry,
      ...options,
    })
  }

  take(user = 'alice'): Promise<boolean> {
    return Promise.resolve(this.counts.take(user))
  }

  give(user = 'alice'): void {
    this.counts.give(user)
  }

  async metrics(): Promise<string> {
    return this.registry.metrics()
  }
}

/** Gateways that share a Redis. */
class FakeGateways {
  readonly clock = new ManualClock()
  readonly counts = new FakeCounts()
  readonly dead = new Set<string>()
  most = 3

  async add(id: string, options: Partial<SharedCountsOptions> = {}): Promise<Gateway> {
    const gateway = new Gateway(this, id, options)
    await gateway.counts.start()
    onTestFinished(async () => {
      await gateway.counts.close()
      expect([gateway.redis.listeners, gateway.fleet.listeners]).toEqual([0, 0])
    })
    return gateway
  }
}

async function two(): Promise<{ fleet: FakeGateways; a: Gateway; b: Gateway }> {
  const fleet = new FakeGateways()
  return { fleet, a: await fleet.add('a'), b: await fleet.add('b') }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 60; i++) await Promise.resolve()
}

describe('SharedCounts', () => {
  it('counts a user once over all gateways, with one script for each', async () => {
    const { fleet, a, b } = await two()
    expect([await a.take(), await b.take(), await a.take()]).toEqual([true, true, true])
    expect(fleet.counts.runs).toBe(3)
    expect([await a.take(), await b.take()]).toEqual([false, false])
    expect(fleet.counts.runs).toBe(5)
    expect([a.counts.held('alice'), b.counts.held('alice'), fleet.counts.sum(key)]).toEqual([2, 1, 3])
    a.give()
    await settle()
    expect([await b.take(), await b.take(), fleet.counts.sum(key)]).toEqual([true, false, 3])
    expect(await b.take('bob')).toBe(true)
  })

  it('asks nobody about users without a limit', async () => {
    const { fleet, a } = await two()
    fleet.most = 0
    expect([a.counts.take('alice'), a.counts.take('alice'), a.counts.held('alice')]).toEqual([true, true, 2])
    a.give()
    a.give()
    await settle()
    expect([fleet.counts.runs, a.counts.held('alice')]).toEqual([0, 0])
  })

  it('asks nobody when this gateway holds all that a user may have', async () => {
    const { fleet, a } = await two()
    for (let i = 0; i < 3; i++) await a.take()
    expect([a.counts.take('alice'), a.counts.take('alice')]).toEqual([false, false])
    await settle()
    expect(fleet.counts.runs).toBe(3)
  })

  it('counts what was held before there was a limit', async () => {
    const { fleet, a, b } = await two()
    fleet.most = 0
    await a.take()
    await a.take()
    fleet.most = 3
    await b.take()
    a.counts.recheck()
    await settle()
    expect(fleet.counts.sum(key)).toBe(3)
    expect(await b.take()).toBe(false)
  })

  it('lets no more through than the bound when both ask at the same instant', async () => {
    const { fleet, a, b } = await two()
    const asked = [a, b, a, b, a, b, a, b].map((gateway) => gateway.take())
    const granted = (await Promise.all(asked)).filter(Boolean)
    await settle()
    expect([granted.length, fleet.counts.sum(key)]).toEqual([3, 3])
    expect(a.counts.held('alice') + b.counts.held('alice')).toBe(3)
  })

  it('tells nothing besides while questions are on their way', async () => {
    const { fleet, a } = await two()
    a.redis.isHeld = true
    const taken = [a.take(), a.take(), a.take()]
    await settle()
    a.redis.letOne()
    await settle()
    expect(a.redis.waiting).toBe(2)
    a.redis.letAll()
    expect(await Promise.all(taken)).toEqual([true, true, true])
    await settle()
    expect([fleet.counts.runs, fleet.counts.sum(key)]).toEqual([3, 3])
  })

  it('gives back what a gateway held that is gone', async () => {
    const { fleet, a, b } = await two()
    for (let i = 0; i < 3; i++) await a.take()
    expect(await b.take()).toBe(false)
    fleet.dead.add('a')
    expect(await b.take()).toBe(true)
    expect([...(fleet.counts.hashes.get(key)?.keys() ?? [])]).toEqual(['b'])
  })

  it('refuses in time when it cannot find out who is gone, and gives back what comes later', async () => {
    const { fleet, a, b } = await two()
    for (let i = 0; i < 3; i++) await a.take()
    fleet.dead.add('a')
    let answer = (): void => undefined
    b.fleet.holds = new Promise((resolve) => {
      answer = resolve
    })
    const taken = b.take()
    await settle()
    fleet.clock.advance(999)
    await settle()
    expect(b.counts.held('alice')).toBe(1)
    fleet.clock.advance(1)
    expect(await taken).toBe(false)
    answer()
    await settle()
    expect([b.counts.held('alice'), fleet.counts.sum(key)]).toEqual([0, 0])
  })

  it('decides by what it holds itself while Redis is away, says so once, and tells it all on return', async () => {
    const { fleet, a, b } = await two()
    await b.take()
    a.redis.isUp = false
    expect([await a.take(), await a.take(), await a.take(), await a.take()]).toEqual([
      true,
      true,
      true,
      false,
    ])
    expect(a.lines.map(({ msg, code }) => [msg, code])).toEqual([
      ['users are counted by this gateway alone', 'REDIS_AWAY'],
    ])
    expect(await a.metrics()).toContain('sluice_quota_takes_total{result="granted-alone"} 3')
    expect(await a.metrics()).toContain('sluice_quota_untold 1')
    expect(fleet.counts.sum(key)).toBe(1)
    a.redis.isUp = true
    await settle()
    expect(fleet.counts.sum(key)).toBe(4)
    expect(await a.metrics()).toContain('sluice_quota_untold 0')
    // More than the bound, until so many have ended.
    expect(await b.take()).toBe(false)
  })

  it('does not count twice what was done although its answer did not come', async () => {
    const { fleet, a, b } = await two()
    a.redis.losesAnswers = true
    expect(await a.take()).toBe(true)
    a.redis.losesAnswers = false
    fleet.clock.advance(1000)
    await settle()
    expect(fleet.counts.sum(key)).toBe(1)
    expect([await b.take(), await b.take(), await b.take()]).toEqual([true, true, false])
  })

  it('tells what was given back while its answers were lost', async () => {
    const { fleet, a } = await two()
    await a.take()
    a.redis.isUp = false
    a.give()
    await settle()
    expect(fleet.counts.sum(key)).toBe(1)
    a.redis.isUp = true
    await settle()
    expect(fleet.counts.sum(key)).toBe(0)
  })

  it('is not led astray by what was overtaken on its way', async () => {
    const { fleet, a, b } = await two()
    await a.take()
    a.redis.isHeld = true
    const second = a.take()
    const third = a.take()
    await settle()
    // The last of them arrives first.
    fleet.counts.say(key, ['a', 9, 2, 1, 3, 1800])
    a.redis.letAll()
    expect([await second, await third]).toEqual([true, true])
    expect([fleet.counts.sum(key), await b.take()]).toEqual([3, false])
  })

  it('gets the better of whatever Redis has in its name', async () => {
    const { fleet, a } = await two()
    await a.take()
    fleet.counts.say(key, ['a', 1000, 7, 0, 0, 1800])
    a.give()
    await settle()
    expect(fleet.counts.sum(key)).toBe(0)
    expect(fleet.counts.runs).toBeLessThan(6)
  })

  it('tells everything again when the fleet says so, a few at a time', async () => {
    const { fleet, a } = await two()
    const users = Array.from({ length: 30 }, (_, i) => `user-${i}`)
    for (const user of users) await a.take(user)
    fleet.counts.hashes.clear()
    a.redis.isHeld = true
    a.fleet.comeBack()
    await settle()
    expect(a.redis.waiting).toBe(8)
    for (let i = 0; i < 4; i++) {
      a.redis.letOne()
      await settle()
      expect(a.redis.waiting).toBe(8)
    }
    a.redis.letAll()
    await settle()
    expect(users.map((user) => fleet.counts.sum(`turn:${user}`))).toEqual(users.map(() => 1))
  })

  it('tells a count again before it lapses, and what it held no more', async () => {
    const { fleet, a } = await two()
    await a.take()
    await a.take('bob')
    a.give('bob')
    await settle()
    const { runs } = fleet.counts
    fleet.counts.hashes.clear()
    fleet.clock.advance(599_000)
    await settle()
    expect(fleet.counts.runs).toBe(runs)
    fleet.clock.advance(11_000)
    await settle()
    expect([fleet.counts.runs, fleet.counts.sum(key)]).toEqual([runs + 1, 1])
    fleet.clock.advance(610_000)
    await settle()
    expect(fleet.counts.runs).toBe(runs + 2)
  })

  it('tells them all again, also those that are refused one more meanwhile', async () => {
    const { fleet, a } = await two()
    fleet.most = 1
    const users = Array.from({ length: 30 }, (_, i) => `user-${i}`)
    for (const user of users) await a.take(user)
    fleet.counts.hashes.clear()
    a.redis.isHeld = true
    fleet.clock.advance(610_000)
    for (const user of users) expect(await a.take(user)).toBe(false)
    a.redis.letAll()
    await settle()
    expect(users.map((user) => fleet.counts.sum(`turn:${user}`))).toEqual(users.map(() => 1))
  })

  it('leaves nothing behind when it is closed while Redis owes answers', async () => {
    const { fleet, a } = await two()
    await a.take()
    a.redis.isHeld = true
    a.give()
    await settle()
    await a.counts.close()
    a.redis.losesAnswers = true
    a.redis.letAll()
    await settle()
    // Of the other gateway.
    expect(fleet.clock.pending).toBe(1)
  })

  it('coalesces what is given back at once', async () => {
    const { fleet, a } = await two()
    fleet.most = 100
    for (let i = 0; i < 100; i++) await a.take()
    a.redis.isHeld = true
    for (let i = 0; i < 100; i++) a.give()
    await settle()
    expect(a.redis.waiting).toBe(1)
    a.redis.letAll()
    await settle()
    expect([fleet.counts.sum(key), fleet.counts.runs]).toEqual([0, 102])
  })

  it('keeps nothing of users who hold nothing, and little of those whom Redis was not told of', async () => {
    const { fleet, a } = await two()
    await a.take()
    a.give()
    await settle()
    a.redis.losesAnswers = true
    await a.take('stays')
    a.redis.isUp = false
    a.give('stays')
    await a.take('stays')
    const users = Array.from({ length: 10_010 }, (_, i) => `user-${i}`)
    for (const user of users) {
      a.redis.isUp = true
      await a.take(user)
      a.redis.isUp = false
      a.give(user)
    }
    await settle()
    expect(await a.metrics()).toContain('sluice_quota_untold 10001')
    expect(a.counts.held('stays')).toBe(1)
    a.redis.losesAnswers = false
    a.redis.isUp = true
    fleet.clock.advance(1000)
    for (let i = 0; i < 400; i++) await settle()
    expect(await a.metrics()).toContain('sluice_quota_untold 0')
    // The oldest were forgotten: theirs lapses by itself.
    expect(fleet.counts.sum('turn:user-3')).toBe(1)
    expect(fleet.counts.sum('turn:user-10009')).toBe(0)
  })

  it('has keys without control characters, of bounded length, whatever a user is called', async () => {
    const { fleet, a } = await two()
    const names = ['bob@example.org', 'x'.repeat(763), 'a\u0000b', 'a b', '#', '', 'é']
    for (const name of names) await a.take(name)
    const keys = [...fleet.counts.hashes.keys()]
    expect(new Set(keys).size).toBe(names.length)
    for (const one of keys) expect(one).toMatch(/^turn:[\w.@#-]{1,64}$/)
    expect(keys[0]).toBe('turn:bob@example.org')
  })

  it('takes answers that make no sense for refusals, and their names for none', async () => {
    const { fleet, a } = await two()
    for (const answer of [undefined, 'no', [], [2, 1], [0, 'x', 'y', 7, 'a b', '*'.repeat(900)]]) {
      fleet.counts.say = () => answer
      expect(await a.take()).toBe(false)
      await settle()
    }
    expect(a.counts.held('alice')).toBe(0)
  })

  it('never grants more than the bound, and is right in the end, whatever comes in between', async () => {
    const step = fc.record({
      gateway: fc.nat(2),
      act: fc.constantFrom('take', 'take', 'give', 'let', 'hold', 'settle'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const fleet = new FakeGateways()
        const gateways = ['a', 'b', 'c'].map((id) => new Gateway(fleet, id, {}))
        for (const { counts } of gateways) await counts.start()
        const owned = [0, 0, 0]
        const asked: Promise<void>[] = []
        for (const { gateway, act } of steps) {
          const on = gateways[gateway]
          if (on === undefined) continue
          if (act === 'take') {
            asked.push(
              on.take().then((isTaken) => {
                if (!isTaken) return
                owned[gateway] = (owned[gateway] ?? 0) + 1
                expect(owned.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(fleet.most)
              }),
            )
          } else if (act === 'give' && (owned[gateway] ?? 0) > 0) {
            owned[gateway] = (owned[gateway] ?? 0) - 1
            on.give()
          } else if (act === 'hold') on.redis.isHeld = true
          else if (act === 'let') on.redis.letOne()
          else await settle()
        }
        for (const { redis } of gateways) redis.letAll()
        await Promise.all(asked)
        await settle()
        for (const [index, id] of ['a', 'b', 'c'].entries()) {
          expect(fleet.counts.hashes.get(key)?.get(id)?.count ?? 0).toBe(owned[index])
          expect(gateways[index]?.counts.held('alice')).toBe(owned[index])
        }
        for (const { counts } of gateways) await counts.close()
        expect(fleet.clock.pending).toBe(0)
      }),
    )
  })
})
