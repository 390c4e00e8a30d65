import { LRUCache } from 'lru-cache'
import type { Clock } from '../../../foundation/clock.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'

const INTERVAL_MS = 60_000
const MAX_REMEMBERED = 4096

/** Writes failures that strangers can cause as often as they like: one line a minute for each source and code. */
export class FailureLog {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #seen = new LRUCache<string, { readonly sinceMs: number; untold: number }>({ max: MAX_REMEMBERED })

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  /** @param source an origin, or the network that a client comes from */
  failed(level: 'info' | 'warn', source: string, fields: { readonly code: string }, message: string): void {
    const key = `${source} ${fields.code}`
    const nowMs = this.#clock.nowMs()
    const last = this.#seen.get(key)
    if (last !== undefined && nowMs - last.sinceMs < INTERVAL_MS) {
      last.untold++
      return
    }
    this.#seen.set(key, { sinceMs: nowMs, untold: 0 })
    const untold = last?.untold ?? 0
    this.#logger[level]({ ...fields, ...(untold > 0 && { untold }) }, message)
  }
}
