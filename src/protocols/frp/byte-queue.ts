/**
 * Bytes that have arrived and are not used yet, in one piece of memory. What is pushed is copied, and each byte is moved
 * a bounded number of times however small the pieces are. Memory is reserved for what has arrived, never for what a length
 * field promises; an empty queue keeps that of one read at most.
 */
export class ByteQueue {
  #buffer: Buffer = none
  #from = 0
  #to = 0

  get length(): number {
    return this.#to - this.#from
  }

  push(bytes: Uint8Array): void {
    if (this.#to + bytes.length > this.#buffer.length) this.#makeRoom(bytes.length)
    this.#buffer.set(bytes, this.#to)
    this.#to += bytes.length
  }

  /** The byte at `at`; zero behind the end. */
  u8(at: number): number {
    return this.#from + at < this.#to ? (this.#buffer[this.#from + at] ?? 0) : 0
  }

  /** The big-endian number at `at`, which must be there. */
  u16(at: number): number {
    return this.#buffer.readUInt16BE(this.#from + at)
  }

  /** The big-endian number at `at`, which must be there. */
  u32(at: number): number {
    return this.#buffer.readUInt32BE(this.#from + at)
  }

  /** A view of `count` bytes from `at`, or of what there is of them; good until the next `push`. */
  view(at: number, count: number): Buffer {
    return this.#buffer.subarray(this.#from + at, Math.min(this.#from + at + count, this.#to))
  }

  /** Drops `count` bytes of the front, or all when there are fewer. Views stay good. */
  skip(count: number): void {
    this.#from = Math.min(this.#from + count, this.#to)
    if (this.#from < this.#to) return
    this.#from = 0
    this.#to = 0
    if (this.#buffer.length > keptBytes) this.#buffer = none
  }

  /** All bytes; the queue is empty afterwards and their memory is the caller's. */
  takeAll(): Buffer {
    const all = this.view(0, this.length)
    this.#buffer = none
    this.#from = 0
    this.#to = 0
    return all
  }

  #makeRoom(count: number): void {
    const { length } = this
    const isHalfFree = length * 2 <= this.#buffer.length && length + count <= this.#buffer.length
    const target = isHalfFree ? this.#buffer : Buffer.allocUnsafe(Math.max(length + count, length * 2))
    this.#buffer.copy(target, 0, this.#from, this.#to)
    this.#buffer = target
    this.#from = 0
    this.#to = length
  }
}

const none = Buffer.alloc(0)

/** Memory that an empty queue keeps for what comes next: a read of a socket. */
const keptBytes = 65_536
