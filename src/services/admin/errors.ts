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

/** Something that was named is not there. */
export function notFound(code: Exclude<AdminErrorCode, 'ADMIN_BAD_BODY'>, message: string): SluiceError {
  return new SluiceError(code, message, { side: 'client', retryable: false, status: 404 })
}

/** ADMIN_BAD_BODY, with what is allowed. */
export function badBody(message: string): SluiceError {
  return new SluiceError('ADMIN_BAD_BODY', message, { side: 'client', retryable: false, status: 400 })
}
