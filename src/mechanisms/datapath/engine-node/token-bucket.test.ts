import fc from 'fast-check'
import { expect, it } from 'vitest'
import { TokenBucket } from './token-bucket.ts'

it('gives its burst at once, then its rate', () => {
  const bucket = new TokenBucket(10, 3, 0)
  expect([1, 2, 3, 4].map(() => bucket.take(1, 0))).toEqual([true, true, true, false])
  expect(bucket.take(1, 99)).toBe(false)
  expect(bucket.take(1, 100)).toBe(true)
  expect(bucket.take(1, 100)).toBe(false)
  expect([1, 2, 3, 4].map(() => bucket.take(1, 100_000))).toEqual([true, true, true, false])
})

it('passes what is larger than the burst when full, and then owes it', () => {
  const bucket = new TokenBucket(10, 5, 0)
  expect(bucket.take(15, 0)).toBe(true)
  expect(bucket.take(1, 1000)).toBe(false)
  expect(bucket.take(15, 1400)).toBe(false)
  expect(bucket.take(15, 1500)).toBe(true)
})

it('lets nothing pass at a rate and burst of 0', () => {
  expect(new TokenBucket(0, 0, 0).take(1, 1e9)).toBe(false)
})

it('never gives more than burst, rate and one amount allow', () => {
  const step = fc.record({
    waitMs: fc.integer({ min: 0, max: 500 }),
    amount: fc.integer({ min: 1, max: 50 }),
  })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 100 }),
      fc.array(step),
      (rate, burst, steps) => {
        const bucket = new TokenBucket(rate, burst, 0)
        let [nowMs, taken] = [0, 0]
        for (const { waitMs, amount } of steps) {
          nowMs += waitMs
          if (bucket.take(amount, nowMs)) taken += amount
        }
        expect(taken).toBeLessThanOrEqual(burst + (rate * nowMs) / 1000 + 50)
      },
    ),
  )
})
