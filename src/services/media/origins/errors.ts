import { SluiceError } from '../../../foundation/errors.ts'

/** Codes of static origins, and what to do about each. */
export type OriginsErrorCode =
  /** Two origins of the configuration have one name: give each its own. */
  | 'ORIGINS_NAME_TAKEN'
  /** A URL of an origin cannot be used: the message names it and says why. */
  | 'ORIGINS_BAD_URL'
  /** The origin has no way in or out: give it a host, or URLs. */
  | 'ORIGINS_NO_ENDPOINT'
  /** Only SRS and MediaMTX list their streams over HTTP: leave `followSeconds` out for other kinds. */
  | 'ORIGINS_CANNOT_FOLLOW'
  /** An origin did not list its streams: see its API, and whether that wants a password. */
  | 'ORIGINS_LIST_REFUSED'
  /** An origin did not answer in time: see whether it runs, and `timeoutSeconds`. */
  | 'ORIGINS_TIMEOUT'

/** A fault of the configuration of static origins. */
export function originsError(code: OriginsErrorCode, message: string): SluiceError {
  return new SluiceError(code, message, { side: 'self', retryable: false })
}

/** An origin did not do as it should. */
export function originFailed(code: OriginsErrorCode, message: string): SluiceError {
  return new SluiceError(code, message, { side: 'origin', retryable: true })
}
