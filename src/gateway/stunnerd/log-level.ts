import type { LoggerOptions } from '../../mechanisms/telemetry/index.ts'

export type LogLevel = NonNullable<LoggerOptions['level']>

/** Levels by scope, from a text such as `all:INFO,turn:DEBUG`. */
export interface LogLevels {
  readonly all: LogLevel
  /** By scope, without `all`. */
  readonly scopes: ReadonlyMap<string, LogLevel>
  /** Parts of the text that say nothing we know; STUNner passes over them and so do we. */
  readonly ignored: readonly string[]
}

const LEVELS: Readonly<Record<string, LogLevel>> = {
  TRACE: 'debug',
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERROR: 'error',
  DISABLE: 'silent',
  DISABLED: 'silent',
}

/** What can be written where a level is expected. */
export const LOG_LEVEL_NAMES: readonly string[] = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'DISABLE']

/** STUNner's scopes where our components go by another name. Scopes of listeners and relays are those of `turn`. */
const COMPONENTS: Readonly<Record<string, string>> = {
  auth: 'turn',
  cluster: 'turn',
  listener: 'turn',
  quota: 'turn',
  relay: 'turn',
  stunner: 'stunnerd',
  reconciler: 'stunnerd',
  admin: 'stunnerd',
}

/** Reads a level text. As in STUNner, `all` begins anew: what stands before it is forgotten. */
export function parseLogLevels(text: string): LogLevels {
  let all: LogLevel = 'info'
  const scopes = new Map<string, LogLevel>()
  const ignored: string[] = []
  for (const part of text.split(',').map((it) => it.trim())) {
    const [, scope = '', name = ''] = /^([^:]+):(.+)$/.exec(part) ?? []
    const level = LEVELS[name.toUpperCase()]
    if (level === undefined) {
      if (part !== '') ignored.push(part)
    } else if (scope.toLowerCase() === 'all') {
      all = level
      scopes.clear()
    } else {
      const component = componentOf(scope.toLowerCase())
      scopes.set(component, mostVerbose(level, scopes.get(component)))
    }
  }
  return { all, scopes, ignored }
}

function componentOf(scope: string): string {
  const family = /^(listener|relay|cluster)-/.exec(scope)?.[1] ?? scope
  return COMPONENTS[family] ?? family
}

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'fatal', 'silent']

function mostVerbose(one: LogLevel, other: LogLevel = 'silent'): LogLevel {
  return ORDER[Math.min(ORDER.indexOf(one), ORDER.indexOf(other))] ?? one
}
