import { SluiceError, type SluiceErrorOptions } from '../../foundation/errors.ts'

/** Codes of the control APIs, and what to do about each. */
export type ApiErrorCode =
  /** What came is no HTTP request, too large a head, or did not come in time: the status says which. */
  | 'API_BAD_REQUEST'
  /** A bearer token is needed: send the configured one. */
  | 'API_UNAUTHORIZED'
  /** The client's address is not in the allow list. */
  | 'API_FORBIDDEN'
  /**
   * A web page of another site asked, or may have asked: a request by a domain name over loopback, without a token. Set
   * a token, or ask by address.
   */
  | 'API_CROSS_SITE'
  /** Nothing is served at this path by this method. */
  | 'API_NOT_FOUND'
  /** The body is longer than allowed: send less. */
  | 'API_BODY_TOO_LARGE'
  /** The body broke off or did not come in time. */
  | 'API_BODY_INCOMPLETE'
  /** Our fault: the log has the cause. */
  | 'API_INTERNAL'

/** An error of a control API. The message is shown to the client. */
export function apiError(
  code: ApiErrorCode,
  message: string,
  options: Partial<SluiceErrorOptions> = {},
): SluiceError {
  return new SluiceError(code, message, { side: 'client', retryable: false, ...options })
}
