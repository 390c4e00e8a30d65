import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { Bandwidth } from './bandwidth.ts'

function open() {
  const clock = new ManualClock()
  return { clock, bandwidth: new Bandwidth(clock) }
}

describe('Bandwidth', () => {
  it('lets a burst pass, and then makes wait until the debt is paid', () => {
    const { clock, bandwidth } = open()
    const limit = bandwidth.take('x', 1000, 500)
    expect(limit).toMatchObject({ bytesPerSecond: 1000, burstBytes: 500 })
    expect(limit.charge(500)).toBe(0)
    expect(limit.charge(100)).toBe(100)
    clock.advance(100)
    expect(limit.charge(1)).toBe(1)
    clock.advance(10_000)
    expect(limit.charge(500)).toBe(0)
    expect(limit.charge(1)).toBe(1)
  })

  it('is one budget for all of the same name and rate', () => {
    const { bandwidth } = open()
    const one = bandwidth.take('x', 1000, 1000)
    const same = bandwidth.take('x', 1000, 1000)
    const other = bandwidth.take('y', 1000, 1000)
    const faster = bandwidth.take('x', 2000, 1000)
    expect([same.id, other.id, faster.id].map((id) => id === one.id)).toEqual([true, false, false])
    one.charge(1000)
    expect(same.charge(1000)).toBe(1000)
    expect(other.charge(1000)).toBe(0)
    expect(faster.charge(1000)).toBe(0)
  })

  it('passes the rate in the long run, however many share it', () => {
    const { clock, bandwidth } = open()
    let passed = 0
    for (let i = 0; i < 20; i++) {
      const limit = bandwidth.take('x', 100_000, 100_000)
      const next = (): void => {
        passed += 7000
        clock.after(limit.charge(7000), next)
      }
      next()
      clock.advance(1)
    }
    clock.advance(60_000)
    expect(passed / 61).toBeGreaterThan(95_000)
    expect(passed / 61).toBeLessThan(105_000)
  })

  it('forgets what nobody uses, once it is full again', () => {
    const { clock, bandwidth } = open()
    const limit = bandwidth.take('x', 1000, 1000)
    bandwidth.take('x', 1000, 1000)
    limit.charge(3000)
    bandwidth.give(limit)
    expect(clock.pending).toBe(0)
    bandwidth.give(limit)
    expect(bandwidth.size).toBe(1)
    // Coming back makes no new one.
    const again = bandwidth.take('x', 1000, 1000)
    expect(again.charge(1)).toBe(2001)
    clock.advance(60_000)
    expect(bandwidth.take('x', 1000, 1000)).toBe(again)
    bandwidth.give(again)
    again.charge(4000)
    bandwidth.give(again)
    clock.advance(3999)
    expect(bandwidth.size).toBe(1)
    clock.advance(1)
    expect(bandwidth.size).toBe(0)
    bandwidth.give(bandwidth.take('x', 1000, 1000))
    expect(bandwidth.size).toBe(0)
    expect(clock.pending).toBe(0)
  })

  it('forgets the deepest debt after a minute, and all when it is closed', () => {
    const { clock, bandwidth } = open()
    const limit = bandwidth.take('x', 1000, 1000)
    limit.charge(1e9)
    bandwidth.give(limit)
    clock.advance(60_000)
    expect(bandwidth.size).toBe(0)
    const again = bandwidth.take('x', 1000, 1000)
    again.charge(5000)
    bandwidth.give(again)
    bandwidth.close()
    expect(clock.pending).toBe(0)
  })
})
