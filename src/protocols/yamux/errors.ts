import { SluiceError, type Side } from '../../foundation/errors.ts'

/** Codes of `YamuxError`, with what to do about each. */
export const YamuxErrorCode = {
  /** The peer broke the rules of yamux, or does not speak it; the message says how. The session is over. */
  protocol: 'YAMUX_PROTOCOL',
  /** The peer sends what wants an answer faster than it reads the answers. The session is over. */
  flood: 'YAMUX_FLOOD',
  /** A ping or an opened stream was not answered in time. The session is over; connect again. */
  timeout: 'YAMUX_TIMEOUT',
  /** The session ended, and this stream with it; or there is none to open a stream in. Connect again. */
  closed: 'YAMUX_CLOSED',
  /** The peer takes no further streams (go-away 0). Connect again. */
  goneAway: 'YAMUX_GONE_AWAY',
  /** The peer reset the stream, or refused it. */
  reset: 'YAMUX_RESET',
  /** As many streams are open as `maxStreams` allows, or all ids of the session are used up. */
  tooManyStreams: 'YAMUX_TOO_MANY_STREAMS',
  /** A writer went on although `write` had said false, past `maxHeldBytes`. The stream is reset; a bug of ours. */
  writeOverflow: 'YAMUX_WRITE_OVERFLOW',
  /** Readers kept more waiting than `maxKeptBytes`; the stream with most was reset. */
  readOverflow: 'YAMUX_READ_OVERFLOW',
  /** An option is out of range; the message names it. */
  badOption: 'YAMUX_BAD_OPTION',
} as const

export type YamuxErrorCode = (typeof YamuxErrorCode)[keyof typeof YamuxErrorCode]

/** What ends a yamux stream or session. `side` is the peer, or self where we are to blame. */
export class YamuxError extends SluiceError {
  override readonly name = 'YamuxError'

  constructor(
    code: YamuxErrorCode,
    message: string,
    options: { readonly side: Side; readonly retryable?: boolean; readonly cause?: unknown },
  ) {
    super(code, message, { retryable: false, ...options })
  }
}
