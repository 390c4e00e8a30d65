import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { ExpiryWheel } from './expiry-wheel.ts'

function wheel(): { clock: ManualClock; wheel: ExpiryWheel<string>; due: [string, number][] } {
  const clock = new ManualClock()
  const due: [string, number][] = []
  return { clock, due, wheel: new ExpiryWheel(clock, (item, nowMs) => due.push([item, nowMs])) }
}

describe('ExpiryWheel', () => {
  it('calls back once, within the second after the time', () => {
    const { clock, wheel: w, due } = wheel()
    w.schedule('a', 2500)
    w.schedule('b', 1000)
    clock.advance(10_000)
    expect(due).toEqual([
      ['b', 1000],
      ['a', 3000],
    ])
    expect(clock.pending).toBe(0)
  })

  it('holds what was said last', () => {
    const { clock, wheel: w, due } = wheel()
    w.schedule('a', 2000)
    w.schedule('a', 5000)
    w.schedule('b', 9000)
    w.schedule('b', 1000)
    w.schedule('c', 1000)
    w.cancel('c')
    clock.advance(10_000)
    expect(due).toEqual([
      ['b', 1000],
      ['a', 5000],
    ])
  })

  it('lets a callback schedule and cancel', () => {
    const clock = new ManualClock()
    const due: string[] = []
    const w: ExpiryWheel<string> = new ExpiryWheel(clock, (item, nowMs) => {
      due.push(item)
      if (item === 'first') w.cancel('second')
      if (due.length < 3) w.schedule('again', nowMs)
    })
    w.schedule('first', 1000)
    w.schedule('second', 1000)
    clock.advance(5000)
    expect(due).toEqual(['first', 'again', 'again'])
  })

  it('has one timer, whatever callbacks cancel and schedule', () => {
    const clock = new ManualClock()
    const w: ExpiryWheel<string> = new ExpiryWheel(clock, (item) => {
      if (item !== 'first') return
      w.cancel('other')
      w.schedule('later', 60_000)
    })
    w.schedule('first', 1000)
    w.schedule('other', 5000)
    for (let seconds = 0; seconds < 10; seconds++) {
      clock.advance(1000)
      expect(clock.pending).toBe(1)
    }
    w.cancel('later')
    expect(clock.pending).toBe(0)
  })

  it('catches up after the clock has jumped', () => {
    const { clock, wheel: w, due } = wheel()
    clock.advance(3700)
    w.schedule('late', 100)
    clock.advance(2000)
    expect(due).toHaveLength(1)
  })
})
