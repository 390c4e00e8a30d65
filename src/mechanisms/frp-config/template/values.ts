/**
 * Values of a template. `undefined` is what a variable of the environment that is not set gives: it prints as `<no value>`,
 * counts as false, and equals nothing but itself, as in Go.
 */
export type TemplateValue =
  | string
  | number
  | boolean
  | null
  | undefined
  | TemplateStruct
  | ReadonlyMap<string, string>
  | readonly TemplateValue[]

/** A value with named fields: the dot of the whole template, or a pair of numbers. */
export class TemplateStruct {
  readonly fields: ReadonlyMap<string, TemplateValue>

  constructor(fields: Readonly<Record<string, TemplateValue>>) {
    this.fields = new Map(Object.entries(fields))
  }
}

export function isTrue(value: TemplateValue): boolean {
  if (value instanceof TemplateStruct) return true
  if (value instanceof Map) return value.size > 0
  if (Array.isArray(value)) return value.length > 0
  return Boolean(value)
}

/** As Go prints with `%v`. */
export function printed(value: TemplateValue): string {
  if (value === undefined || value === null) return '<nil>'
  if (value instanceof TemplateStruct) return `{${[...value.fields.values()].map(printed).join(' ')}}`
  if (isMap(value))
    return `map[${sortedEntries(value)
      .map((entry) => entry.join(':'))
      .join(' ')}]`
  if (isList(value)) return `[${value.map(printed).join(' ')}]`
  return String(value)
}

/** The kind of a value for messages and comparisons. */
export function kindOf(value: TemplateValue): string {
  if (value === undefined || value === null) return 'nothing'
  if (value instanceof TemplateStruct) return 'a struct'
  if (isMap(value)) return 'a map'
  if (isList(value)) return 'a list'
  return { string: 'a text', number: 'a number', boolean: 'true or false' }[typeof value as 'string']
}

export function isMap(value: TemplateValue): value is ReadonlyMap<string, string> {
  return value instanceof Map
}

export function isList(value: TemplateValue): value is readonly TemplateValue[] {
  return Array.isArray(value)
}

/** In the order in which Go ranges over a map. */
export function sortedEntries(map: ReadonlyMap<string, string>): (readonly [string, string])[] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
}
