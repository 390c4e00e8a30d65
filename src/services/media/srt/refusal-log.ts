import { LRUCache } from 'lru-cache'
import type { Clock } from '../../../foundation/clock.ts'
import { sourceOf } from '../../../foundation/source-of.ts'

const REPEAT_AFTER_MS = 60_000
const MAX_REMEMBERED = 1024

/** Says whether a refusal deserves a line: whoever is refused calls again at once. */
export class RefusalLog {
  readonly #loggedMs = new LRUCache<string, number>({ max: MAX_REMEMBERED })
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** True once a minute for each source. */
  isDue(address: string): boolean {
    const source = sourceOf(address)
    const now = this.#clock.nowMs()
    const last = this.#loggedMs.get(source)
    if (last !== undefined && now - last < REPEAT_AFTER_MS) return false
    this.#loggedMs.set(source, now)
    return true
  }
}
