import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SmallMap } from './small-map.ts'

const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('set' as const), key: fc.nat(20), value: fc.nat() }),
    fc.record({ do: fc.constant('delete' as const), key: fc.nat(20), value: fc.constant(0) }),
  ),
  { maxLength: 60 },
)

describe('SmallMap', () => {
  it('does what a Map does, with few entries and with many', () => {
    fc.assert(
      fc.property(steps, (given) => {
        const small = new SmallMap<number, number>()
        const map = new Map<number, number>()
        for (const { do: what, key, value } of given) {
          if (what === 'set') {
            small.set(key, value)
            map.set(key, value)
          } else {
            small.delete(key)
            map.delete(key)
          }
          expect(small.size).toBe(map.size)
          expect([small.has(key), small.get(key)]).toEqual([map.has(key), map.get(key)])
        }
        expect(small.entries()).toEqual([...map])
        expect([small.keys(), small.values()]).toEqual([[...map.keys()], [...map.values()]])
      }),
    )
  })

  it('gives lists that stay as they are while it changes', () => {
    const small = new SmallMap<string, number>()
    small.set('a', 1)
    small.set('b', 2)
    for (const key of small.keys()) small.delete(key)
    expect(small.size).toBe(0)
  })
})
