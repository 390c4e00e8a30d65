import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { ByteBucket } from './byte-bucket.ts'

describe('ByteBucket', () => {
  it('gives one second of bytes at once, then as many as a second brings', () => {
    const clock = new ManualClock()
    const bucket = new ByteBucket(1000, clock)
    expect(bucket.tryTake(1001)).toBe(false)
    expect(bucket.tryTake(1000)).toBe(true)
    expect(bucket.tryTake(1)).toBe(false)
    clock.advance(500)
    expect(bucket.tryTake(501)).toBe(false)
    expect(bucket.tryTake(500)).toBe(true)
    clock.advance(60_000)
    expect(bucket.tryTake(1001)).toBe(false)
  })

  it('serves those who wait in turns, however much each wants', () => {
    const clock = new ManualClock()
    const bucket = new ByteBucket(1000, clock)
    bucket.tryTake(1000)
    const got = { greedy: 0, modest: 0 }
    const want = (name: keyof typeof got, bytes: number): void => {
      bucket.wait(bytes, (granted) => {
        got[name] += granted
        want(name, bytes)
      })
    }
    want('greedy', 1_000_000)
    want('modest', 10)
    clock.advance(6000)
    // Turns of 50 and 10 bytes.
    expect(got.greedy + got.modest).toBeGreaterThan(5900)
    expect(got.greedy + got.modest).toBeLessThanOrEqual(6000)
    expect(got.modest).toBeGreaterThan(900)
  })

  it('lets nobody pass who comes later than one that waits', () => {
    const clock = new ManualClock()
    const bucket = new ByteBucket(1000, clock)
    bucket.tryTake(1000)
    let granted = 0
    bucket.wait(50, (bytes) => {
      granted = bytes
    })
    clock.advance(40)
    expect(bucket.tryTake(1)).toBe(false)
    clock.advance(10)
    expect(granted).toBe(50)
    clock.advance(1)
    expect(bucket.tryTake(1)).toBe(true)
  })

  it('who is cancelled takes nothing and leaves no timer behind', () => {
    const clock = new ManualClock()
    const bucket = new ByteBucket(1000, clock)
    bucket.tryTake(1000)
    let granted = 0
    const first = bucket.wait(50, () => granted++)
    const second = bucket.wait(50, () => granted++)
    first.cancel()
    second.cancel()
    second.cancel()
    expect([clock.pending, bucket.waiting]).toEqual([0, 0])
    clock.advance(1000)
    expect(granted).toBe(0)
    expect(bucket.tryTake(1000)).toBe(true)
  })

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses a rate of %d', (rate) => {
    expect(() => new ByteBucket(rate, new ManualClock())).toThrow(RangeError)
  })

  it('works below one byte in a second', () => {
    const clock = new ManualClock()
    const bucket = new ByteBucket(0.5, clock)
    expect(bucket.tryTake(1)).toBe(true)
    let granted = 0
    bucket.wait(3, (bytes) => {
      granted += bytes
    })
    clock.advance(1999)
    expect(granted).toBe(0)
    clock.advance(1)
    expect(granted).toBe(1)
  })
})
