import { SluiceError } from '../../foundation/errors.ts'

/** Codes of `sluice srs-proxy`, and what to do about each. */
export type SrsProxyErrorCode =
  /** A variable has a value that means nothing: the message names it and says what is allowed. */
  | 'SRS_PROXY_BAD_VARIABLE'
  /** `.env` is there and cannot be read. */
  | 'SRS_PROXY_UNREADABLE_ENV'

/** An error of the settings. */
export function srsProxyError(code: SrsProxyErrorCode, message: string, cause?: unknown): SluiceError {
  return new SluiceError(code, message, { side: 'self', retryable: false, cause })
}
