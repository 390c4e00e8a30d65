import { SluiceError, type SluiceErrorOptions } from '../../../foundation/errors.ts'

/** Codes of the RTMP service, and what to do about each; those of the protocol are in `protocols/rtmp`. */
export type RtmpServiceErrorCode =
  /** The client left before its stream began. */
  | 'RTMP_CLIENT_GONE'
  /** The client did not say what it wants in time: its fault. */
  | 'RTMP_CLIENT_TIMEOUT'
  /** No connection to the origin: see whether it runs and its address is right. */
  | 'RTMP_ORIGIN_UNREACHABLE'
  /** There is a connection, but no answer of the origin in time: see what keeps it. */
  | 'RTMP_ORIGIN_TIMEOUT'
  /** The origin closed the connection within the handshake, or died within the dialogue: see what listens at its address. */
  | 'RTMP_ORIGIN_CLOSED'
  /** No byte came from either side for `idleMs`: the publisher is gone, or there never was one. */
  | 'RTMP_IDLE'
  /** One side took nothing of what it was sent for `idleMs`. */
  | 'RTMP_STALLED'
  /** The connection to the origin broke while the stream ran. */
  | 'RTMP_BROKEN'
  /** The origin of a player was lost, and no other gave the stream within `resumeMs`. */
  | 'RTMP_NOT_RESUMED'
  /** The stream of a player is published at another origin now: it is cut so that it comes back. */
  | 'RTMP_STREAM_MOVED'
  /** The client asked again and again for a second stream on its connection, which carries one: its fault. */
  | 'RTMP_SECOND_STREAM'
  /** An operator ended the session. */
  | 'RTMP_SESSION_KICKED'
  /** The service closed. */
  | 'RTMP_CLOSED'

/** An error of the RTMP service. Its message may name inner addresses: it is for the log, never for a client. */
export function rtmpServiceError(
  code: RtmpServiceErrorCode,
  message: string,
  options: SluiceErrorOptions,
): SluiceError {
  return new SluiceError(code, message, options)
}
