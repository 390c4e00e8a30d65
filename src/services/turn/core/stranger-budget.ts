import { ipToBytes } from '../../../foundation/ip-text.ts'
import { SipHash } from './siphash.ts'

/** How many requests per second count; 0 is no limit. */
export interface StrangerBudgetOptions {
  readonly perPrefix: number
  /** What a prefix is: of a network IPv4 /24 and IPv6 /56, of a host all of an IPv4 address and IPv6 /64. @defaultValue 'network' */
  readonly scope?: 'network' | 'host'
  readonly total: number
  /** 16 bytes: nobody can tell which prefixes share a slot. */
  readonly key: Uint8Array
}

/**
 * Limits what is answered to whom nothing has been proved of, so that neither we nor those whose addresses are forged
 * drown. A table of fixed size: prefixes that fall into one slot share its budget, and no flood makes it grow.
 */
export class StrangerBudget {
  readonly #perPrefix: number
  readonly #scope: 'network' | 'host'
  readonly #total: Bucket
  readonly #hash: SipHash
  readonly #tokens: Float32Array
  readonly #filledMs: Float64Array
  readonly #prefix = new Uint8Array(8)
  /** Requests that were not answered. */
  refused = 0

  constructor({ perPrefix, total, key, scope = 'network' }: StrangerBudgetOptions) {
    this.#scope = scope
    this.#perPrefix = perPrefix
    this.#total = { perSecond: total, tokens: total * burstSeconds, filledMs: 0 }
    this.#hash = new SipHash(key)
    this.#tokens = new Float32Array(perPrefix > 0 ? slots : 0).fill(perPrefix * burstSeconds)
    this.#filledMs = new Float64Array(this.#tokens.length)
  }

  /** Whether a request of this many bytes from this address may be answered. What is under 28 bytes asks for more than it gives. */
  admits(address: string, requestBytes: number, nowMs: number): boolean {
    const floor = requestBytes < fairRequestBytes ? 0.5 : 0
    const admitted = this.#takePrefix(address, floor, nowMs) && takeFrom(this.#total, floor, nowMs)
    if (!admitted) this.refused++
    return admitted
  }

  #takePrefix(address: string, floor: number, nowMs: number): boolean {
    if (this.#perPrefix <= 0) return true
    const slot = this.#slotOf(address)
    const most = this.#perPrefix * burstSeconds
    const passed = nowMs - (this.#filledMs[slot] as number)
    const tokens = Math.min(most, (this.#tokens[slot] as number) + (passed * this.#perPrefix) / 1000)
    this.#filledMs[slot] = nowMs
    const isAdmitted = tokens - 1 >= most * floor
    this.#tokens[slot] = isAdmitted ? tokens - 1 : tokens
    return isAdmitted
  }

  #slotOf(address: string): number {
    const bytes = ipToBytes(address)
    const length = (bytes?.length === 4 ? 3 : 7) + (this.#scope === 'host' ? 1 : 0)
    if (bytes !== undefined) this.#prefix.set(bytes.subarray(0, length))
    this.#hash.hash(this.#prefix, length)
    return this.#hash.low & (slots - 1)
  }
}

interface Bucket {
  readonly perSecond: number
  tokens: number
  filledMs: number
}

function takeFrom(bucket: Bucket, floor: number, nowMs: number): boolean {
  if (bucket.perSecond <= 0) return true
  const most = bucket.perSecond * burstSeconds
  bucket.tokens = Math.min(most, bucket.tokens + ((nowMs - bucket.filledMs) * bucket.perSecond) / 1000)
  bucket.filledMs = nowMs
  if (bucket.tokens - 1 < most * floor) return false
  bucket.tokens--
  return true
}

const slots = 16_384
const burstSeconds = 2
/** An Allocate of 28 bytes gets a challenge of 64; what is shorter is answered only while there is no flood. */
export const fairRequestBytes = 28
