import { SluiceError } from '../../foundation/errors.ts'

/** Codes of `AcmeError`, with what to do about each. */
export const AcmeErrorCode = {
  /** The folder cannot be read or written. Make it one of the user that the process runs as. */
  folder: 'ACME_FOLDER',
  /** The authority refused, or could not be reached; the message has its words. It is tried again by itself. */
  refused: 'ACME_REFUSED',
  /** The authority did not get the answer to its question. Lead port 80 (http-01) or 443 (tls-alpn-01) of the name to us. */
  unproven: 'ACME_UNPROVEN',
  /** The authority does not offer the kind of challenge that is configured. Configure the other. */
  noChallenge: 'ACME_NO_CHALLENGE',
  /** The authority did not finish in time. It is tried again by itself. */
  late: 'ACME_LATE',
} as const

export type AcmeErrorCode = (typeof AcmeErrorCode)[keyof typeof AcmeErrorCode]

/** What keeps a certificate from being had. */
export class AcmeError extends SluiceError {
  override readonly name = 'AcmeError'
  /** The authority asks not to be bothered for so long, in milliseconds. */
  readonly retryAfterMs: number

  constructor(code: AcmeErrorCode, message: string, cause?: unknown, retryAfterMs = 0) {
    const isOurs = code === AcmeErrorCode.folder
    super(code, message, { side: isOurs ? 'self' : 'origin', retryable: !isOurs, cause })
    this.retryAfterMs = retryAfterMs
  }
}
