import { describe, expect, it } from 'vitest'
import { makeCertificateFor } from './certificate-for.testkit.ts'
import { renewalTime, retryDelay } from './renewal-time.ts'

const DAY_MS = 86_400_000
const from = Date.UTC(2026, 0, 1)

describe('a certificate is renewed', () => {
  it.each([
    ['90 days', 90, 60],
    ['a year, 30 days before its end', 365, 335],
    ['6 days, after two thirds', 6, 4],
    ['45 days, after two thirds', 45, 30],
  ])('of %s', async (_, days, after) => {
    const certificate = await makeCertificateFor(['a.test'], from, from + days * DAY_MS)
    expect(renewalTime(certificate, ['A.test'], 0)).toBe(from + after * DAY_MS)
    const ahead = (from + after * DAY_MS - renewalTime(certificate, ['a.test'], 1)) / (days * DAY_MS)
    expect(ahead).toBeCloseTo(0.02)
  })

  it('at once, when it has not all names', async () => {
    const certificate = await makeCertificateFor(['a.test'], from, from + 90 * DAY_MS)
    expect(renewalTime(certificate, ['a.test', 'b.test'], 0)).toBe(0)
  })
})

it('failures are tried again later each time, up to six hours', () => {
  const minutes = [1, 2, 3, 6, 7, 8, 1000].map((failures) => retryDelay(failures, 0) / 60_000)
  expect(minutes).toEqual([5, 10, 20, 160, 320, 360, 360])
  expect(retryDelay(1, 1) / 60_000).toBeCloseTo(5.5)
})
