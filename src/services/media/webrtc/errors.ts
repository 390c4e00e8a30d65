import { SluiceError, type SluiceErrorOptions } from '../../../foundation/errors.ts'

/** Codes of the WebRTC service, as its error bodies and metrics carry them, and what to do about each. */
export type WebRtcErrorCode =
  /** The body is no SDP with `v=0`: send the offer as it is, as `application/sdp`. */
  | 'WEBRTC_BAD_SDP'
  /** The offer lacks `a=ice-ufrag` or `a=ice-pwd`, or they are malformed: send a WebRTC offer. */
  | 'WEBRTC_NO_ICE_CREDENTIALS'
  /** The body is larger than `maxOfferBytes`. */
  | 'WEBRTC_BODY_TOO_LARGE'
  /** The body did not come in time. */
  | 'WEBRTC_BODY_TIMEOUT'
  /** The path takes other methods; `Allow` names them. */
  | 'WEBRTC_METHOD'
  /** There is no session of this Location: it ended, or never was. */
  | 'WEBRTC_NO_SESSION'
  /** The pair of ICE user fragments belongs to a live session: make a new offer. */
  | 'WEBRTC_SESSION_EXISTS'
  /** The origin closed the offer of a second publisher: the stream is published already. */
  | 'WEBRTC_STREAM_BUSY'
  /** `maxSessions` are live: raise it, or add a gateway. */
  | 'WEBRTC_TOO_MANY_SESSIONS'
  /** The gateway is shutting down: try again, at another one. */
  | 'WEBRTC_DRAINING'
  /** No origin that was tried could be reached: see the log for which and why. */
  | 'WEBRTC_ORIGIN_UNREACHABLE'
  /** The origin did not answer in time. */
  | 'WEBRTC_ORIGIN_TIMEOUT'
  /** The origin answered with something that is no answer, or broke off: see the log. */
  | 'WEBRTC_ORIGIN_BAD_ANSWER'
  /** The client left before its answer: nobody's fault. */
  | 'WEBRTC_CLIENT_GONE'
  /** An option is out of range: the message names it. */
  | 'WEBRTC_BAD_OPTION'
  /** A fault of the gateway's own: see the log. */
  | 'WEBRTC_INTERNAL'

/** What ends a WHIP or WHEP request. The message reaches the client, so it names no origin. */
export class WebRtcError extends SluiceError {
  override readonly name = 'WebRtcError'
  override readonly status: number

  constructor(code: WebRtcErrorCode, message: string, status: number, options: SluiceErrorOptions) {
    super(code, message, { ...options, status })
    this.status = status
  }
}

/** An error that the client caused. */
export function clientError(code: WebRtcErrorCode, status: number, message: string): WebRtcError {
  return new WebRtcError(code, message, status, { side: 'client', retryable: false })
}

/** Whoever asked is not there any more; nobody reads this but the metric. */
export function clientGone(): WebRtcError {
  return clientError('WEBRTC_CLIENT_GONE', 499, 'the client went away')
}
