import { ByteReader } from '../../foundation/bytes.ts'
import { FlvError } from './errors.ts'
import type { FlvTag } from './tag.ts'

export interface FlvReaderOptions {
  /** Largest payload of one tag, in bytes; a larger one ends the stream. @defaultValue 8388608 */
  readonly maxTagBytes?: number
}

const headerBytes = 9
const tagHeadBytes = 11
const sizeBytes = 4
/** Most bytes of a header that are skipped; real ones have 9. */
const maxHeaderBytes = 1024

/**
 * Takes an FLV stream, cut anywhere, apart into tags.
 *
 * @example
 * reader.push(bytes)
 * for (let tag = reader.next(); tag; tag = reader.next()) handle(tag)
 */
export class FlvReader {
  readonly #maxTagBytes: number
  #buffer: Buffer = Buffer.alloc(0)
  #from = 0
  #to = 0
  #hasHeader = false

  constructor(options: FlvReaderOptions = {}) {
    this.#maxTagBytes = options.maxTagBytes ?? 8 * 1024 * 1024
  }

  /** Adds a copy of the bytes. Take all tags before the next push, for nothing bounds what is pushed. */
  push(bytes: Uint8Array): void {
    const kept = this.#to - this.#from
    if (this.#to + bytes.length > this.#buffer.length) {
      const room = Buffer.allocUnsafe(Math.max(2 * kept, kept + bytes.length))
      this.#buffer.copy(room, 0, this.#from, this.#to)
      this.#buffer = room
      this.#from = 0
      this.#to = kept
    }
    this.#buffer.set(bytes, this.#to)
    this.#to += bytes.length
  }

  /**
   * The next tag, or undefined when more bytes are needed. The payload is a copy.
   * @throws FLV_HEADER, FLV_TAG_TOO_LARGE
   */
  next(): FlvTag | undefined {
    if (!this.#hasHeader && !this.#takeHeader()) return undefined
    if (this.#to - this.#from < tagHeadBytes) return undefined
    const reader = new ByteReader(this.#buffer, this.#from, this.#to)
    // The upper three bits are reserved or say that the tag is encrypted.
    const type = reader.u8() & 0x1f
    const length = reader.u24()
    if (length > this.#maxTagBytes) {
      throw new FlvError('FLV_TAG_TOO_LARGE', `a tag of ${length} bytes; at most ${this.#maxTagBytes}`)
    }
    const timestamp = reader.u24() + reader.u8() * 0x1000000
    reader.skip(3)
    const payload = Buffer.from(reader.bytes(length))
    reader.skip(sizeBytes)
    if (reader.failed) return undefined
    this.#from = reader.offset
    return { type, timestamp, payload }
  }

  #takeHeader(): boolean {
    const reader = new ByteReader(this.#buffer, this.#from, this.#to)
    if (reader.remaining < headerBytes) return false
    const signature = reader.u24()
    reader.skip(2)
    const length = reader.u32()
    if (signature !== 0x464c56 || length < headerBytes || length > maxHeaderBytes) {
      throw new FlvError('FLV_HEADER', 'the bytes are not an FLV stream')
    }
    reader.skip(length - headerBytes + sizeBytes)
    if (reader.failed) return false
    this.#from = reader.offset
    this.#hasHeader = true
    return true
  }
}
