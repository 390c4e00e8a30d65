import { destination, pino, type Logger } from 'pino'

export type { Logger } from 'pino'

export interface LoggerOptions {
  /** Least level that is written. @defaultValue 'info' */
  readonly level?: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'
  /** Where the lines go. @defaultValue standard error */
  readonly stream?: { write(line: string): void }
}

/**
 * The root logger: one JSON object a line. Components make a child with their name. Fields that could hold a
 * secret are redacted whatever a component passes.
 */
export function createLogger(options: LoggerOptions = {}): Logger {
  return pino(
    {
      level: options.level ?? 'info',
      base: { pid: process.pid },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: [
        'token',
        'password',
        'icePassword',
        'secret',
        'authorization',
        '*.token',
        '*.password',
        '*.authorization',
      ],
    },
    options.stream ?? destination({ fd: 2, sync: true }),
  )
}

/** A logger that writes nothing, for tests and embedding. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' })
}
