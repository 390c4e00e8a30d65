/**
 * Reads big-endian integers and runs of bytes from one buffer. Reading past the end sets `failed` and
 * gives zeros or empty views instead of throwing, so that a decoder checks once at its end; a bad
 * packet is ordinary input. Views that it gives share the buffer's memory.
 */
export class ByteReader {
  readonly #bytes: Uint8Array
  #offset: number
  readonly #end: number
  failed = false

  constructor(bytes: Uint8Array, offset = 0, end: number = bytes.length) {
    this.#bytes = bytes
    this.#offset = offset
    this.#end = Math.min(end, bytes.length)
  }

  get offset(): number {
    return this.#offset
  }

  get remaining(): number {
    return this.#end - this.#offset
  }

  u8(): number {
    return this.#uint(1)
  }

  u16(): number {
    return this.#uint(2)
  }

  u24(): number {
    return this.#uint(3)
  }

  u32(): number {
    return this.#uint(4)
  }

  u32le(): number {
    const value = this.u32()
    return (
      (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0
    )
  }

  f64(): number {
    const view = this.bytes(8)
    if (view.length < 8) return 0
    return new DataView(view.buffer, view.byteOffset, 8).getFloat64(0)
  }

  /** A view of the next `length` bytes; empty when there are fewer. */
  bytes(length: number): Uint8Array {
    const from = this.#offset
    if (!this.#take(length)) return this.#bytes.subarray(this.#end, this.#end)
    return this.#bytes.subarray(from, from + length)
  }

  skip(length: number): void {
    this.#take(length)
  }

  #uint(length: number): number {
    let at = this.#offset
    if (!this.#take(length)) return 0
    let value = 0
    for (let left = length; left > 0; left--) value = value * 256 + (this.#bytes[at++] ?? 0)
    return value
  }

  #take(length: number): boolean {
    if (this.failed || length < 0 || length > this.#end - this.#offset) {
      this.failed = true
      return false
    }
    this.#offset += length
    return true
  }
}

/** Writes big-endian integers and runs of bytes into a buffer that grows. */
export class ByteWriter {
  #buffer: Buffer
  #length = 0

  constructor(capacity = 256) {
    this.#buffer = Buffer.allocUnsafe(capacity)
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    return this.#uint(value, 1)
  }

  u16(value: number): this {
    return this.#uint(value, 2)
  }

  u24(value: number): this {
    return this.#uint(value, 3)
  }

  u32(value: number): this {
    return this.#uint(value >>> 0, 4)
  }

  u32le(value: number): this {
    this.#reserve(4)
    this.#buffer.writeUInt32LE(value >>> 0, this.#length)
    this.#length += 4
    return this
  }

  f64(value: number): this {
    this.#reserve(8)
    this.#buffer.writeDoubleBE(value, this.#length)
    this.#length += 8
    return this
  }

  bytes(bytes: Uint8Array): this {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
    return this
  }

  utf8(text: string): this {
    return this.bytes(Buffer.from(text, 'utf8'))
  }

  zeros(count: number): this {
    this.#reserve(count)
    this.#buffer.fill(0, this.#length, this.#length + count)
    this.#length += count
    return this
  }

  /** The bytes written so far, as a view that later writes may leave behind. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }

  #uint(value: number, length: number): this {
    this.#reserve(length)
    this.#buffer.writeUIntBE(value, this.#length, length)
    this.#length += length
    return this
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#length + count, this.#buffer.length * 2))
    this.#buffer.copy(grown, 0, 0, this.#length)
    this.#buffer = grown
  }
}
