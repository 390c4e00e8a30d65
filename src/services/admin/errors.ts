import { SluiceError } from '../../foundation/errors.ts'

/** Codes of the admin API, and what to do about each. Those of HTTP itself are in `mechanisms/http-api/errors.ts`. */
export type AdminErrorCode =
  /** No origin of this id is registered: list them with `GET /api/v1/origins`. */
  | 'ADMIN_NO_SUCH_ORIGIN'
  /** This stream key is not kept at an origin: list them with `GET /api/v1/streams`. */
  | 'ADMIN_NO_SUCH_PICK'
  /** No session of this id is live: list them with `GET /api/v1/sessions`. */
  | 'ADMIN_NO_SUCH_SESSION'
  /** The body is not what the route takes: the message says what it is. */
  | 'ADMIN_BAD_BODY'
  /** What stands behind the `?` is not what the route takes: the message says what it is. */
  | 'ADMIN_BAD_QUERY'
  /** It runs inside something that decides on that itself: ask there, or stop the process. */
  | 'ADMIN_CANNOT_DRAIN'
  /** The gateway was told to end, and that cannot be taken back. */
  | 'ADMIN_IS_ENDING'

/** Something that was named is not there. */
export function notFound(
  code: 'ADMIN_NO_SUCH_ORIGIN' | 'ADMIN_NO_SUCH_PICK' | 'ADMIN_NO_SUCH_SESSION',
  message: string,
): SluiceError {
  return adminError(code, message, 404)
}

/** ADMIN_BAD_BODY, with what is allowed. */
export function badBody(message: string): SluiceError {
  return adminError('ADMIN_BAD_BODY', message, 400)
}

/** ADMIN_BAD_QUERY, with what is allowed. */
export function badQuery(message: string): SluiceError {
  return adminError('ADMIN_BAD_QUERY', message, 400)
}

/** What was asked for does not go with how the gateway is or is run. */
export function conflict(code: 'ADMIN_CANNOT_DRAIN' | 'ADMIN_IS_ENDING', message: string): SluiceError {
  return adminError(code, message, 409)
}

function adminError(code: AdminErrorCode, message: string, status: number): SluiceError {
  return new SluiceError(code, message, { side: 'client', retryable: false, status })
}
