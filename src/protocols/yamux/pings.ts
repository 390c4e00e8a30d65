/** What `Pings` needs of its session. */
export interface PingParts {
  readonly keepaliveMs: number
  readonly timeoutMs: number
  readonly send: (value: number) => void
}

/** A measurement of the round trip is good for this long. */
const measureEveryMs = 5000

/**
 * The pings of one side: whether the peer lives, and how far away it is. One is under way at a time. Whatever arrives shows
 * that the peer lives, so that a slow line with much queued ahead of the answer is not taken for a dead one.
 */
export class Pings {
  readonly #parts: PingParts
  #value = 0
  #sentAtMs: number | undefined
  #isMeasured = false
  #heardAtMs: number
  #askedAtMs: number
  #measuredAtMs = Number.NEGATIVE_INFINITY
  #roundTripMs: number | undefined

  constructor(parts: PingParts, nowMs: number) {
    this.#parts = parts
    this.#heardAtMs = nowMs
    this.#askedAtMs = nowMs
  }

  /** Unknown until one was measured. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs
  }

  get nextDeadlineMs(): number {
    if (this.#sentAtMs !== undefined) return Math.max(this.#sentAtMs, this.#heardAtMs) + this.#parts.timeoutMs
    return this.#parts.keepaliveMs > 0 ? this.#askedAtMs + this.#parts.keepaliveMs : Number.POSITIVE_INFINITY
  }

  heard(nowMs: number): void {
    this.#heardAtMs = nowMs
  }

  /** Measures the round trip, unless that was done of late. */
  measure(nowMs: number): void {
    if (this.#sentAtMs === undefined && nowMs - this.#measuredAtMs >= measureEveryMs) this.#ask(nowMs, true)
  }

  answered(value: number, nowMs: number): void {
    if (this.#sentAtMs === undefined || value !== this.#value) return
    const sampleMs = Math.max(0.01, nowMs - this.#sentAtMs)
    this.#sentAtMs = undefined
    if (!this.#isMeasured) return
    this.#measuredAtMs = nowMs
    const knownMs = this.#roundTripMs
    // Queues make samples longer, nothing makes them shorter.
    this.#roundTripMs =
      knownMs === undefined || sampleMs < knownMs ? sampleMs : knownMs + (sampleMs - knownMs) / 8
  }

  /** False when the peer is gone. */
  tick(nowMs: number): boolean {
    if (nowMs < this.nextDeadlineMs) return true
    if (this.#sentAtMs !== undefined) return false
    this.#ask(nowMs, false)
    return true
  }

  #ask(nowMs: number, isMeasured: boolean): void {
    this.#value = (this.#value + 1) >>> 0
    this.#sentAtMs = nowMs
    this.#askedAtMs = nowMs
    this.#isMeasured = isMeasured
    this.#parts.send(this.#value)
  }
}
