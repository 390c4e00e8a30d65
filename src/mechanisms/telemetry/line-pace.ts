import { LRUCache } from 'lru-cache'
import type { Clock } from '../../foundation/clock.ts'

/** Options of a pace. */
export interface LinePaceOptions {
  /** A cause gets one line in so many milliseconds. @defaultValue 60000 */
  readonly intervalMs?: number
  /** Causes that are remembered; beyond, the one asked about longest ago is forgotten. @defaultValue 4096 */
  readonly maxCauses?: number
}

const DEFAULTS = { intervalMs: 60_000, maxCauses: 4096 }

/** Keeps a log readable when strangers can cause its lines as often as they like: one line for each cause and interval. */
export class LinePace {
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #seen: LRUCache<string, { readonly sinceMs: number; untold: number }>

  constructor(clock: Clock, options: LinePaceOptions = {}) {
    const { intervalMs, maxCauses } = { ...DEFAULTS, ...options }
    this.#clock = clock
    this.#intervalMs = intervalMs
    this.#seen = new LRUCache({ max: maxCauses })
  }

  /**
   * Whether a line is due for this cause (a source and a code, an origin); asking uses it up. Then what it gives belongs
   * into the line: how often the same came meanwhile without one (`untold`), where it did. Undefined: no line.
   */
  due(cause: string): { readonly untold?: number } | undefined {
    const nowMs = this.#clock.nowMs()
    const last = this.#seen.get(cause)
    if (last !== undefined && nowMs - last.sinceMs < this.#intervalMs) {
      last.untold++
      return undefined
    }
    this.#seen.set(cause, { sinceMs: nowMs, untold: 0 })
    return last === undefined || last.untold === 0 ? {} : { untold: last.untold }
  }
}
