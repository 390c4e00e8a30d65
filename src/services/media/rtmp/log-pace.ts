import type { Clock } from '../../../foundation/clock.ts'
import { sourceOf } from '../../../foundation/source-of.ts'

const INTERVAL_MS = 10_000
const MAX_SOURCES = 1000

/** One line per source (an IPv4 address, a /64 of IPv6, the id of an origin) and interval, of what strangers can cause. */
export class LogPace {
  readonly #clock: Clock
  /** When each source may write again; the oldest first. */
  readonly #sources = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether a line is due; asking uses it up. At the bound on sources the oldest is forgotten. */
  isDue(from: string): boolean {
    const source = sourceOf(from)
    const nowMs = this.#clock.nowMs()
    const untilMs = this.#sources.get(source)
    if (untilMs !== undefined && untilMs > nowMs) return false
    this.#sources.delete(source)
    this.#sources.set(source, nowMs + INTERVAL_MS)
    const [oldest] = this.#sources.keys()
    if (oldest !== undefined && this.#sources.size > MAX_SOURCES) this.#sources.delete(oldest)
    return true
  }
}
