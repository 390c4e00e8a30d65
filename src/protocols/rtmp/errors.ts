import { SluiceError } from '../../foundation/errors.ts'
import type { Side } from '../../foundation/errors.ts'

/** Codes of `RtmpError`, with what to do about each. */
export const RtmpErrorCode = {
  /** A chunk header breaks the chunk format; the peer speaks something else or is damaged. End the connection. */
  chunkHeaderInvalid: 'RTMP_CHUNK_HEADER_INVALID',
  /** More chunk streams than `maxChunkStreams`; encoders use fewer than ten. End the connection. */
  tooManyChunkStreams: 'RTMP_TOO_MANY_CHUNK_STREAMS',
  /** A message, or all unfinished ones together, is above `maxMessageBytes`. Raise the limit if it is a real encoder. */
  messageTooLarge: 'RTMP_MESSAGE_TOO_LARGE',
  /** A protocol control message is too short or names an impossible value. End the connection. */
  controlMessageInvalid: 'RTMP_CONTROL_MESSAGE_INVALID',
  /** A message that we were asked to write cannot be written (id, length or chunk size out of range). A bug of ours. */
  messageUnwritable: 'RTMP_MESSAGE_UNWRITABLE',
  /** The handshake asks for an unknown version. End the connection. */
  handshake: 'RTMP_HANDSHAKE',
  /** An AMF0 value cannot be decoded, or is deeper or longer than allowed. End the connection. */
  amf0Malformed: 'RTMP_AMF0_MALFORMED',
  /** A command lacks something it needs, or came where it is not allowed. End the connection. */
  commandInvalid: 'RTMP_COMMAND_INVALID',
  /** The origin answered with an error status; try the next origin. */
  originRefused: 'RTMP_ORIGIN_REFUSED',
} as const

export type RtmpErrorCode = (typeof RtmpErrorCode)[keyof typeof RtmpErrorCode]

/** What an `RtmpError` may carry. */
export interface RtmpErrorOptions {
  /** The peer whose bytes were wrong. @defaultValue 'client' */
  readonly side?: Side
  /** @defaultValue true for side `origin`, where another origin may do better */
  readonly retryable?: boolean
  readonly cause?: unknown
}

/** What ends an RTMP connection. */
export class RtmpError extends SluiceError {
  override readonly name = 'RtmpError'

  constructor(code: RtmpErrorCode, message: string, options: RtmpErrorOptions = {}) {
    const side = options.side ?? 'client'
    super(code, message, { side, retryable: options.retryable ?? side === 'origin', cause: options.cause })
  }
}
