import {
  DEFAULT_CHUNK_SIZE,
  MAX_CHUNK_HEADER_BYTES,
  MAX_CHUNK_SIZE,
  MAX_CHUNK_STREAM_ID,
  MAX_MESSAGE_BYTES,
  needsExtended,
  writeContinuationHeader,
  writeFullHeader,
} from './chunk-header.ts'
import { RtmpError, RtmpErrorCode } from './errors.ts'
import type { RtmpMessage } from './message.ts'

/**
 * Writes messages as chunks, each beginning with a type 0 header, which every receiver understands
 * whatever came before. RTMP 1.0 §5.3.
 */
export class ChunkWriter {
  #chunkSize: number

  /** @param chunkSize Longest chunk payload in bytes; the receiver must know it. @defaultValue 128 */
  constructor(chunkSize: number = DEFAULT_CHUNK_SIZE) {
    this.#chunkSize = checkedChunkSize(chunkSize)
  }

  get chunkSize(): number {
    return this.#chunkSize
  }

  /** Changes the chunk size from the next message on; write a Set Chunk Size message before. */
  setChunkSize(chunkSize: number): void {
    this.#chunkSize = checkedChunkSize(chunkSize)
  }

  /**
   * All chunks of `message` in a new buffer.
   * @throws RtmpError `RTMP_MESSAGE_UNWRITABLE` when an id or the length does not fit the format.
   */
  write(message: RtmpMessage): Buffer {
    const { chunkStreamId: id, payload, timestamp } = message
    const { length } = payload
    if (!(id >= 2 && id <= MAX_CHUNK_STREAM_ID) || length > MAX_MESSAGE_BYTES) {
      throw new RtmpError(
        RtmpErrorCode.messageUnwritable,
        `message of ${length} bytes on chunk stream ${id}; at most ${MAX_MESSAGE_BYTES} on 2 to ${MAX_CHUNK_STREAM_ID}`,
        { side: 'self' },
      )
    }
    const isExtended = needsExtended(timestamp)
    const chunks = Math.max(1, Math.ceil(length / this.#chunkSize))
    const continuationBytes = (id < 64 ? 1 : id < 320 ? 2 : 3) + (isExtended ? 4 : 0)
    const out = Buffer.allocUnsafe(MAX_CHUNK_HEADER_BYTES + length + (chunks - 1) * continuationBytes)
    let at = writeFullHeader(out, 0, { id, length, type: message.type }, message.streamId, timestamp)
    for (let from = 0; from < length; ) {
      if (from > 0) at = writeContinuationHeader(out, at, id, timestamp, isExtended)
      const to = Math.min(length, from + this.#chunkSize)
      out.set(payload.subarray(from, to), at)
      at += to - from
      from = to
    }
    return out.subarray(0, at)
  }
}

function checkedChunkSize(chunkSize: number): number {
  if (Number.isInteger(chunkSize) && chunkSize >= 1 && chunkSize <= MAX_CHUNK_SIZE) return chunkSize
  throw new RtmpError(
    RtmpErrorCode.messageUnwritable,
    `chunk size ${chunkSize}, must be 1 to ${MAX_CHUNK_SIZE}`,
    { side: 'self' },
  )
}
