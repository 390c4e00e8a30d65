import type { IncomingHttpHeaders } from 'node:http'
import { SluiceError, type SluiceErrorOptions } from '../../../foundation/errors.ts'

/** Codes of the WebRTC service, as its error bodies and metrics carry them, and what to do about each. */
export type WebRtcErrorCode =
  /** The body is no SDP with `v=0`: send the offer as it is, as `application/sdp`. */
  | 'WEBRTC_BAD_SDP'
  /** The body is not the JSON of SRS's older API: an object with `sdp`, and with `streamurl` unless the query names the stream. */
  | 'WEBRTC_BAD_JSON'
  /** The query names the app, the stream or the vhost in two ways, of which SRS takes the other: name each once, and escape `,` `;` and `=`. */
  | 'WEBRTC_BAD_QUERY'
  /** A PATCH carries something else than `application/trickle-ice-sdpfrag`. */
  | 'WEBRTC_MEDIA_TYPE'
  /** `If-Match` is not the session's present ETag: the fragment belongs to an earlier ICE session. */
  | 'WEBRTC_STALE_ETAG'
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
  /** The session may be another gateway's, and the store that they share does not answer: try again. */
  | 'WEBRTC_STORE_AWAY'
  /** Too many sessions of other gateways are asked for, by this client or by all: try again. */
  | 'WEBRTC_TOO_MANY_LOOKUPS'
  /** The pair of ICE user fragments belongs to a live session: make a new offer. */
  | 'WEBRTC_SESSION_EXISTS'
  /** The origin closed the offer of a second publisher: the stream is published already. */
  | 'WEBRTC_STREAM_BUSY'
  /** `maxSessions` are live: raise it, or add a gateway. */
  | 'WEBRTC_TOO_MANY_SESSIONS'
  /** The gateway is shutting down: try again, at another one. */
  | 'WEBRTC_DRAINING'
  /** The origin refused, with the status of the response: what it said is in the log, at level debug. */
  | 'WEBRTC_ORIGIN_REFUSED'
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
  override readonly name: string = 'WebRtcError'
  override readonly status: number

  constructor(code: WebRtcErrorCode, message: string, status: number, options: SluiceErrorOptions) {
    super(code, message, { ...options, status })
    this.status = status
  }
}

/** An origin's refusal: its status, and those of its headers that a client may read. */
export class OriginRefusal extends WebRtcError {
  readonly headers: IncomingHttpHeaders
  /** What it said in JSON, which SRS's older API answers with status 200. */
  readonly jsonCode: number | undefined

  constructor(status: number, headers: IncomingHttpHeaders, jsonCode?: number) {
    // What it has against the client or the stream, another origin has too.
    const isBusy = status >= 500 || status === 429
    super('WEBRTC_ORIGIN_REFUSED', 'the origin refused', status, {
      side: isBusy ? 'origin' : 'client',
      retryable: isBusy,
    })
    this.headers = headers
    this.jsonCode = jsonCode
  }
}

/**
 * Why there is no response: no connection; one, on which no response began in time; one that was closed, brought
 * nonsense, stood still or brought more than is read; or nobody waits any more.
 */
export type OriginFailure = 'unreachable' | 'silent' | 'broken' | 'aborted'

/** What a client is told of an origin that gave no response. */
export function failureError(failure: Exclude<OriginFailure, 'aborted'>, cause?: unknown): WebRtcError {
  const options = { side: 'origin', retryable: true, cause } as const
  switch (failure) {
    case 'unreachable':
      return new WebRtcError('WEBRTC_ORIGIN_UNREACHABLE', 'no origin could be reached', 502, options)
    case 'silent':
      return new WebRtcError('WEBRTC_ORIGIN_TIMEOUT', 'the origin did not answer in time', 504, options)
    case 'broken':
      return badAnswer('the origin gave no whole answer', cause)
    default:
      return failure satisfies never
  }
}

export function badAnswer(why: string, cause?: unknown): WebRtcError {
  const options = { side: 'origin', retryable: true, cause } as const
  return new WebRtcError('WEBRTC_ORIGIN_BAD_ANSWER', why, 502, options)
}

/** What the gateway cannot do now. */
export function unavailable(code: WebRtcErrorCode, message: string, cause?: unknown): WebRtcError {
  return new WebRtcError(code, message, 503, { side: 'self', retryable: true, cause })
}

/** An error that the client caused. */
export function clientError(code: WebRtcErrorCode, status: number, message: string): WebRtcError {
  return new WebRtcError(code, message, status, { side: 'client', retryable: false })
}

/** Whoever asked is not there any more; nobody reads this but the metric. */
export function clientGone(): WebRtcError {
  return clientError('WEBRTC_CLIENT_GONE', 499, 'the client went away')
}
