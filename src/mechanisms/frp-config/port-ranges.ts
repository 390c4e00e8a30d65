import type { PortRange } from './config.ts'

/** Numbers that one text may stand for; every port fits. */
const MAX_NUMBERS = 65_536

/** A text such as `1-3,5` that cannot be read; the message says why. */
export class NumberRangeError extends Error {
  override readonly name = 'NumberRangeError'
}

/**
 * `1-3,5` as the ranges it names; no more than 65,536 of them.
 * @throws NumberRangeError
 */
function parseNumberRanges(text: string): PortRange[] {
  const parts = text.trim().split(',', MAX_NUMBERS)
  return parts.map((part) => {
    const match = /^\s*([+-]?\d{1,15})\s*(?:-\s*(\d{1,15})\s*)?$/.exec(part)
    if (match === null) {
      const shown = JSON.stringify(part.slice(0, 40))
      throw new NumberRangeError(`range number is invalid: ${shown} is not a number nor a range such as 1-3`)
    }
    const from = Number(match[1])
    const to = match[2] === undefined ? from : Number(match[2])
    if (to < from) throw new NumberRangeError(`range number is invalid: ${to} is less than ${from}`)
    return { from, to }
  })
}

/**
 * `1-3,5` as the numbers 1, 2, 3, 5; no more than 65,536 of them.
 * @throws NumberRangeError
 */
export function parseNumbers(text: string): number[] {
  const ranges = parseNumberRanges(text)
  const count = ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0)
  if (count > MAX_NUMBERS)
    throw new NumberRangeError(`names ${count} numbers; at most ${MAX_NUMBERS} are allowed`)
  return ranges.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, index) => from + index))
}

/**
 * `1-3,5` as ranges of ports.
 * @throws NumberRangeError
 */
export function parsePortRanges(text: string): PortRange[] {
  const ranges = parseNumberRanges(text)
  for (const { from, to } of ranges) {
    if (from < 1 || to > 65_535)
      throw new NumberRangeError(`ports must be 1 to 65535, not ${from === to ? from : `${from}-${to}`}`)
  }
  return ranges
}
