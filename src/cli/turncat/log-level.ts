import type { LoggerOptions } from '../../mechanisms/telemetry/index.ts'
import { TurncatError, TurncatErrorCode } from './errors.ts'

type Level = NonNullable<LoggerOptions['level']>

/**
 * Reads a level, or a list as STUNner's tools take it: `all:INFO,turncat:DEBUG`, of which the scope `turncat` counts, else
 * `all`. Case does not matter; `trace` is taken for `debug`, the finest that there is.
 *
 * @throws TURNCAT_OPTION_INVALID
 */
export function parseLogLevel(text: string): Level {
  const levels = new Map<string, Level>()
  for (const part of text.split(',')) {
    const [name = '', scope = 'all'] = part.trim().toLowerCase().split(':').toReversed()
    const level = levelOf[name]
    if (level === undefined || part.split(':').length > 2) {
      throw new TurncatError(
        TurncatErrorCode.optionInvalid,
        `--log "${text}" is neither ${Object.keys(levelOf).join(', ')} nor a list such as all:INFO,turncat:DEBUG`,
      )
    }
    levels.set(scope, level)
  }
  return levels.get('turncat') ?? levels.get('all') ?? 'warn'
}

const levelOf: Readonly<Record<string, Level>> = {
  trace: 'debug',
  debug: 'debug',
  info: 'info',
  warn: 'warn',
  error: 'error',
  silent: 'silent',
}
