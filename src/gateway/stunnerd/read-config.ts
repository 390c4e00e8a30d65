import { isAlias, isMap, isPair, isScalar, LineCounter, type Pair, parseDocument, Scalar, visit } from 'yaml'
import type { z } from 'zod'
import { errorMessage } from '../../foundation/errors.ts'
import { ConfigError, type ConfigProblem } from '../../mechanisms/config/index.ts'
import {
  DEFAULT_TURN_PORT,
  type Environment,
  NODE_ADDRESS_PLACEHOLDER,
  type StunnerdConfig,
} from './config.ts'
import { LOG_LEVEL_NAMES, parseLogLevels } from './log-level.ts'
import { stunnerdSchema } from './schema.ts'

/** A configuration that can be used, and what whoever wrote it should know. */
export interface ReadConfig {
  readonly config: StunnerdConfig
  /** Keys and values that were passed over, as STUNner does, one text each. */
  readonly notes: readonly string[]
}

/**
 * Reads a `stunnerd` configuration, YAML or JSON.
 *
 * Keys are found in any case and unknown ones are passed over, since the control plane may be newer. `$VAR` and `${VAR}`
 * become what `env` has, or nothing; in credentials only where the variable is the whole value and is set, because
 * passwords contain dollar signs.
 *
 * @param source names it in errors
 * @throws CONFIG_SYNTAX, CONFIG_INVALID
 */
export function readStunnerdConfig(source: string, text: string, env: Environment): ReadConfig {
  const lines = new LineCounter()
  // One of JSON's and STUNner's habits: the last of two equal keys holds.
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, merge: true })
  const [error] = document.errors
  if (error !== undefined) {
    const [message = 'not valid YAML'] = error.message.split('\n')
    throw new ConfigError('CONFIG_SYNTAX', source, [
      { key: '', line: lines.linePos(error.pos[0]).line, message },
    ])
  }
  makeEven(document, env)
  let written: unknown
  try {
    written = lifted(document.toJS({ maxAliasCount: 100 }))
  } catch (failure) {
    throw new ConfigError('CONFIG_SYNTAX', source, [{ key: '', message: errorMessage(failure) }], failure)
  }
  const notes: string[] = []
  let result = stunnerdSchema.safeParse(written, { reportInput: true })
  const unknown = unknownKeys(result.error)
  if (unknown.length > 0) {
    for (const path of unknown) {
      notes.push(`${keyText(path)}: unknown key, passed over`)
      remove(written, path)
    }
    result = stunnerdSchema.safeParse(written, { reportInput: true })
  }
  if (!result.success) {
    const lineOf = (path: readonly PropertyKey[]) => lineIn(document, lines, path)
    throw new ConfigError(
      'CONFIG_INVALID',
      source,
      result.error.issues.map((issue) => problemOf(issue, lineOf)),
    )
  }
  return { config: result.data, notes: [...notes, ...notesOn(result.data)] }
}

type Document = ReturnType<typeof parseDocument>

/** Keys to lower case, variables replaced, what is null left out. */
function makeEven(document: Document, env: Environment): void {
  const full: Environment = { ...env, STUNNER_PORT: turnPort(env) }
  visit(document, {
    Pair(_key, pair, path) {
      const isCredential = path.some((it) => isPair(it) && keyOf(it) === 'credentials')
      // A map's keys are its own.
      if (isScalar(pair.key) && typeof pair.key.value === 'string' && !isCredential) {
        pair.key.value = pair.key.value.toLowerCase()
      }
      if (isScalar(pair.value)) substitute(pair.value, keyOf(pair), isCredential, full)
      if (pair.value === null || (isScalar(pair.value) && pair.value.value === null)) return visit.REMOVE
      return undefined
    },
    Scalar(key, scalar) {
      // Of a list; values of pairs have been seen to.
      if (typeof key === 'number') substitute(scalar, '', false, full)
    },
  })
}

function keyOf(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : ''
}

function substitute(scalar: Scalar, key: string, isCredential: boolean, env: Environment): void {
  const { value } = scalar
  if (typeof value !== 'string') return
  if (isCredential) {
    const [, braced, plain] = /^\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))$/.exec(value) ?? []
    scalar.value = env[braced ?? plain ?? ''] ?? value
    return
  }
  if (key === 'address' && value === NODE_ADDRESS_PLACEHOLDER) {
    // The server fills it in for the node that was named to it; otherwise a pod on the host's network has the node's address.
    scalar.value = env['STUNNER_ADDR'] ?? value
    return
  }
  if (!value.includes('$')) return
  const replaced = value.replaceAll(
    /\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))/g,
    (_match, braced?: string, plain?: string) => env[braced ?? plain ?? ''] ?? '',
  )
  // Unquoted, it is read again as what it now is: a number, or nothing.
  scalar.value = scalar.type === Scalar.PLAIN ? plainValue(replaced) : replaced
}

function plainValue(text: string): unknown {
  if (text === '') return null
  return /^-?\d{1,15}$/.test(text) ? Number(text) : text
}

/** As STUNner has it: `STUNNER_PORT`, else `STUNNER_PUBLIC_PORT`, else the port of TURN. */
function turnPort({ STUNNER_PORT: port = '', STUNNER_PUBLIC_PORT: publicPort = '' }: Environment): string {
  return [port, publicPort].find((it) => /^\d+$/.test(it)) ?? String(DEFAULT_TURN_PORT)
}

/** Older `v1alpha1` files have listeners, clusters and auth in a table `static`. */
function lifted(value: unknown): unknown {
  if (!isTable(value) || !isTable(value['static']) || value['version'] !== 'v1alpha1') return value ?? {}
  const { static: inner, ...outer } = value
  return { ...inner, ...outer }
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unknownKeys(error: z.ZodError | undefined): (readonly PropertyKey[])[] {
  return (error?.issues ?? []).flatMap((issue) =>
    issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [],
  )
}

function remove(value: unknown, path: readonly PropertyKey[]): void {
  let table = value
  for (const part of path.slice(0, -1)) {
    if (typeof table === 'object' && table !== null) table = Reflect.get(table, part)
  }
  if (typeof table === 'object' && table !== null) Reflect.deleteProperty(table, path.at(-1) ?? '')
}

/** Keys whose values never reach an error text. */
const SECRETS: ReadonlySet<string> = new Set(['credentials', 'key', 'cert', 'license_config'])

function problemOf(
  issue: z.core.$ZodIssue,
  lineOf: (path: readonly PropertyKey[]) => number | undefined,
): ConfigProblem {
  const isSecret = issue.path.some((part) => SECRETS.has(String(part)))
  const value = isSecret || issue.input === undefined ? undefined : JSON.stringify(issue.input)
  const line = lineOf(issue.path)
  return {
    key: keyText(issue.path),
    message: issue.message,
    ...(line !== undefined && { line }),
    ...(value !== undefined && { value: value.length > 80 ? `${value.slice(0, 77)}...` : value }),
  }
}

function lineIn(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; length > 0; length--) {
    for (const root of [[], ['static']]) {
      const node: unknown = document.getIn([...root, ...path.slice(0, length)], true)
      if ((isScalar(node) || isMap(node) || isAlias(node)) && node.range) {
        return lines.linePos(node.range[0]).line
      }
    }
  }
  return undefined
}

function keyText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number' ? `${text}[${part}]` : text === '' ? String(part) : `${text}.${String(part)}`,
    '',
  )
}

function notesOn({ admin, listeners, clusters }: StunnerdConfig): string[] {
  const names = new Set(clusters.map((cluster) => cluster.name))
  return [
    ...parseLogLevels(admin.logLevel).ignored.map(
      (part) =>
        `admin.loglevel "${part}": passed over, must be scope:LEVEL with a level of ${LOG_LEVEL_NAMES.join(', ')}`,
    ),
    ...listeners.flatMap(({ name, routes }) =>
      routes
        .filter((route) => !names.has(route))
        .map((route) => `listener "${name}": route "${route}" leads nowhere, there is no such cluster`),
    ),
  ]
}
