import { describe, expect, it } from 'vitest'
import { ManualClock } from './clock.ts'

describe('ManualClock', () => {
  it('calls timers in order, at their time', () => {
    const clock = new ManualClock()
    const calls: [string, number][] = []
    clock.after(20, () => calls.push(['second', clock.nowMs()]))
    clock.after(10, () => {
      calls.push(['first', clock.nowMs()])
      clock.after(5, () => calls.push(['between', clock.nowMs()]))
    })
    clock.advance(30)
    expect(calls).toEqual([
      ['first', 10],
      ['between', 15],
      ['second', 20],
    ])
    expect(clock.nowMs()).toBe(30)
    expect(clock.pending).toBe(0)
  })

  it('does not call a cancelled timer', () => {
    const clock = new ManualClock()
    let calls = 0
    clock.after(10, () => calls++).cancel()
    clock.advance(20)
    expect(calls).toBe(0)
  })
})
