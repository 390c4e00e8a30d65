import { SluiceError, type SluiceErrorOptions } from '../../../foundation/errors.ts'

/** Codes of the media HTTP server, and what to do about each. */
export type HttpErrorCode =
  /** Malformed, or with a body where none belongs: the client's fault. */
  | 'HTTP_BAD_REQUEST'
  /** The head of the request exceeds `maxHeadBytes`: the client's fault. */
  | 'HTTP_HEAD_TOO_LARGE'
  /** The request did not come within its time: the client's fault. */
  | 'HTTP_REQUEST_TIMEOUT'
  /** Nothing is served at this path. */
  | 'HTTP_NOT_FOUND'
  /** Something is served there, but not by this method: see `Allow`. */
  | 'HTTP_METHOD_NOT_ALLOWED'
  /** The range lies outside of the file. */
  | 'HTTP_RANGE_NOT_SATISFIABLE'
  /** A bound of connections was reached: raise it, or look at who connects. */
  | 'HTTP_TOO_MANY_CONNECTIONS'
  /** A client sent request after request without waiting for an answer: its fault. */
  | 'HTTP_TOO_MANY_PIPELINED'
  /** The request went through this gateway already: an origin is registered with a gateway's address. */
  | 'HTTP_LOOP'
  /** Our fault: the log has the cause. */
  | 'HTTP_INTERNAL'
  /** No connection to the origin: see whether it runs and its address is right. */
  | 'HTTP_ORIGIN_UNREACHABLE'
  /** The origin took the request and did not answer in time: nobody publishes the stream, or the origin hangs. */
  | 'HTTP_ORIGIN_SILENT'
  /** What came is no HTTP response that can be passed on safely: see what listens at the origin's address. */
  | 'HTTP_ORIGIN_BAD_RESPONSE'
  /** The viewer left. */
  | 'HTTP_CLIENT_GONE'
  /** The viewer took nothing for `stallMs`. */
  | 'HTTP_CLIENT_STALLED'
  /** Nothing came from the origin for `idleMs`. */
  | 'HTTP_ORIGIN_IDLE'
  /** The origin's connection broke, or its framing did, within the body. */
  | 'HTTP_ORIGIN_BROKE'
  /** What came from the next origin does not go on with what the last one had sent: see what it serves there. */
  | 'HTTP_ORIGIN_OTHER_BODY'
  /** The viewer may not watch any longer: its token has run out, or its key was taken away. */
  | 'HTTP_ACCESS_ENDED'
  /** `If-Match` or `If-Unmodified-Since` name another version of the file. */
  | 'HTTP_PRECONDITION_FAILED'
  /** An operator ended the session. */
  | 'HTTP_SESSION_KICKED'
  /** One address has as many HLS viewers as it may: raise `maxViewersPerAddress`, or look at who it is. */
  | 'HTTP_TOO_MANY_VIEWERS'
  /** The origin answered with a status of 400 or more: its words are in the log at level debug. */
  | 'HTTP_ORIGIN_REFUSED'

/** An error of the media HTTP server. Its message may name inner addresses: it is for the log, never for a reply. */
export function httpError(code: HttpErrorCode, message: string, options: SluiceErrorOptions): SluiceError {
  return new SluiceError(code, message, options)
}
