import { parseNumbers } from '../port-ranges.ts'
import type { FunctionName } from './tree.ts'
import { isList, isMap, isTrue, kindOf, printed, TemplateStruct, type TemplateValue } from './values.ts'

/** Functions that get all their arguments; `and` and `or` do not, as they stop at the first that decides. */
export type EagerFunctionName = Exclude<FunctionName, 'and' | 'or'>

type Arguments = readonly TemplateValue[]

interface TemplateFunction {
  readonly least: number
  readonly most: number
  /** @throws Error whose message says what is wrong with the arguments */
  readonly call: (values: Arguments) => TemplateValue
}

/** @throws Error whose message says what is wrong with the arguments */
export function callFunction(name: EagerFunctionName, values: Arguments): TemplateValue {
  const { least, most, call } = functions[name]
  if (values.length < least || values.length > most) {
    const wanted =
      least === most ? String(least) : most === Infinity ? `${least} or more` : `${least} to ${most}`
    throw new Error(`${name} takes ${wanted} values, not ${values.length}`)
  }
  return call(values)
}

const functions: Readonly<Record<EagerFunctionName, TemplateFunction>> = {
  not: { least: 1, most: 1, call: ([value]) => !isTrue(value) },
  eq: { least: 2, most: Infinity, call: ([first, ...rest]) => rest.some((value) => isEqual(first, value)) },
  ne: { least: 2, most: 2, call: ([a, b]) => !isEqual(a, b) },
  lt: { least: 2, most: 2, call: ([a, b]) => order(a, b) < 0 },
  le: { least: 2, most: 2, call: ([a, b]) => order(a, b) <= 0 },
  gt: { least: 2, most: 2, call: ([a, b]) => order(a, b) > 0 },
  ge: { least: 2, most: 2, call: ([a, b]) => order(a, b) >= 0 },
  len: { least: 1, most: 1, call: ([value]) => lengthOf(value) },
  index: { least: 1, most: Infinity, call: ([value, ...keys]) => keys.reduce(entryOf, value) },
  print: { least: 0, most: Infinity, call: print },
  println: { least: 0, most: Infinity, call: (values) => `${values.map(printed).join(' ')}\n` },
  printf: {
    least: 1,
    most: Infinity,
    call: ([format, ...values]) => printf(textOf(format, 'printf'), values),
  },
  parseNumberRange: {
    least: 1,
    most: 1,
    call: ([text]) => parseNumbers(textOf(text, 'parseNumberRange')),
  },
  parseNumberRangePair: {
    least: 2,
    most: 2,
    call: ([first, second]) => {
      const [a, b] = [first, second].map((text) => parseNumbers(textOf(text, 'parseNumberRangePair')))
      if (a?.length !== b?.length) throw new Error('first and second range numbers are not in pairs')
      return (a ?? []).map((First, index) => new TemplateStruct({ First, Second: b?.[index] }))
    },
  },
}

function textOf(value: TemplateValue, name: string): string {
  if (typeof value !== 'string') throw new Error(`${name} needs a text, not ${kindOf(value)}`)
  return value
}

function isEqual(a: TemplateValue, b: TemplateValue): boolean {
  const isNothing = (value: TemplateValue): boolean => value === undefined || value === null
  if (isNothing(a) || isNothing(b)) return isNothing(a) && isNothing(b)
  for (const value of [a, b]) {
    if (typeof value === 'object') throw new Error(`${kindOf(value)} cannot be compared`)
  }
  if (typeof a !== typeof b) throw new Error(`${kindOf(a)} cannot be compared with ${kindOf(b)}`)
  return a === b
}

function order(a: TemplateValue, b: TemplateValue): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b))
  throw new Error(`${kindOf(a)} and ${kindOf(b)} have no order; two numbers or two texts have`)
}

function lengthOf(value: TemplateValue): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (isList(value)) return value.length
  if (isMap(value)) return value.size
  throw new Error(`${kindOf(value)} has no length`)
}

function entryOf(value: TemplateValue, key: TemplateValue): TemplateValue {
  if (isMap(value)) return value.get(textOf(key, 'index of a map')) ?? ''
  const entries = typeof value === 'string' ? [...Buffer.from(value)] : value
  if (!isList(entries)) throw new Error(`${kindOf(value)} has no entries`)
  if (typeof key !== 'number') throw new Error(`index needs a number, not ${kindOf(key)}`)
  if (key < 0 || key >= entries.length) throw new Error(`index out of range: ${key}`)
  return entries[key]
}

/** A space stands between two values neither of which is a text. */
function print(values: Arguments): string {
  return values.reduce<string>((text, value, index) => {
    const isApart = index > 0 && typeof value !== 'string' && typeof values[index - 1] !== 'string'
    return `${text}${isApart ? ' ' : ''}${printed(value)}`
  }, '')
}

/** Wider than any line of a configuration. */
const MAX_WIDTH = 1_000

function printf(format: string, values: Arguments): string {
  let used = 0
  const text = format.replaceAll(
    /%(-?)(0?)(\d{0,9})([^]?)/g,
    (whole, left: string, zero: string, width: string, verb: string) => {
      if (verb === '%') return '%'
      if (Number(width) > MAX_WIDTH) throw new Error(`printf: ${whole} is wider than ${MAX_WIDTH}`)
      if (used >= values.length) throw new Error(`printf: there is no value for ${whole}`)
      const shown = formatted(verb, values[used++], whole)
      if (left !== '') return shown.padEnd(Number(width))
      if (zero === '') return shown.padStart(Number(width))
      const sign = shown.startsWith('-') ? '-' : ''
      return sign + shown.slice(sign.length).padStart(Number(width) - sign.length, '0')
    },
  )
  if (used < values.length)
    throw new Error(`printf: ${values.length - used} values have no place in the format`)
  return text
}

function formatted(verb: string, value: TemplateValue, whole: string): string {
  switch (verb) {
    case 'v':
      return printed(value)
    case 's':
      if (typeof value === 'string') return value
      break
    case 'q':
      if (typeof value === 'string') return JSON.stringify(value)
      break
    case 't':
      if (typeof value === 'boolean') return String(value)
      break
    case 'd':
    case 'x':
    case 'X':
      if (typeof value !== 'number') break
      return verb === 'd'
        ? String(value)
        : verb === 'x'
          ? value.toString(16)
          : value.toString(16).toUpperCase()
    default:
      throw new Error(`printf: ${whole} is not supported; allowed: %s %v %d %q %t %x %X %%, with a width`)
  }
  throw new Error(`printf: ${whole} does not take ${kindOf(value)}`)
}
