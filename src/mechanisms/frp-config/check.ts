import type { z } from 'zod'
import type { ConfigSource } from './config-source.ts'
import { FrpConfigErrorCode } from './errors.ts'
import type { Findings } from './findings.ts'
import { foldKeys, isRecord } from './fold-keys.ts'
import { type ForeignSetting, takeKey } from './foreign-settings.ts'
import { holdsSecret, isTable, schemaAt, unwrapped } from './schema-walk.ts'

/** A part of a configuration with its place. */
export interface Part {
  readonly source: ConfigSource
  /** From the root of the source. */
  readonly path: readonly PropertyKey[]
  readonly raw: Readonly<Record<string, unknown>>
}

export interface CheckOptions {
  /** Whether unknown keys are problems; otherwise they are dropped. */
  readonly strict: boolean
  /** Keys of the schema that this part does not have. */
  readonly hiddenKeys?: readonly string[]
  /** Keys of the table that are read elsewhere, for the error text. */
  readonly moreKeys?: readonly string[]
  /** Looks at the form only, as for what is switched off. */
  readonly formOnly?: boolean
}

/** The part as its schema makes it; undefined if it has problems, or is looked at for its form only and has others. */
export function checkPart<Config>(
  schema: z.ZodType<Config>,
  part: Part,
  findings: Findings,
  options: CheckOptions,
): Config | undefined {
  const { source, path, raw } = part
  const { strict, hiddenKeys = [], moreKeys = [], formOnly = false } = options
  const folded = foldKeys(schema, raw, { strict })
  const known = strict ? folded : without(folded, hiddenKeys)
  const result = schema.safeParse(known, { reportInput: true })
  if (result.success) return result.data
  for (const issue of result.error.issues) {
    if (formOnly && issue.code !== 'unrecognized_keys' && issue.code !== 'invalid_type') continue
    if (issue.code !== 'unrecognized_keys') {
      const isSecret = holdsSecret(schemaAt(schema, issue.path))
      findings.problem(source, [...path, ...issue.path], issue.message, {
        value: isSecret ? undefined : shown(issue.input),
      })
      continue
    }
    const isRoot = issue.path.length === 0
    const own = allowedKeys(schema, issue.path)
    const allowed = isRoot ? [...own.filter((key) => !hiddenKeys.includes(key)), ...moreKeys] : own
    for (const key of issue.keys) {
      const message = `unknown key; allowed here: ${allowed.join(', ')}`
      findings.problem(source, [...path, ...issue.path, key], message)
    }
  }
  return undefined
}

/** Takes out what frp has and this program does not. With `isUsed` false, what would be an error is dropped. */
export function takeForeign(
  part: Part,
  settings: readonly ForeignSetting[],
  findings: Findings,
  isUsed: boolean = true,
): Part {
  const { source, path } = part
  let { raw } = part
  for (const setting of settings) {
    const { value, rest } = takeKey(raw, setting.path)
    if (!setting.stays) raw = rest
    if (setting.isOff(value)) continue
    if (setting.effect === 'note') findings.note(source, [...path, ...setting.path], setting.why)
    if (setting.effect === 'error' && isUsed) {
      const code = FrpConfigErrorCode.unsupported
      findings.problem(source, [...path, ...setting.path], setting.why, { code })
    }
  }
  return { source, path, raw }
}

function without(value: unknown, keys: readonly string[]): unknown {
  if (!isRecord(value) || keys.length === 0) return value
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)))
}

function allowedKeys(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  const table = unwrapped(schemaAt(schema, path))
  return isTable(table) ? Object.keys(table.shape) : []
}

/** Texts, numbers and the like as they would be written; of tables and lists only that they are. */
function shown(value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value !== 'string') return undefined
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value)
}
