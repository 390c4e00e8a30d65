import {
  encodeErrorCode,
  encodeMessageType,
  fingerprintOf,
  StunAttribute,
  StunClass,
  type StunMessage,
  StunWriter,
} from '../../../protocols/stun/index.ts'
import type { Nonces, Security } from './nonces.ts'

/** What every challenge says. */
export interface ChallengeOptions {
  readonly realm: string
  readonly security: Security
  /** THIRD-PARTY-AUTHORIZATION (RFC 7635 §6.1). */
  readonly thirdPartyServer?: string
  readonly nonces: Nonces
}

/**
 * Writes 401 and 438: the answers that strangers get and that a flood asks for, so they are short (no reason, no
 * SOFTWARE) and made by patching one prepared message.
 */
export class Challenge {
  readonly #nonces: Nonces
  readonly #message: Buffer
  readonly #bare: number
  readonly #nonceOffset: number

  constructor({ realm, security, thirdPartyServer, nonces }: ChallengeOptions) {
    this.#nonces = nonces
    const writer = new StunWriter(0, StunClass.error, new Uint8Array(12))
      .attribute(StunAttribute.errorCode, encodeErrorCode({ code: 401, reason: '' }))
      .text(StunAttribute.realm, realm)
    this.#nonceOffset = writer.finish().length + attributeHeaderBytes
    writer.attribute(StunAttribute.nonce, new Uint8Array(nonces.length))
    if (security !== 'none') writer.attribute(StunAttribute.passwordAlgorithms, passwordAlgorithms)
    if (thirdPartyServer !== undefined) writer.text(StunAttribute.thirdPartyAuthorization, thirdPartyServer)
    const message = writer.finish()
    this.#bare = message.length
    this.#message = Buffer.concat([message, Buffer.alloc(fingerprintBytes)])
  }

  /** The answer to a request of this client; the bytes are valid until the next call. */
  write(
    code: 401 | 438,
    request: StunMessage,
    { address, port }: { readonly address: string; readonly port: number },
    wallMs: number,
  ): Uint8Array {
    const message = this.#message
    message.writeUInt16BE(encodeMessageType(request.method, StunClass.error), 0)
    message.set(request.transactionId, 8)
    message[errorNumberOffset] = code - 400
    this.#nonces.write(message, this.#nonceOffset, address, port, wallMs)
    if (request.fingerprintOffset === undefined) {
      message.writeUInt16BE(this.#bare - stunHeaderBytes, 2)
      return message.subarray(0, this.#bare)
    }
    message.writeUInt16BE(message.length - stunHeaderBytes, 2)
    message.writeUInt16BE(StunAttribute.fingerprint, this.#bare)
    message.writeUInt16BE(4, this.#bare + 2)
    message.writeUInt32BE(fingerprintOf(message.subarray(0, this.#bare)), this.#bare + attributeHeaderBytes)
    return message
  }
}

/** SHA-256 and MD5, neither with parameters; the client must send this list back (RFC 8489 §9.2.4). */
export const passwordAlgorithms: Uint8Array = Uint8Array.of(0, 2, 0, 0, 0, 1, 0, 0)

const stunHeaderBytes = 20
const attributeHeaderBytes = 4
const fingerprintBytes = 8
/** ERROR-CODE comes first: header, attribute header, two zeros, the hundreds, then the rest. */
const errorNumberOffset = stunHeaderBytes + attributeHeaderBytes + 3
