import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { DailyFile } from './daily-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-log-'))
afterAll(() => rmSync(folder, { recursive: true }))
const noon = new Date(2026, 2, 10, 12).getTime()

describe('a daily file', () => {
  test('is put aside when a new day begins, and thrown away after some', () => {
    const path = join(folder, 'frps.log')
    writeFileSync(path, 'yesterday\n')
    const yesterday = new Date(2026, 2, 9, 23, 59, 58)
    utimesSync(path, yesterday, yesterday)
    writeFileSync(join(folder, 'frps.20260301-000000.log'), 'old\n')
    writeFileSync(join(folder, 'other.20260301-000000.log'), 'not ours\n')
    const file = new DailyFile(path, 3, new ManualClock(noon))
    file.write('one\n')
    file.write('two\n')
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n')
    expect(readdirSync(folder).toSorted()).toEqual([
      'frps.20260309-235958.log',
      'frps.log',
      'other.20260301-000000.log',
    ])
  })

  test('goes on with a file of the same day', () => {
    const path = join(folder, 'same.log')
    writeFileSync(path, 'morning\n')
    const morning = new Date(2026, 2, 10, 8)
    utimesSync(path, morning, morning)
    new DailyFile(path, 3, new ManualClock(noon)).write('noon\n')
    expect(readFileSync(path, 'utf8')).toBe('morning\nnoon\n')
  })

  test('that cannot be written loses lines and throws nothing', () => {
    expect(() =>
      new DailyFile(join(folder, 'no', 'x.log'), 3, new ManualClock(noon)).write('x\n'),
    ).not.toThrow()
  })
})
