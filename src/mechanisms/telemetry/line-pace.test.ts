import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { LinePace } from './line-pace.ts'

describe('the pace of lines', () => {
  it('gives each cause one line in the interval, and tells how many had none', () => {
    const clock = new ManualClock()
    const pace = new LinePace(clock, { intervalMs: 1000 })
    expect([pace.due('a'), pace.due('a'), pace.due('b'), pace.due('a')]).toEqual([
      {},
      undefined,
      {},
      undefined,
    ])
    clock.advance(999)
    expect(pace.due('a')).toBeUndefined()
    clock.advance(1)
    expect([pace.due('a'), pace.due('b')]).toEqual([{ untold: 3 }, {}])
    clock.advance(1000)
    expect(pace.due('a')).toEqual({})
  })

  it('remembers a bounded number of causes', () => {
    const pace = new LinePace(new ManualClock(), { maxCauses: 2 })
    for (const cause of ['a', 'b', 'c']) expect(pace.due(cause)).toEqual({})
    expect([pace.due('c'), pace.due('a')]).toEqual([undefined, {}])
  })
})
