import { describe, expect, it } from 'vitest'
import { durationText, plainJson, plainText, tableText } from './status-table.ts'

describe('a table', () => {
  it('has columns as wide as their texts, and numbers to the right', () => {
    expect(
      tableText(
        ['NAME', 'COUNT', 'REST'],
        [
          ['a', 5, 'x'],
          ['longer', 12_345, ''],
        ],
      ),
    ).toBe('NAME    COUNT  REST\na           5  x\nlonger  12345\n')
  })

  it('shows nothing that a terminal would act on', () => {
    expect(plainText('a\u001b[31mb\nc\u009bé')).toBe('a\ufffd[31mb\ufffdc\ufffdé')
    expect(plainJson(['\u009b\u001b'])).toBe('[\n  "\\u009b\\u001b"\n]')
    expect(tableText(['A'], [['x\u001b]0;title\u0007']])).toBe('A\nx\ufffd]0;title\ufffd\n')
  })
})

it.each([
  [0, '0s'],
  [59.9, '59s'],
  [60, '1m 0s'],
  [3723, '1h 2m'],
  [86_400, '1d 0h'],
  [90_061_000, '1042d 8h'],
])('%d seconds are %s', (seconds, text) => {
  expect(durationText(seconds)).toBe(text)
})
