import { SluiceError } from '../../foundation/errors.ts'

/** Codes of `NetError`, with what to do about each. */
export const NetErrorCode = {
  /** Another program listens on the port. Stop it, or configure another port. */
  portTaken: 'NET_PORT_TAKEN',
  /** The process may not bind the port (below 1024). Configure a higher one, or grant CAP_NET_BIND_SERVICE. */
  portForbidden: 'NET_PORT_FORBIDDEN',
  /** The machine has no such address. Configure one of its own, or leave the address out. */
  addressUnavailable: 'NET_ADDRESS_UNAVAILABLE',
  /** The listener could not be opened for another reason; the message has it. */
  listenFailed: 'NET_LISTEN_FAILED',
  /** A text is no address and no CIDR range; the message has it. */
  badRange: 'NET_BAD_RANGE',
  /** A TLS certificate and its key cannot be read or do not belong together; the message says which. */
  badCertificate: 'NET_BAD_CERTIFICATE',
} as const

export type NetErrorCode = (typeof NetErrorCode)[keyof typeof NetErrorCode]

/** What keeps a listener from opening, or from being configured as told. */
export class NetError extends SluiceError {
  override readonly name = 'NetError'

  constructor(code: NetErrorCode, message: string, cause?: unknown) {
    super(code, message, { side: 'self', retryable: false, cause })
  }
}
