import { SluiceError } from '../../foundation/errors.ts'

/** Codes of the demo origin. */
export const DemoErrorCode = {
  /** The package `werift` cannot be loaded; install it to use WHIP and WHEP. */
  weriftMissing: 'DEMO_WERIFT_MISSING',
  /** The URL names no `app` and `stream`, or one that is too long; give both, at most 128 characters each. */
  streamNameInvalid: 'DEMO_STREAM_NAME_INVALID',
  /** Nobody publishes this stream; publish it first. */
  streamNotFound: 'DEMO_STREAM_NOT_FOUND',
  /** Somebody publishes this stream already; wait until that ends or take another name. */
  streamBusy: 'DEMO_STREAM_BUSY',
  /** The SDP offer cannot be understood; send one with audio or video, ICE credentials and a fingerprint. */
  offerInvalid: 'DEMO_OFFER_INVALID',
  /** The offer has no codec that fits; offer VP8 or H.264, and Opus. */
  codecUnsupported: 'DEMO_CODEC_UNSUPPORTED',
  /** No such session, or not with this token; it may have ended. */
  sessionNotFound: 'DEMO_SESSION_NOT_FOUND',
  /** The bound on sessions is reached; try later. */
  tooManySessions: 'DEMO_TOO_MANY_SESSIONS',
  /** The request body is above the limit; send a shorter offer. */
  bodyTooLarge: 'DEMO_BODY_TOO_LARGE',
  /** The path or method is not served here. */
  notServed: 'DEMO_NOT_SERVED',
  /** The registration API refused the demo origin; see the message for its answer. */
  registrationRefused: 'DEMO_REGISTRATION_REFUSED',
} as const
export type DemoErrorCode = (typeof DemoErrorCode)[keyof typeof DemoErrorCode]

/** An error of the demo origin; `status` is what an HTTP request gets. */
export class DemoError extends SluiceError {
  override readonly name = 'DemoError'

  constructor(code: DemoErrorCode, message: string, status: number, cause?: unknown) {
    super(code, message, {
      side: status >= 500 ? 'self' : 'client',
      retryable: false,
      status,
      ...(cause === undefined ? {} : { cause }),
    })
  }
}
