import { SluiceError } from '../../../foundation/errors.ts'

/** Codes of the peer policies, with what to do about each. */
export type PeersErrorCode =
  /** A rule cannot be read: the message names it and says what is allowed. */
  | 'PEERS_BAD_RULE'
  /** An option is out of range or contradicts another: the message names it. */
  | 'PEERS_BAD_OPTION'
  /** The rules name more hosts than are followed: name fewer, or raise `maxNames`. */
  | 'PEERS_TOO_MANY_NAMES'
  /** A name has more addresses than are admitted: raise `maxAddressesPerName`, or allow a range instead. */
  | 'PEERS_TOO_MANY_ADDRESSES'
  /** A name has no address, or the resolver gives no answer: check the name and the DNS. */
  | 'PEERS_NAME_UNRESOLVED'

/** Rules that cannot be, or a name that cannot be resolved. Always on our own side. */
export class PeersError extends SluiceError {
  override readonly name = 'PeersError'

  constructor(code: PeersErrorCode, message: string, cause?: unknown) {
    super(code, message, { side: 'self', retryable: code === 'PEERS_NAME_UNRESOLVED', cause })
  }
}
