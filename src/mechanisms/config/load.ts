import { readFile } from 'node:fs/promises'
import type { z } from 'zod'
import { errorMessage } from '../../foundation/errors.ts'
import { holdsSecret, isTable, schemaAt, unwrapped } from '../frp-config/index.ts'
import type { Config } from './config.ts'
import { ConfigError, type ConfigProblem } from './errors.ts'
import { configSchema } from './schema.ts'
import { type ConfigSource, type KeyPath, parseConfigSource } from './source.ts'

/**
 * Reads and checks a configuration file: TOML, YAML or JSON by its ending.
 * @throws CONFIG_UNREADABLE, CONFIG_SYNTAX, CONFIG_INVALID
 */
export async function loadConfig(file: string): Promise<Config> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw new ConfigError('CONFIG_UNREADABLE', file, [{ key: '', message: errorMessage(error) }], error)
  }
  return parseConfig(file, text)
}

/** Checks a configuration text; `file` names it in errors and tells the format by its ending. */
export function parseConfig(file: string, text: string): Config {
  const source = parseConfigSource(file, text)
  if (!('value' in source)) throw new ConfigError('CONFIG_SYNTAX', file, [{ key: '', ...source }])
  const result = configSchema.safeParse(source.value, { reportInput: true })
  if (result.success) return result.data
  throw new ConfigError(
    'CONFIG_INVALID',
    file,
    result.error.issues.flatMap((issue) => problemsOf(issue, source)),
  )
}

function problemsOf(issue: z.core.$ZodIssue, source: ConfigSource): ConfigProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) =>
      problem([...issue.path, key], source, `unknown key; allowed here: ${allowedKeys(issue.path)}`),
    )
  }
  const value = holdsSecret(schemaAt(configSchema, issue.path)) ? undefined : shown(issue.input)
  return [problem(issue.path, source, issue.message, value)]
}

function problem(path: KeyPath, source: ConfigSource, message: string, value?: string): ConfigProblem {
  const line = source.lineOf(path)
  return {
    key: keyText(path),
    message,
    ...(line === undefined ? {} : { line }),
    ...(value === undefined ? {} : { value }),
  }
}

function shown(value: unknown): string | undefined {
  if (value === undefined) return undefined
  const text = JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

function keyText(path: KeyPath): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number' ? `${text}[${part}]` : text === '' ? String(part) : `${text}.${String(part)}`,
    '',
  )
}

function allowedKeys(path: KeyPath): string {
  const table = unwrapped(schemaAt(configSchema, path))
  return isTable(table) ? Object.keys(table.shape).join(', ') : ''
}
