import { appendFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import type { Clock } from '../../foundation/clock.ts'

const dayMs = 86_400_000

/**
 * A log file that is put aside under the time of its last line when a new day begins, and kept for some days. A file that
 * cannot be written to loses lines rather than the service.
 */
export class DailyFile {
  readonly #path: string
  readonly #maxDays: number
  readonly #clock: Clock
  #day: string | undefined

  /** @param maxDays 0: kept for ever */
  constructor(path: string, maxDays: number, clock: Clock) {
    this.#path = path
    this.#maxDays = maxDays
    this.#clock = clock
  }

  write(line: string): void {
    try {
      const day = dayOf(this.#clock.wallMs())
      if (day !== this.#day) this.#turn(day)
      appendFileSync(this.#path, line)
    } catch {
      // There is nobody to tell: this is where things are told.
    }
  }

  #turn(day: string): void {
    this.#day = day
    const last = statSync(this.#path, { throwIfNoEntry: false })?.mtimeMs
    if (last === undefined || dayOf(last) === day) return
    const extension = extname(this.#path)
    const stem = basename(this.#path, extension)
    const folder = dirname(this.#path)
    renameSync(this.#path, join(folder, `${stem}.${stampOf(last)}${extension}`))
    if (this.#maxDays <= 0) return
    const oldest = stampOf(this.#clock.wallMs() - this.#maxDays * dayMs)
    for (const name of readdirSync(folder)) {
      const stamp =
        name.startsWith(`${stem}.`) && name.endsWith(extension)
          ? /\.(\d{8}-\d{6})/.exec(name)?.[1]
          : undefined
      if (stamp !== undefined && stamp < oldest) rmSync(join(folder, name), { force: true })
    }
  }
}

function dayOf(ms: number): string {
  return stampOf(ms).slice(0, 8)
}

/** Local time, as frp names old files. */
function stampOf(ms: number): string {
  const date = new Date(ms)
  const two = (value: number): string => String(value).padStart(2, '0')
  return (
    `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}-` +
    `${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`
  )
}
