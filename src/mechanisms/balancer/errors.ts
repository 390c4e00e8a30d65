import { SluiceError, type SluiceErrorOptions } from '../../foundation/errors.ts'

/** Codes of the balancer, and what to do about each. */
export type BalancerErrorCode =
  /** The request names no usable stream: give it an app and a stream, each short and without control characters. */
  | 'BALANCER_BAD_STREAM_KEY'
  /** Nobody can serve the stream: register an origin that offers the protocol, or see why all were avoided. */
  | 'BALANCER_NO_ORIGIN'
  /** The stream is live at an origin without the protocol asked for: enable it there, or play another protocol. */
  | 'BALANCER_PROTOCOL_NOT_OFFERED'
  /** The origin table is full of live origins: raise its limit, or find out who registers so many. */
  | 'BALANCER_TOO_MANY_ORIGINS'
  /** The pick table is full of streams in use: raise its limit, or add a gateway. */
  | 'BALANCER_TOO_MANY_STREAMS'
  /** The session table is full: raise its limit, or add a gateway. */
  | 'BALANCER_TOO_MANY_SESSIONS'
  /** Another live session has this USERNAME: the client makes a new offer. */
  | 'BALANCER_SESSION_EXISTS'
  /** An option is out of range: the message names it. */
  | 'BALANCER_BAD_OPTION'

/** An error of the balancer. */
export function balancerError(
  code: BalancerErrorCode,
  message: string,
  options: SluiceErrorOptions,
): SluiceError {
  return new SluiceError(code, message, options)
}

/** BALANCER_BAD_STREAM_KEY, with what is wrong. */
export function badStreamKey(why: string): SluiceError {
  return balancerError('BALANCER_BAD_STREAM_KEY', `the request names no usable stream: ${why}`, {
    side: 'client',
    retryable: false,
    status: 400,
  })
}

/** BALANCER_TOO_MANY_STREAMS, with what there are too many of. */
export function tooManyStreams(what: string): SluiceError {
  return balancerError('BALANCER_TOO_MANY_STREAMS', `${what}, which is the limit`, {
    side: 'self',
    retryable: true,
    status: 503,
  })
}

/** BALANCER_BAD_OPTION, with what is wrong. */
export function badOption(why: string): SluiceError {
  return balancerError('BALANCER_BAD_OPTION', why, { side: 'self', retryable: false })
}
