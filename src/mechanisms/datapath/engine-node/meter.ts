import type { MeterOptions } from '../contract.ts'
import { defaultBurstSeconds } from '../control/meter-checks.ts'
import { TokenBucket } from './token-bucket.ts'

/** A budget of bytes and packets that flows share. */
export class Meter {
  #bytes: TokenBucket | undefined
  #packets: TokenBucket | undefined

  constructor(options: MeterOptions, nowMs: number) {
    const { bytesPerSecond, packetsPerSecond, burstSeconds = defaultBurstSeconds } = options
    this.#bytes = bucket(bytesPerSecond, burstSeconds, nowMs)
    this.#packets = bucket(packetsPerSecond, burstSeconds, nowMs)
  }

  /** From now on it refuses nothing. */
  close(): void {
    this.#bytes = undefined
    this.#packets = undefined
  }

  has(bytes: number, nowMs: number): boolean {
    return (this.#bytes?.has(bytes, nowMs) ?? true) && (this.#packets?.has(1, nowMs) ?? true)
  }

  spend(bytes: number): void {
    this.#bytes?.spend(bytes)
    this.#packets?.spend(1)
  }
}

function bucket(perSecond: number | undefined, burstSeconds: number, nowMs: number): TokenBucket | undefined {
  if (perSecond === undefined) return undefined
  return new TokenBucket(perSecond, perSecond === 0 ? 0 : Math.max(1, perSecond * burstSeconds), nowMs)
}
