import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Candidate, choose, POLICIES, type Random } from './policy.ts'

function candidate(server: string, given: Partial<Candidate> = {}): Candidate {
  return { id: `${server}-x-1`, server, weight: 1, streams: 0, load: undefined, newStreams: 0, ...given }
}

/** Repeatable randomness (mulberry32). */
function seeded(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** How often each server was chosen for `count` keys. */
function shares(
  candidates: readonly Candidate[],
  policy: (typeof POLICIES)[number],
  count = 20_000,
): Record<string, number> {
  const random = seeded(7)
  const result: Record<string, number> = {}
  for (let at = 0; at < count; at++) {
    const server = choose(candidates, policy, random, `v/live/${at}`)?.server ?? 'none'
    result[server] = (result[server] ?? 0) + 1 / count
  }
  return result
}

const WEIGHTED = [candidate('a', { weight: 1 }), candidate('b', { weight: 3 }), candidate('c', { weight: 0 })]

describe('weights', () => {
  it.each(['random', 'consistent-hash'] as const)('divide the streams of %s', (policy) => {
    const { a, b, c } = shares(WEIGHTED, policy)
    expect(a).toBeCloseTo(0.25, 1.5)
    expect(b).toBeCloseTo(0.75, 1.5)
    expect(c).toBeUndefined()
  })

  it('divide the streams of least-streams exactly', () => {
    const streams: Record<string, number> = { a: 0, b: 0, c: 0 }
    const random = seeded(1)
    for (let at = 0; at < 400; at++) {
      const now = WEIGHTED.map((each) => ({ ...each, streams: streams[each.server] ?? 0 }))
      const chosen = choose(now, 'least-streams', random, '')?.server ?? ''
      streams[chosen] = (streams[chosen] ?? 0) + 1
    }
    expect(streams).toEqual({ a: 100, b: 300, c: 0 })
  })

  it.each(POLICIES)('of 0 alone count as equal with %s', (policy) => {
    const idle = ['a', 'b'].map((server) => candidate(server, { weight: 0, load: 0 }))
    expect(Object.keys(shares(idle, policy, 200)).sort()).toEqual(['a', 'b'])
  })
})

describe('least-load', () => {
  it('spreads over all that are near the least, by their weight', () => {
    const near = [
      candidate('a', { load: 0.3, weight: 3 }),
      candidate('b', { load: 0.39 }),
      candidate('c', { load: 0.41 }),
      candidate('d', { load: 0, weight: 0 }),
    ]
    const { a, b, ...others } = shares(near, 'least-load')
    expect(a).toBeCloseTo(0.75, 1.5)
    expect(b).toBeCloseTo(0.25, 1.5)
    expect(others).toEqual({})
  })

  it('does not send all streams between two heartbeats to the one that was least busy', () => {
    const loads: Record<string, number> = { a: 0.1, b: 0.5, c: 0.5 }
    const got: Record<string, number> = { a: 0, b: 0, c: 0 }
    const random = seeded(3)
    for (let at = 0; at < 300; at++) {
      const now = Object.entries(loads).map(([server, load]) =>
        candidate(server, { load, newStreams: got[server] ?? 0 }),
      )
      const chosen = choose(now, 'least-load', random, '')?.server ?? ''
      got[chosen] = (got[chosen] ?? 0) + 1
    }
    expect(got['a']).toBeGreaterThan(got['b'] ?? 0)
    expect(Math.min(got['b'] ?? 0, got['c'] ?? 0)).toBeGreaterThan(50)
  })
})

describe('consistent-hash', () => {
  const servers = Array.from({ length: 10 }, (_, at) => `s${at}`)
  const keys = Array.from({ length: 2000 }, (_, at) => `v/live/${at}`)
  const places = (names: readonly string[]): readonly (string | undefined)[] => {
    const candidates = names.map((name) => candidate(name))
    return keys.map((key) => choose(candidates, 'consistent-hash', Math.random, key)?.server)
  }

  it('an origin that comes moves its share only, and all of that to itself', () => {
    const before = places(servers)
    const after = places(['new', ...servers])
    const moved = after.filter((server, at) => server !== before[at])
    expect(new Set(moved)).toEqual(new Set(['new']))
    expect(moved.length / keys.length).toBeCloseTo(1 / 11, 1.5)
  })

  it('more weight only takes keys', () => {
    const base = servers.map((server) => candidate(server))
    const heavier = base.map((each) => (each.server === 's0' ? { ...each, weight: 3 } : each))
    for (const key of keys) {
      const before = choose(base, 'consistent-hash', Math.random, key)?.server
      const after = choose(heavier, 'consistent-hash', Math.random, key)?.server
      expect(after === before || after === 's0').toBe(true)
    }
  })

  it('of two that share a server id one gets the keys, whatever the order', () => {
    const pair = [candidate('a', { id: 'a-x-1' }), candidate('a', { id: 'a-x-2' })]
    for (const key of keys.slice(0, 20)) {
      expect(choose(pair, 'consistent-hash', Math.random, key)?.id).toBe('a-x-1')
      expect(choose(pair.toReversed(), 'consistent-hash', Math.random, key)?.id).toBe('a-x-1')
    }
  })
})

describe('any policy', () => {
  it('chooses one of the candidates, with weight where one has any, and none of none', () => {
    const some = fc.array(
      fc.record({
        server: fc.string(),
        id: fc.string(),
        weight: fc.constantFrom(0, 0.1, 1, 1000),
        streams: fc.nat(),
        newStreams: fc.nat(),
        load: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
      }),
      { maxLength: 6 },
    )
    const random = fc.constantFrom(0, 0.5, 1 - Number.EPSILON)
    fc.assert(
      fc.property(
        some,
        fc.constantFrom(...POLICIES),
        random,
        fc.string(),
        (candidates, policy, value, key) => {
          const chosen = choose(candidates, policy, () => value, key)
          if (candidates.length === 0) expect(chosen).toBeUndefined()
          else {
            expect(candidates).toContain(chosen)
            expect((chosen?.weight ?? 0) > 0 || candidates.every(({ weight }) => weight === 0)).toBe(true)
          }
        },
      ),
    )
  })
})
