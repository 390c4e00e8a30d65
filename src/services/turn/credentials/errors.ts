import { SluiceError, type SluiceErrorOptions } from '../../../foundation/errors.ts'

/** Codes of finding and handing out credentials, and what to do about each. */
export type CredentialErrorCode =
  /** A user, secret, key or option cannot be used: the message names it. */
  | 'TURN_CREDENTIAL_BAD_OPTION'
  /** A parameter of the request for credentials is wrong: the message names it and what is allowed. */
  | 'TURN_CREDENTIAL_BAD_REQUEST'
  /** Credentials are made with a secret, and there is none: configure `turn.credentials.secrets`. */
  | 'TURN_CREDENTIAL_NO_SECRET'
  /** ICE servers are told as URIs, and there are none: configure `turn.uris`. */
  | 'TURN_CREDENTIAL_NO_URIS'
  /** As many questions as may be are waiting for the webhook: it is too slow, or `maxInFlight` too low. */
  | 'TURN_WEBHOOK_BUSY'
  /** The webhook did not answer within `timeoutMs`. */
  | 'TURN_WEBHOOK_TIMEOUT'
  /** There was no connection to the webhook, or it broke: see the cause. */
  | 'TURN_WEBHOOK_UNREACHABLE'
  /** The webhook answered with another status than 200, 403 and 404, or with a body that is none of ours. */
  | 'TURN_WEBHOOK_BAD_ANSWER'
  /** The webhook was closed while it was asked. */
  | 'TURN_WEBHOOK_CLOSED'

/** What goes wrong with credentials. The message never holds a password, a key or a secret. */
export class CredentialError extends SluiceError {
  override readonly name = 'CredentialError'

  constructor(code: CredentialErrorCode, message: string, options: Partial<SluiceErrorOptions> = {}) {
    super(code, message, { side: 'self', retryable: false, ...options })
  }
}
