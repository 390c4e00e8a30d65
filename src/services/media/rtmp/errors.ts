import { SluiceError, type SluiceErrorOptions } from '../../../foundation/errors.ts'

/** Codes of the RTMP service, and what to do about each; those of the protocol are in `protocols/rtmp`. */
export type RtmpServiceErrorCode =
  /** The client left before its stream began. */
  | 'RTMP_CLIENT_GONE'
  /** The client did not say what it wants in time: its fault. */
  | 'RTMP_CLIENT_TIMEOUT'
  /** No connection to the origin: see whether it runs and its address is right. */
  | 'RTMP_ORIGIN_UNREACHABLE'
  /** No connection to the origin, or no answer from it, in time: see what keeps it. */
  | 'RTMP_ORIGIN_TIMEOUT'
  /** The origin closed the connection before the handshake was over: see what listens at its address. */
  | 'RTMP_ORIGIN_CLOSED'
  /** No byte came from either side for `idleMs`: the publisher is gone, or there never was one. */
  | 'RTMP_IDLE'
  /** One side took nothing of what it was sent for `idleMs`. */
  | 'RTMP_STALLED'
  /** The connection to the origin broke while the stream ran. */
  | 'RTMP_BROKEN'
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
