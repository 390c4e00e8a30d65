import { createLogger, type Logger } from '../../mechanisms/telemetry/index.ts'
import { type LogLevel, type LogLevels, parseLogLevels } from './log-level.ts'
import { TextLogStream } from './text-log-stream.ts'

/** Options of the daemon's log. */
export interface ScopedLoggerOptions {
  /** `text` is one readable line, `json` one object a line. */
  readonly format: 'text' | 'json'
  /** `scope:LEVEL` and so on. */
  readonly levels: string
  /** Where the lines go. @defaultValue standard error */
  readonly stream?: { write(line: string): void }
}

/** A log whose levels can be set per component while it runs. */
export interface ScopedLogger {
  readonly logger: Logger
  readonly setLevels: (levels: string) => void
}

/** The log of `stunnerd`. A component is the child of the root that has a name; what is made of it has its level. */
export function createScopedLogger(options: ScopedLoggerOptions): ScopedLogger {
  const { format, stream = { write: (line: string) => void process.stderr.write(line) } } = options
  const root = createLogger({
    level: 'debug',
    stream: format === 'json' ? stream : new TextLogStream(stream),
  })
  const components: { readonly name: string; readonly logger: Logger }[] = []
  let levels: LogLevels = parseLogLevels(options.levels)
  const levelOf = (name: string): LogLevel => levels.scopes.get(name) ?? levels.all
  root.level = levels.all
  // Children of a component have its level through their prototype chain as long as they set none of their own.
  root.onChild = (child) => {
    const name: unknown = child.bindings()['component']
    if (Object.getPrototypeOf(child) !== root || typeof name !== 'string') return
    components.push({ name, logger: child })
    child.level = levelOf(name)
  }
  return {
    logger: root,
    setLevels(text) {
      levels = parseLogLevels(text)
      root.level = levels.all
      for (const { name, logger } of components) logger.level = levelOf(name)
    },
  }
}
