/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash of 64 bits that nobody without the key can foretell, at a
 * tenth of what an HMAC of node:crypto costs. Two 32-bit halves stand for each 64-bit word.
 */
export class SipHash {
  readonly #key: Uint32Array
  /** The digest of the last `hash`. */
  low = 0
  high = 0

  /** @param key 16 bytes */
  constructor(key: Uint8Array) {
    if (key.length !== 16) throw new RangeError('a SipHash key has 16 bytes')
    this.#key = new Uint32Array([0, 4, 8, 12].map((at) => u32(key, at)))
  }

  /** Hashes the first `length` bytes; the digest is in `low` and `high`. */
  hash(bytes: Uint8Array, length: number): void {
    const k0l = this.#key[0] as number
    const k0h = this.#key[1] as number
    const k1l = this.#key[2] as number
    const k1h = this.#key[3] as number
    let v0l = k0l ^ 0x70736575
    let v0h = k0h ^ 0x736f6d65
    let v1l = k1l ^ 0x6e646f6d
    let v1h = k1h ^ 0x646f7261
    let v2l = k0l ^ 0x6e657261
    let v2h = k0h ^ 0x6c796765
    let v3l = k1l ^ 0x79746573
    let v3h = k1h ^ 0x74656462
    const blocks = (length >>> 3) + 1
    for (let block = 0; block <= blocks; block++) {
      let ml = 0
      let mh = 0
      // After the last block come two rounds with the constant, and twice two without a message: four in all.
      const isFinal = block === blocks
      if (isFinal) v2l ^= 0xff
      else if (block === blocks - 1) {
        const from = block << 3
        for (let i = 0; i < 8; i++) {
          const byte = i === 7 ? length & 0xff : from + i < length ? (bytes[from + i] as number) : 0
          if (i < 4) ml |= byte << (8 * i)
          else mh |= byte << (8 * (i - 4))
        }
      } else {
        ml = u32(bytes, block << 3)
        mh = u32(bytes, (block << 3) + 4)
      }
      v3l ^= ml
      v3h ^= mh
      for (let round = isFinal ? 4 : 2; round > 0; round--) {
        let sum = (v0l >>> 0) + (v1l >>> 0)
        v0h = (v0h + v1h + (sum > 0xffffffff ? 1 : 0)) | 0
        v0l = sum | 0
        let t = v1l
        v1l = ((v1l << 13) | (v1h >>> 19)) ^ v0l
        v1h = ((v1h << 13) | (t >>> 19)) ^ v0h
        t = v0l
        v0l = v0h
        v0h = t
        sum = (v2l >>> 0) + (v3l >>> 0)
        v2h = (v2h + v3h + (sum > 0xffffffff ? 1 : 0)) | 0
        v2l = sum | 0
        t = v3l
        v3l = ((v3l << 16) | (v3h >>> 16)) ^ v2l
        v3h = ((v3h << 16) | (t >>> 16)) ^ v2h
        sum = (v0l >>> 0) + (v3l >>> 0)
        v0h = (v0h + v3h + (sum > 0xffffffff ? 1 : 0)) | 0
        v0l = sum | 0
        t = v3l
        v3l = ((v3l << 21) | (v3h >>> 11)) ^ v0l
        v3h = ((v3h << 21) | (t >>> 11)) ^ v0h
        sum = (v2l >>> 0) + (v1l >>> 0)
        v2h = (v2h + v1h + (sum > 0xffffffff ? 1 : 0)) | 0
        v2l = sum | 0
        t = v1l
        v1l = ((v1l << 17) | (v1h >>> 15)) ^ v2l
        v1h = ((v1h << 17) | (t >>> 15)) ^ v2h
        t = v2l
        v2l = v2h
        v2h = t
      }
      v0l ^= ml
      v0h ^= mh
    }
    this.low = (v0l ^ v1l ^ v2l ^ v3l) >>> 0
    this.high = (v0h ^ v1h ^ v2h ^ v3h) >>> 0
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  )
}
