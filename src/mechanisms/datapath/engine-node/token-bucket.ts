import type { PacketBudget } from '../control/engine-options.ts'

/**
 * A budget that refills with time, up to its burst. Starts full. Amounts are whatever the caller counts:
 * packets or bytes. A burst of 0 lets nothing pass.
 */
export class TokenBucket {
  readonly #perMs: number
  readonly #burst: number
  #tokens: number
  #filledMs: number

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perMs = perSecond / 1000
    this.#burst = burst
    this.#tokens = burst
    this.#filledMs = nowMs
  }

  /** Whether `amount` is there now. An amount above the burst passes when the bucket is full. */
  has(amount: number, nowMs: number): boolean {
    if (nowMs > this.#filledMs) {
      this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#filledMs) * this.#perMs)
      this.#filledMs = nowMs
    }
    return this.#burst > 0 && this.#tokens >= Math.min(amount, this.#burst)
  }

  /** Takes `amount`, which `has` said is there; what exceeds the burst is owed. */
  spend(amount: number): void {
    this.#tokens -= amount
  }

  /** Takes `amount` when it is there. */
  take(amount: number, nowMs: number): boolean {
    if (!this.has(amount, nowMs)) return false
    this.spend(amount)
    return true
  }
}

/** A full bucket of that budget. */
export function bucketOf({ packetsPerSecond, burst }: PacketBudget, nowMs: number): TokenBucket {
  return new TokenBucket(packetsPerSecond, burst, nowMs)
}
