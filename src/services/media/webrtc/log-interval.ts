import type { Clock } from '../../../foundation/clock.ts'

const intervalMs = 60_000
/** Beyond, the source that logged longest ago is forgotten. */
const maxSources = 1000

/** Lets each source cause one log line per minute: strangers must not fill the log by what they make an origin do. */
export class LogInterval {
  readonly #clock: Clock
  readonly #loggedAtMs = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  isDue(source: string): boolean {
    const nowMs = this.#clock.nowMs()
    const loggedAtMs = this.#loggedAtMs.get(source)
    if (loggedAtMs !== undefined && nowMs - loggedAtMs < intervalMs) return false
    // Maps keep the order of insertion.
    this.#loggedAtMs.delete(source)
    this.#loggedAtMs.set(source, nowMs)
    const [oldest] = this.#loggedAtMs.keys()
    if (oldest !== undefined && this.#loggedAtMs.size > maxSources) this.#loggedAtMs.delete(oldest)
    return true
  }
}
