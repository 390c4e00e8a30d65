import { expect, it } from 'vitest'
import { parseBandwidth } from './index.ts'

it.each([
  ['1MB', 1_048_576],
  ['10KB', 10_240],
  ['0.5MB', 524_288],
  ['1.0005KB', 1024],
  [' 2KB ', 2048],
  ['1e3KB', 1_024_000],
  ['', 0],
  ['0KB', 0],
  ['-1MB', 0],
  ['1GB', undefined],
  ['1mb', undefined],
  ['100', undefined],
  ['KB', undefined],
  ['1 MB', undefined],
  ['1e999MB', undefined],
  ['InfMB', undefined],
])('the bandwidth limit %j is %s bytes per second', (text, bytes) => {
  expect(parseBandwidth(text)).toBe(bytes)
})
