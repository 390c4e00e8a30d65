import type { Clock } from '../../../foundation/clock.ts'

/** Losses within `lossWindowMs` that are answered by trying again almost at once. */
const quickRetries = 3
const lossWindowMs = 60_000
const quickMs = 200
const firstMs = 1000
/** frp waits up to 20 s; with this a client is back within 10 s of its server's return. */
const mostMs = 8000

/** How long a client waits before it tries its server again. */
export class Backoff {
  readonly #clock: Clock
  readonly #random: () => number
  #losses: number[] = []
  #failures = 0

  /** @param random gives numbers from 0 to below 1, so that the clients of one server do not all return at the same moment */
  constructor(clock: Clock, random: () => number) {
    this.#clock = clock
    this.#random = random
  }

  /** Milliseconds to wait after a session that had been logged in was lost. */
  afterLoss(): number {
    const nowMs = this.#clock.nowMs()
    this.#failures = 0
    this.#losses = this.#losses.filter((atMs) => nowMs - atMs < lossWindowMs)
    // No more than decide anything: the window may see thousands.
    if (this.#losses.length < 32) this.#losses.push(nowMs)
    if (this.#losses.length <= quickRetries) return spread(quickMs, 0.5, this.#random())
    return spread(growing(this.#losses.length - quickRetries), 0.1, this.#random())
  }

  /** Milliseconds to wait after a login that failed. */
  afterFailure(): number {
    this.#failures++
    return spread(growing(this.#failures), 0.1, this.#random())
  }
}

/** 1 s, doubled with each attempt after the first. */
function growing(attempt: number): number {
  return Math.min(mostMs, firstMs * 2 ** Math.min(attempt - 1, 16))
}

/** Somewhere within `share` of it to either side. */
function spread(ms: number, share: number, random: number): number {
  return ms * (1 - share + 2 * share * random)
}
