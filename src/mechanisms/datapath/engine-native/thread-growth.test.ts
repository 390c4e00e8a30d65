import { describe, expect, it } from 'vitest'
import { ThreadGrowth } from './thread-growth.ts'

describe('ThreadGrowth', () => {
  /** Looks every second; each row says for which part of it each thread was busy. */
  function looks(mostThreads: number, rows: readonly (readonly number[])[]): boolean[] {
    const growth = new ThreadGrowth(mostThreads, 5000)
    const busyNs: number[] = []
    return rows.map((shares, index) => {
      for (const [thread, share] of shares.entries()) busyNs[thread] = (busyNs[thread] ?? 0) + share * 1e9
      return growth.wantsMore([...busyNs], 6000 + 1000 * index)
    })
  }

  it('wants another thread when all were busy for more than three quarters of the time', () => {
    expect(looks(4, [[0.1], [0.74], [0.76], [0.5]])).toEqual([false, false, true, false])
    expect(
      looks(4, [
        [0.9, 0.9],
        [0.9, 0.7],
        [0.9, 0.9],
      ]),
    ).toEqual([false, false, true])
  })

  it('has seen a thread for a whole while before it counts', () => {
    expect(looks(4, [[1], [1], [1, 1], [1, 1]])).toEqual([false, true, false, true])
  })

  it('wants no more than the most', () => {
    expect(looks(1, [[1], [1], [1]])).toEqual([false, false, false])
    expect(
      looks(2, [
        [1, 1],
        [1, 1],
      ]),
    ).toEqual([false, false])
  })

  it('does not mind a clock that stands still', () => {
    const growth = new ThreadGrowth(4, 0)
    expect(growth.wantsMore([1e9], 0)).toBe(false)
    expect(growth.wantsMore([2e9], 0)).toBe(false)
    expect(growth.wantsMore([3e9], 1000)).toBe(true)
  })
})
