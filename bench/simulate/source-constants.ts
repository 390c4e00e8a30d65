import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * The value of `NAME = ...` or `NAME: ...` in a source file of the gateway, so that the model cannot drift from the code.
 * @throws Error when there is none
 */
export function sourceConstant(file: string, name: string): number {
  const path = fileURLToPath(new URL(`../../src/mechanisms/${file}`, import.meta.url))
  const found = new RegExp(`\\b${name}(?: =|:) ([\\d_./* ]+)\\b`).exec(readFileSync(path, 'utf8'))?.[1]
  const [first = Number.NaN, ...factors] = (found ?? '').split('*').map((factor) => quotient(factor))
  const value = factors.reduce((product, factor) => product * factor, first)
  if (!Number.isFinite(value))
    throw new Error(`src/mechanisms/${file} has no number ${name}: the model is to be changed, too`)
  return value
}

/** `5_000`, or `1 / 5`. */
function quotient(text: string): number {
  const [dividend = Number.NaN, ...divisors] = text
    .replaceAll('_', '')
    .split('/')
    .map((part) => Number.parseFloat(part))
  return divisors.reduce((value, divisor) => value / divisor, dividend)
}
