import type { MeterOptions } from '../contract.ts'
import { DatapathError } from '../errors.ts'
import { TokenBucket } from './token-bucket.ts'

/** A budget of bytes and packets that flows share. */
export class Meter {
  #bytes: TokenBucket | undefined
  #packets: TokenBucket | undefined

  constructor(options: MeterOptions, nowMs: number) {
    const seconds = options.burstSeconds ?? 1
    this.#bytes = bucket('bytesPerSecond', options.bytesPerSecond, seconds, nowMs)
    this.#packets = bucket('packetsPerSecond', options.packetsPerSecond, seconds, nowMs)
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

function bucket(
  field: string,
  perSecond: number | undefined,
  burstSeconds: number,
  nowMs: number,
): TokenBucket | undefined {
  if (perSecond === undefined) return undefined
  if (!(perSecond >= 0) || !(burstSeconds >= 0)) {
    throw new DatapathError(
      'DATAPATH_INVALID',
      `${field} ${perSecond} with burstSeconds ${burstSeconds}: both must be 0 or more`,
    )
  }
  return new TokenBucket(perSecond, perSecond === 0 ? 0 : Math.max(1, perSecond * burstSeconds), nowMs)
}
