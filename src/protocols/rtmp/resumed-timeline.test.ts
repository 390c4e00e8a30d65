import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ResumedTimeline } from './resumed-timeline.ts'

describe('ResumedTimeline', () => {
  it('puts the first frame right behind the latest time, and keeps distances from there', () => {
    const timeline = new ResumedTimeline(90_000)
    timeline.settle(5_000)
    expect([5_000, 5_040, 7_000].map((time) => timeline.at(time))).toEqual([90_001, 90_041, 92_001])
  })

  it('gives the latest time to all that comes before the first frame, whatever it says', () => {
    const timeline = new ResumedTimeline(90_000)
    expect(timeline.isSettled).toBe(false)
    expect([0, 3_600_000].map((time) => timeline.at(time))).toEqual([90_000, 90_000])
  })

  it('never goes back behind the latest time: what belongs before the first frame is held there', () => {
    const timeline = new ResumedTimeline(90_000)
    timeline.settle(5_000)
    expect([4_990, 5_010].map((time) => [timeline.at(time), timeline.isExact(time)])).toEqual([
      [90_000, false],
      [90_011, true],
    ])
  })

  it('changes nothing for a receiver that has seen no time yet', () => {
    const timeline = new ResumedTimeline(undefined)
    expect([timeline.isSettled, timeline.at(0), timeline.at(0xffffffff)]).toEqual([true, 0, 0xffffffff])
  })

  it('goes on over the wrap of 32 bits, on either side, and half a wrap later', () => {
    fc.assert(
      fc.property(
        fc.nat(0xffffffff),
        fc.nat(0xffffffff),
        fc.array(fc.nat(1000), { minLength: 100, maxLength: 100 }),
        (latest, first, steps) => {
          const timeline = new ResumedTimeline(latest)
          timeline.settle(first)
          let [near, far] = [first, timeline.at(first)]
          expect(far).toBe((latest + 1) >>> 0)
          for (const step of steps) {
            near = (near + step * 100_000) >>> 0
            far = (far + step * 100_000) >>> 0
            expect(timeline.at(near)).toBe(far)
          }
        },
      ),
    )
  })
})
