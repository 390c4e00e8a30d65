import { z } from 'zod'
import { isTable, unwrapped } from './schema-walk.ts'

export interface FoldOptions {
  /** Keeps unknown keys, so that the schema refuses them; otherwise they are dropped. */
  readonly strict: boolean
}

/**
 * A raw value in the spelling of its schema. frp finds keys whatever their case, and takes null for absent, as it does an
 * empty text where one of several words must stand.
 * What is not of the schema's form is left as it is, for the schema to say so.
 */
export function foldKeys(schema: z.core.$ZodType, raw: unknown, options: FoldOptions): unknown {
  const inner = unwrapped(schema)
  if (inner instanceof z.ZodArray) {
    return Array.isArray(raw) ? raw.map((entry: unknown) => foldKeys(inner.element, entry, options)) : raw
  }
  if (!isRecord(raw)) return raw
  const entries = Object.entries(raw).filter(([, value]) => value !== null)
  if (!isTable(inner)) return Object.fromEntries(entries)
  const names = new Map(Object.keys(inner.shape).map((name) => [name.toLowerCase(), name]))
  return Object.fromEntries(
    entries.flatMap(([key, value]): [string, unknown][] => {
      const name = Object.hasOwn(inner.shape, key) ? key : names.get(key.toLowerCase())
      const known = name === undefined ? undefined : inner.shape[name]
      if (name !== undefined && known !== undefined) {
        return value === '' && isChoice(known) ? [] : [[name, foldKeys(known, value, options)]]
      }
      return options.strict ? [[key, value]] : []
    }),
  )
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

function isChoice(schema: z.core.$ZodType): boolean {
  const inner = unwrapped(schema)
  return inner instanceof z.ZodEnum && !inner.options.includes('')
}
