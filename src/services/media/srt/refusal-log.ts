import { LRUCache } from 'lru-cache'
import type { Clock } from '../../../foundation/clock.ts'

const REPEAT_AFTER_MS = 60_000
const MAX_REMEMBERED = 1024

/** Says whether what strangers cause deserves a line: whoever is refused calls again at once. */
export class RefusalLog {
  readonly #loggedMs = new LRUCache<string, number>({ max: MAX_REMEMBERED })
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** True once a minute for each cause: the source of a call, an origin. */
  isDue(cause: string): boolean {
    const now = this.#clock.nowMs()
    const last = this.#loggedMs.get(cause)
    if (last !== undefined && now - last < REPEAT_AFTER_MS) return false
    this.#loggedMs.set(cause, now)
    return true
  }
}
