import { randomFillSync } from 'node:crypto'

/** Random bytes, drawn from the system by the thousand: each draw costs more than all that one allocation needs. */
export class RandomPool {
  readonly #pool = Buffer.alloc(4096)
  #used = this.#pool.length

  /** The bytes are the caller's. */
  take(count: number): Uint8Array {
    if (count > this.#pool.length) return randomFillSync(new Uint8Array(count))
    if (this.#used + count > this.#pool.length) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    const bytes = new Uint8Array(this.#pool.subarray(this.#used, this.#used + count))
    // What was given out is nobody else's to find.
    this.#pool.fill(0, this.#used, this.#used + count)
    this.#used += count
    return bytes
  }
}
