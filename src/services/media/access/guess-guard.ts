import { createHmac, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../../foundation/clock.ts'

const MAX_SOURCES = 65_536
const MAX_REMEMBERED = 65_536
const WINDOW_MS = 60_000
/** So many times the bound may be wrong with what is only compared with what was right before. */
const HARD_FACTOR = 10

/**
 * Bounds how often somebody may be wrong. A source that was wrong too often in a minute is not looked at any more, but for
 * credentials that were right from there before: so who shares an address with a guesser goes on. Such looks are
 * bounded, too, since each tells the guesser whether his neighbour has the key.
 */
export class GuessGuard {
  readonly #clock: Clock
  readonly #wrong = new LRUCache<string, { count: number; readonly sinceMs: number }>({ max: MAX_SOURCES })
  readonly #right = new LRUCache<string, true>({ max: MAX_REMEMBERED })
  /** What is remembered is of no use outside this process. */
  readonly #secret = randomBytes(32)

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Those of the credentials that may be looked at. `perMinute` 0: all. */
  allowed(source: string, credentials: readonly string[], perMinute: number): readonly string[] {
    const wrong = this.#countOf(source)
    if (perMinute === 0 || wrong < perMinute) return credentials
    if (wrong >= perMinute * HARD_FACTOR) return []
    return credentials.filter((text) => this.#right.has(this.#nameOf(source, text)))
  }

  /** The credential was right. */
  right(source: string, credential: string): void {
    this.#right.set(this.#nameOf(source, credential), true)
  }

  /** None that the source sent was right, or was looked at. */
  wrong(source: string): void {
    const nowMs = this.#clock.nowMs()
    const known = this.#wrong.get(source)
    if (known === undefined || nowMs - known.sinceMs >= WINDOW_MS) {
      this.#wrong.set(source, { count: 1, sinceMs: nowMs })
    } else known.count++
  }

  #countOf(source: string): number {
    const known = this.#wrong.get(source)
    return known === undefined || this.#clock.nowMs() - known.sinceMs >= WINDOW_MS ? 0 : known.count
  }

  #nameOf(source: string, credential: string): string {
    return createHmac('sha256', this.#secret).update(`${source} ${credential}`).digest('base64')
  }
}
