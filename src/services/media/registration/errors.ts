import { SluiceError } from '../../../foundation/errors.ts'

/** Codes of registration, and what to do about each. */
export type RegistrationErrorCode =
  /** The body is no JSON object: see what posts to the registration URL. */
  | 'REGISTRATION_BAD_BODY'
  /** A field is missing or of the wrong kind: the message names it. */
  | 'REGISTRATION_BAD_FIELD'
  /** A text is no endpoint: write a port, an address with a port, or a URL such as udp://:8000. */
  | 'REGISTRATION_BAD_ENDPOINT'
  /** The origin names no endpoint: for SRS, set `ports on` in its heartbeat section. */
  | 'REGISTRATION_NO_ENDPOINT'
  /** The token in the path is wrong: see `registration.token` of the gateway. */
  | 'REGISTRATION_UNAUTHORIZED'

/** An error of registration; the message is shown to the origin. */
export function registrationError(code: RegistrationErrorCode, message: string, status = 400): SluiceError {
  return new SluiceError(code, message, { side: 'origin', retryable: false, status })
}
