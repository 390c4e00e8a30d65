/** How many are kept while nobody has them. */
const keptFree = 32

/** Read buffers of one size, used again. */
export class ReadBuffers {
  readonly #bytes: number
  readonly #most: number
  readonly #free: Buffer[] = []
  #taken = 0

  /** @param most how many may be taken at a time */
  constructor(bytes: number, most: number) {
    this.#bytes = bytes
    this.#most = most
  }

  /** None when as many as may be are taken. */
  take(): Buffer | undefined {
    if (this.#taken >= this.#most) return undefined
    this.#taken++
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes)
  }

  give(buffer: Buffer): void {
    this.#taken--
    if (this.#free.length < keptFree) this.#free.push(buffer)
  }

  /** One that was taken is somebody's for good. */
  lose(): void {
    this.#taken--
  }
}
