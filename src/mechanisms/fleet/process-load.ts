import { type Clock, systemClock } from '../../foundation/clock.ts'

/** What this process uses of the machine. */
export class ProcessLoad {
  readonly #clock: Clock
  #sinceMs: number
  #usedMs = usedMs()

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
    this.#sinceMs = clock.nowMs()
  }

  /** Cores in use since the last call, and the resident memory. */
  read(): { readonly cpu: number; readonly memoryBytes: number } {
    const [nowMs, used] = [this.#clock.nowMs(), usedMs()]
    const passedMs = nowMs - this.#sinceMs
    const cpu = passedMs <= 0 ? 0 : Math.round(((used - this.#usedMs) / passedMs) * 1000) / 1000
    this.#sinceMs = nowMs
    this.#usedMs = used
    return { cpu, memoryBytes: process.memoryUsage.rss() }
  }
}

function usedMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
