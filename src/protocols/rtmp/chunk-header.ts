import type { Side } from '../../foundation/errors.ts'
import { RtmpError, RtmpErrorCode } from './errors.ts'
import type { MessageGathering } from './message-gathering.ts'
import { CONTROL_CHUNK_STREAM_ID } from './message.ts'

/** Bounds on what one connection may make its reader hold. */
export interface ChunkLimits {
  /**
   * Longest message, and most bytes in unfinished messages of all chunk streams together. The default
   * fits an intra frame of 8K video, is half of what the format allows, and below the chunk size
   * that nginx-rtmp refuses. @defaultValue 8 MiB
   */
  readonly maxMessageBytes?: number
  /** Most chunk streams; encoders use fewer than ten. @defaultValue 64 */
  readonly maxChunkStreams?: number
  /** Whose bytes are read, for the `side` of errors. @defaultValue 'client' */
  readonly side?: Side
}

/** Chunk payload size of both directions until Set Chunk Size. RTMP 1.0 §5.4.1. */
export const DEFAULT_CHUNK_SIZE = 128
/** Set Chunk Size carries 31 bits. RTMP 1.0 §5.4.1. */
export const MAX_CHUNK_SIZE = 0x7fffffff
/** Message lengths are u24. */
export const MAX_MESSAGE_BYTES = 0xffffff
/** Largest chunk stream id a 3-byte basic header can name. */
export const MAX_CHUNK_STREAM_ID = 65_599
/** 3 bytes basic header, 11 message header, 4 extended timestamp. */
export const MAX_CHUNK_HEADER_BYTES = 18

const DEFAULT_LIMITS = { maxMessageBytes: 8 * 1024 * 1024, maxChunkStreams: 64, side: 'client' } as const
const MESSAGE_HEADER_BYTES = [11, 7, 3, 0] as const
/** A timestamp field of this value says that the extended timestamp follows. */
const EXTENDED = 0xffffff

/** What the receiver of a chunk stream remembers: the header of its current or last message. */
export class ChunkStream {
  readonly id: number
  type = 0
  length = 0
  streamId = 0
  /** Absolute time of the message. */
  timestamp = 0
  /** Value of the last timestamp field, extended included: what a type 3 header that starts a message adds. */
  timestampField = 0
  /** Whether that field was an extended one, so that type 3 headers repeat it. */
  isExtended = false
  /** Payload bytes of the current message that have not been read; 0 between messages. */
  remaining = 0
  /** What was kept of the current message. */
  gathering: MessageGathering | undefined = undefined

  constructor(id: number) {
    this.id = id
  }
}

/**
 * Reads chunk headers and keeps what each chunk stream remembers between them. RTMP 1.0 §5.3.1.
 * The fields describe the header read last.
 */
export class ChunkHeaderReader {
  readonly streams: Map<number, ChunkStream>
  readonly maxMessageBytes: number
  readonly side: Side
  readonly #maxChunkStreams: number

  /** Type of the header, 0 to 3. */
  format = 0
  stream: ChunkStream = new ChunkStream(0)
  startsMessage = false
  /** Length of its basic header in bytes. */
  basicBytes = 0
  /** Whether a type 3 header left out the extended timestamp it should repeat; some senders do. */
  lacksExtended = false

  constructor(limits: ChunkLimits = {}, streams: Map<number, ChunkStream> = new Map()) {
    this.maxMessageBytes = limits.maxMessageBytes ?? DEFAULT_LIMITS.maxMessageBytes
    this.#maxChunkStreams = limits.maxChunkStreams ?? DEFAULT_LIMITS.maxChunkStreams
    this.side = limits.side ?? DEFAULT_LIMITS.side
    this.streams = streams
  }

  /**
   * Reads the header at `at`. Gives its length in bytes, or 0 when it does not end before `end`; then
   * nothing has changed. A header that starts a message sets `stream.remaining` to its length.
   * @throws RtmpError when the header breaks the format or a limit.
   */
  read(bytes: Uint8Array, at: number, end: number): number {
    if (at >= end) return 0
    const first = bytes[at]!
    const format = first >> 6
    let id = first & 63
    let cursor = at + 1
    if (id < 2) {
      cursor += id + 1
      if (cursor > end) return 0
      id = id === 0 ? 64 + bytes[at + 1]! : 64 + bytes[at + 1]! + bytes[at + 2]! * 256
    }
    const basicBytes = cursor - at
    const header = cursor
    cursor += MESSAGE_HEADER_BYTES[format]!
    if (cursor > end) return 0

    const known = this.streams.get(id)
    const startsMessage = known === undefined || known.remaining === 0
    if (!startsMessage && format !== 3) {
      throw this.#invalid(`type ${format} header on chunk stream ${id} inside a message`)
    }

    let field = 0
    let isExtended = false
    let lacksExtended = false
    if (format < 3) {
      field = u24(bytes, header)
      if (field === EXTENDED) {
        if (cursor + 4 > end) return 0
        field = u32(bytes, cursor)
        isExtended = true
        cursor += 4
      }
    } else if (known?.isExtended === true) {
      const present = repeats(bytes, cursor, end, known.timestampField)
      if (present === undefined) return 0
      if (present) cursor += 4
      lacksExtended = !present
    }

    const stream = known ?? this.#open(id, format)
    if (startsMessage) this.#startMessage(stream, format, bytes, header, field, isExtended)
    this.format = format
    this.stream = stream
    this.startsMessage = startsMessage
    this.basicBytes = basicBytes
    this.lacksExtended = lacksExtended
    return cursor - at
  }

  #open(id: number, format: number): ChunkStream {
    // Old librtmp begins chunk stream 2 with a type 1 ping; all else has nothing to refer to.
    if (format !== 0 && !(format === 1 && id === CONTROL_CHUNK_STREAM_ID)) {
      throw this.#invalid(`chunk stream ${id} begins with a type ${format} header`)
    }
    if (this.streams.size >= this.#maxChunkStreams) {
      throw new RtmpError(
        RtmpErrorCode.tooManyChunkStreams,
        `more than ${this.#maxChunkStreams} chunk streams`,
        { side: this.side },
      )
    }
    return new ChunkStream(id)
  }

  #startMessage(
    stream: ChunkStream,
    format: number,
    bytes: Uint8Array,
    header: number,
    field: number,
    isExtended: boolean,
  ): void {
    if (format < 2) {
      const length = u24(bytes, header + 3)
      if (length > this.maxMessageBytes) throw this.tooLarge(length)
      stream.length = length
      stream.type = bytes[header + 6]!
    }
    if (format === 0) stream.streamId = u32le(bytes, header + 7)
    if (format < 3) {
      stream.timestampField = field
      stream.isExtended = isExtended
    }
    // RTMP 1.0 §5.3.1.2.4: a type 3 header after a type 0 one adds that one's timestamp as its delta.
    stream.timestamp = format === 0 ? field : (stream.timestamp + stream.timestampField) >>> 0
    stream.remaining = stream.length
    this.streams.set(stream.id, stream)
  }

  tooLarge(bytes: number): RtmpError {
    return new RtmpError(
      RtmpErrorCode.messageTooLarge,
      `message of ${bytes} bytes, at most ${this.maxMessageBytes} are allowed`,
      { side: this.side },
    )
  }

  #invalid(message: string): RtmpError {
    return new RtmpError(RtmpErrorCode.chunkHeaderInvalid, message, { side: this.side })
  }
}

/** Writes a basic header in its shortest form; gives the offset after it. */
function writeBasicHeader(out: Uint8Array, at: number, format: number, id: number): number {
  if (id < 64) {
    out[at] = (format << 6) | id
    return at + 1
  }
  if (id < 320) {
    out[at] = format << 6
    out[at + 1] = id - 64
    return at + 2
  }
  out[at] = (format << 6) | 1
  out[at + 1] = (id - 64) & 0xff
  out[at + 2] = (id - 64) >> 8
  return at + 3
}

/** Writes a type 0 (`timestamp` absolute) header; gives the offset after it. */
export function writeFullHeader(
  out: Uint8Array,
  at: number,
  message: { readonly id: number; readonly length: number; readonly type: number },
  streamId: number,
  timestamp: number,
): number {
  let cursor = writeBasicHeader(out, at, 0, message.id)
  cursor = writeTimedFields(out, cursor, message, timestamp)
  out[cursor++] = streamId & 0xff
  out[cursor++] = (streamId >>> 8) & 0xff
  out[cursor++] = (streamId >>> 16) & 0xff
  out[cursor++] = streamId >>> 24
  return needsExtended(timestamp) ? writeU32(out, cursor, timestamp) : cursor
}

/** Writes a type 1 header, which counts from the message before it; gives the offset after it. */
export function writeDeltaHeader(
  out: Uint8Array,
  at: number,
  message: { readonly id: number; readonly length: number; readonly type: number },
  delta: number,
): number {
  const cursor = writeTimedFields(out, writeBasicHeader(out, at, 1, message.id), message, delta)
  return needsExtended(delta) ? writeU32(out, cursor, delta) : cursor
}

/**
 * Writes the type 3 header of a message's next chunk, which repeats the timestamp field when that was
 * an extended one; gives the offset after it.
 */
export function writeContinuationHeader(
  out: Uint8Array,
  at: number,
  id: number,
  field: number,
  isExtended: boolean,
): number {
  const cursor = writeBasicHeader(out, at, 3, id)
  return isExtended ? writeU32(out, cursor, field) : cursor
}

/** Whether a timestamp or delta needs the extended field. */
export function needsExtended(field: number): boolean {
  return field >= EXTENDED
}

function writeTimedFields(
  out: Uint8Array,
  at: number,
  message: { readonly length: number; readonly type: number },
  field: number,
): number {
  const short = needsExtended(field) ? EXTENDED : field
  out[at] = short >>> 16
  out[at + 1] = (short >>> 8) & 0xff
  out[at + 2] = short & 0xff
  out[at + 3] = message.length >>> 16
  out[at + 4] = (message.length >>> 8) & 0xff
  out[at + 5] = message.length & 0xff
  out[at + 6] = message.type
  return at + 7
}

function writeU32(out: Uint8Array, at: number, field: number): number {
  out[at] = field >>> 24
  out[at + 1] = (field >>> 16) & 0xff
  out[at + 2] = (field >>> 8) & 0xff
  out[at + 3] = field & 0xff
  return at + 4
}

/**
 * Whether the four bytes at `at` are `field`; undefined when those that are there agree but more must
 * come. Stops at the first difference, so that a short last chunk without the field does not wait.
 */
function repeats(bytes: Uint8Array, at: number, end: number, field: number): boolean | undefined {
  for (let index = 0; index < 4; index++) {
    if (at + index >= end) return undefined
    if (bytes[at + index] !== ((field >>> (24 - 8 * index)) & 0xff)) return false
  }
  return true
}

function u24(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!
}

function u32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | u24(bytes, at + 1)) >>> 0
}

function u32le(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}
