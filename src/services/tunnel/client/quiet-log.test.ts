import { expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { QuietLog } from './quiet-log.ts'

it('writes one line a second and says how many it left out', () => {
  const clock = new ManualClock()
  const lines: unknown[] = []
  const log = new QuietLog(clock, (fields, message) => void lines.push([message, fields]))
  for (let i = 0; i < 100; i++) log.note({ i }, 'failed')
  clock.advance(1000)
  log.note({ i: 100 }, 'failed')
  clock.advance(1000)
  log.note({ i: 101 }, 'failed')
  expect(lines).toEqual([
    ['failed', { i: 0 }],
    ['failed', { i: 100, leftOut: 99 }],
    ['failed', { i: 101 }],
  ])
})
