import { expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { Backoff } from './backoff.ts'

it('spreads its waits to either side', () => {
  const clock = new ManualClock()
  expect(new Backoff(clock, () => 0).afterLoss()).toBeCloseTo(100)
  expect(new Backoff(clock, () => 0.999).afterLoss()).toBeCloseTo(300, 0)
  expect(new Backoff(clock, () => 0).afterFailure()).toBeCloseTo(900)
  expect(new Backoff(clock, () => 0.999).afterFailure()).toBeCloseTo(1100, 0)
})

it('forgets losses after a minute, and failures with a login', () => {
  const clock = new ManualClock()
  const backoff = new Backoff(clock, () => 0.5)
  const losses = (count: number): number[] => Array.from({ length: count }, () => backoff.afterLoss())
  expect(losses(5)).toEqual([200, 200, 200, 1000, 2000])
  clock.advance(60_000)
  expect([backoff.afterFailure(), backoff.afterFailure()]).toEqual([1000, 2000])
  expect(losses(1)).toEqual([200])
  expect(backoff.afterFailure()).toBe(1000)
})

it('never waits longer than 8 s', () => {
  const backoff = new Backoff(new ManualClock(), () => 0.5)
  const waits = Array.from({ length: 1000 }, () => [backoff.afterFailure(), backoff.afterLoss()]).flat()
  expect(Math.max(...waits)).toBe(8000)
})
