/** Most that is reserved on a claim alone, in bytes: a usual video frame then needs one allocation. */
const FIRST_CAPACITY = 16_384

/**
 * Payload of an unfinished message. Memory grows with what has arrived (at most twofold) beyond a small start,
 * never with the length a header claims, so that a claim costs its sender about as much as us.
 */
export class MessageGathering {
  readonly #length: number
  #buffer: Buffer
  #received = 0

  /** @param length Length of the whole payload in bytes; more must not be appended. */
  constructor(length: number) {
    this.#length = length
    this.#buffer = Buffer.allocUnsafe(Math.min(length, FIRST_CAPACITY))
  }

  get received(): number {
    return this.#received
  }

  append(bytes: Uint8Array, from: number, to: number): void {
    const end = this.#received + to - from
    if (end > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#length, Math.max(end, this.#buffer.length * 2)))
      this.#buffer.copy(grown, 0, 0, this.#received)
      this.#buffer = grown
    }
    // Short runs (small chunks) are faster copied in a loop than through a view.
    if (to - from <= 32) {
      for (let at = from, out = this.#received; at < to; at++, out++) this.#buffer[out] = bytes[at]!
    } else {
      this.#buffer.set(bytes.subarray(from, to), this.#received)
    }
    this.#received = end
  }

  /** What has arrived, as a view that later appends may leave behind. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#received)
  }
}
