import { SluiceError } from '../../foundation/errors.ts'

/** Codes of the TURN server, and what to do about each. */
export type TurnErrorCode =
  /** An option is missing, of no use or out of range: the message names it and what is allowed. */
  | 'TURN_BAD_OPTION'
  /** No address of the machine stands for the wildcard of a relay: name the address. */
  | 'TURN_NO_RELAY_ADDRESS'
  /** The transport cannot be served here: the message says why and what can. */
  | 'TURN_UNSUPPORTED'

/** What keeps a TURN server from starting, or from taking other options. */
export class TurnError extends SluiceError {
  override readonly name = 'TurnError'

  constructor(code: TurnErrorCode, message: string, cause?: unknown) {
    super(code, message, { side: 'self', retryable: false, cause })
  }
}
