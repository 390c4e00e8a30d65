import { compress } from 'snappyjs'
import { ByteQueue } from '../frp/index.ts'
import { decodeBlock } from './block.ts'
import { maskedCrc32c } from './crc32c.ts'
import { SnappyError, SnappyErrorCode } from './errors.ts'

/** Both directions of a compressed stream, which know nothing of each other. */
export interface SnappyCodec {
  /** All of the bytes at once, as whole chunks, so that nothing waits for later bytes. In fresh memory. */
  encode(bytes: Uint8Array): Uint8Array
  /**
   * What is there in full; may be empty. At most 22 times what was given, and all in fresh memory. After an error the stream
   * cannot be read on.
   *
   * @throws SnappyError SNAPPY_CORRUPT, SNAPPY_UNSUPPORTED
   */
  decode(bytes: Uint8Array): Uint8Array
}

/** Snappy's framing format, as Go's library writes it. */
export function snappyCodec(): SnappyCodec {
  const encoder = new SnappyEncoder()
  const decoder = new SnappyDecoder()
  return { encode: (bytes) => encoder.encode(bytes), decode: (bytes) => decoder.decode(bytes) }
}

const ChunkType = {
  compressed: 0x00,
  uncompressed: 0x01,
  firstSkippable: 0x80,
  streamIdentifier: 0xff,
} as const

const streamIdentifier = Buffer.from('\u00ff\u0006\0\0sNaPpY', 'latin1')
const headerBytes = 4
const checksumBytes = 4
const mostPlainBytes = 65_536
/** What the worst plain bytes become, by snappy's own formula. */
const mostBlockBytes = 32 + mostPlainBytes + Math.floor(mostPlainBytes / 6)

class SnappyEncoder {
  #hasBegun = false

  encode(bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return empty
    const parts: Uint8Array[] = this.#hasBegun ? [] : [streamIdentifier]
    this.#hasBegun = true
    for (let from = 0; from < bytes.length; from += mostPlainBytes) {
      addChunk(parts, bytes.subarray(from, from + mostPlainBytes))
    }
    return Buffer.concat(parts)
  }
}

/** A block that saves less than an eighth is not worth the receiver's time, as Go's writer has it. */
function addChunk(parts: Uint8Array[], plain: Uint8Array): void {
  const block = compress(plain)
  const isWorthIt = block.length < plain.length - Math.floor(plain.length / 8)
  const body = isWorthIt ? block : plain
  const head = Buffer.alloc(headerBytes + checksumBytes)
  head[0] = isWorthIt ? ChunkType.compressed : ChunkType.uncompressed
  head.writeUIntLE(checksumBytes + body.length, 1, 3)
  head.writeUInt32LE(maskedCrc32c(plain), headerBytes)
  parts.push(head, body)
}

class SnappyDecoder {
  readonly #queue = new ByteQueue()
  #hasBegun = false
  #toSkip = 0

  decode(bytes: Uint8Array): Uint8Array {
    const queue = this.#queue
    queue.push(bytes)
    const parts: Uint8Array[] = []
    while (this.#skipped() && queue.length >= headerBytes) {
      const type = queue.u8(0)
      const length = queue.u8(1) | (queue.u8(2) << 8) | (queue.u8(3) << 16)
      if (!this.#hasBegun && type !== ChunkType.streamIdentifier) throw corrupt('no stream identifier')
      if (type >= ChunkType.firstSkippable && type !== ChunkType.streamIdentifier) {
        queue.skip(headerBytes)
        this.#toSkip = length
        continue
      }
      checkLength(type, length)
      if (queue.length < headerBytes + length) break
      const body = queue.view(headerBytes, length)
      if (type === ChunkType.streamIdentifier) this.#begin(body)
      else parts.push(readChunk(type, body))
      queue.skip(headerBytes + length)
    }
    const [first = empty] = parts
    return parts.length <= 1 ? first : Buffer.concat(parts)
  }

  #begin(body: Buffer): void {
    if (!body.equals(streamIdentifier.subarray(headerBytes))) throw corrupt('a wrong stream identifier')
    this.#hasBegun = true
  }

  /** Drops what there is of a chunk that means nothing to us; true when it has gone in full. */
  #skipped(): boolean {
    const skipped = Math.min(this.#toSkip, this.#queue.length)
    this.#queue.skip(skipped)
    this.#toSkip -= skipped
    return this.#toSkip === 0
  }
}

/** Before anything is kept for the chunk. */
function checkLength(type: number, length: number): void {
  switch (type) {
    case ChunkType.streamIdentifier:
      if (length !== streamIdentifier.length - headerBytes) throw corrupt('a wrong stream identifier')
      return
    case ChunkType.compressed:
    case ChunkType.uncompressed:
      if (length < checksumBytes) throw corrupt('a chunk without checksum')
      if (length - checksumBytes > (type === ChunkType.compressed ? mostBlockBytes : mostPlainBytes)) {
        throw new SnappyError(SnappyErrorCode.unsupported, `a chunk of ${length} bytes`)
      }
      return
    default:
      throw new SnappyError(SnappyErrorCode.unsupported, `a chunk of type ${type}`)
  }
}

function readChunk(type: number, body: Buffer): Buffer {
  const data = body.subarray(checksumBytes)
  const plain = type === ChunkType.compressed ? decodeBlock(data, mostPlainBytes) : Buffer.from(data)
  if (plain === undefined) throw corrupt('a damaged block')
  if (maskedCrc32c(plain) !== body.readUInt32LE(0)) throw corrupt('a wrong checksum')
  return plain
}

function corrupt(what: string): SnappyError {
  return new SnappyError(SnappyErrorCode.corrupt, `a compressed stream with ${what}`)
}

const empty = new Uint8Array()
