import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DayCounts, KEPT_DAYS } from './day-counts.ts'

describe('counts by day', () => {
  it('move with the days, and fall out after seven', () => {
    const counts = new DayCounts(100, [5, 4, 3])
    counts.add(100, 1)
    expect(counts.days(100)).toEqual([6, 4, 3, 0, 0, 0, 0])
    counts.add(102, 7)
    expect(counts.days(102)).toEqual([7, 0, 6, 4, 3, 0, 0])
    expect(counts.today(107)).toBe(0)
    expect(counts.days(108)).toEqual([0, 0, 0, 0, 0, 0, 7])
    expect(counts.days(1000)).toEqual([0, 0, 0, 0, 0, 0, 0])
  })

  it('a clock that is set back counts for the last day, and loses nothing', () => {
    const counts = new DayCounts(100, [5, 4])
    counts.add(98, 1)
    expect(counts.days(97)).toEqual([6, 4, 0, 0, 0, 0, 0])
    expect(counts.days(101)).toEqual([0, 6, 4, 0, 0, 0, 0])
  })

  it('are the sums of what came on each of the last days', () => {
    const event = fc.record({ skip: fc.integer({ min: 0, max: 3 }), count: fc.nat(1000) })
    fc.assert(
      fc.property(fc.array(event), (events) => {
        const counts = new DayCounts(0)
        const expected = new Map<number, number>()
        let day = 0
        for (const { skip, count } of events) {
          day += skip
          counts.add(day, count)
          expected.set(day, (expected.get(day) ?? 0) + count)
        }
        const days = Array.from({ length: KEPT_DAYS }, (_, age) => expected.get(day - age) ?? 0)
        expect(counts.days(day)).toEqual(days)
      }),
    )
  })
})
