import { appendFileSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemClock } from '../../foundation/clock.ts'
import type { LogConfig } from '../../mechanisms/frp-config/index.ts'
import { createLogger, type Logger } from '../../mechanisms/telemetry/index.ts'
import { DailyFile } from './daily-file.ts'
import { frpLogLine } from './frp-log-line.ts'

/**
 * The log of `sluice frps` and `sluice frpc`: frp's lines on standard output, or in a file that turns daily, whose folder is made.
 * @throws Node's error for a file that cannot be written
 */
export function createFrpLogger(program: 'frps' | 'frpc', config: LogConfig): Logger {
  const isConsole = config.to === '' || config.to === 'console'
  if (!isConsole) {
    mkdirSync(dirname(config.to), { recursive: true })
    appendFileSync(config.to, '')
  }
  const target = isConsole ? { write: writeToConsole } : new DailyFile(config.to, config.maxDays, systemClock)
  const options = { isColored: isConsole && !config.disablePrintColor, program }
  return createLogger({
    level: config.level,
    stream: { write: (line) => target.write(frpLogLine(line, options)) },
  })
}

/** Whoever does not read the log loses lines, and not the program its memory. */
const mostUnreadBytes = 4 * 1024 * 1024

function writeToConsole(line: string): void {
  if (process.stdout.writableLength < mostUnreadBytes) process.stdout.write(line)
}
