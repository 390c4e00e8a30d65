import { LRUCache } from 'lru-cache'
import type { Clock } from '../../../foundation/clock.ts'

const REPEAT_AFTER_MS = 60_000
const MAX_REMEMBERED = 1024

/** Says whether a refusal deserves a line: an origin that is refused comes back every few seconds. */
export class RefusalLog {
  readonly #loggedMs = new LRUCache<string, number>({ max: MAX_REMEMBERED })
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** True once a minute for each address and code. */
  isDue(remoteAddress: string, code: string): boolean {
    const key = `${remoteAddress} ${code}`
    const now = this.#clock.nowMs()
    const last = this.#loggedMs.get(key)
    if (last !== undefined && now - last < REPEAT_AFTER_MS) return false
    this.#loggedMs.set(key, now)
    return true
  }
}
