import { ByteWriter } from '../../foundation/bytes.ts'
import { StunAttribute } from './attribute-type.ts'
import { fingerprintOf } from './fingerprint.ts'
import { stunHeaderBytes, stunMagicCookie } from './message.ts'
import { type IntegrityHash, integrityDigest } from './message-integrity.ts'
import { encodeMessageType, type StunClass } from './message-type.ts'
import { encodeXorAddress, type TransportAddress } from './xor-address.ts'

/**
 * Builds one STUN message, attributes in the order of the calls; integrity and fingerprint come last.
 *
 * @example
 *   new StunWriter(StunMethod.binding, StunClass.success, request.transactionId)
 *     .xorAddress(StunAttribute.xorMappedAddress, remote)
 *     .integrity(key)
 *     .fingerprint()
 *     .finish()
 */
export class StunWriter {
  readonly #out = new ByteWriter(128)
  readonly #transactionId: Uint8Array

  /** @param transactionId 12 bytes: random for a request (from the caller), copied for a response */
  constructor(method: number, messageClass: StunClass, transactionId: Uint8Array) {
    if (transactionId.length !== 12) throw new RangeError('a transaction id has 12 bytes')
    this.#transactionId = new Uint8Array(transactionId)
    this.#out
      .u16(encodeMessageType(method, messageClass))
      .u16(0)
      .u32(stunMagicCookie)
      .bytes(this.#transactionId)
  }

  /** Adds an attribute, padded with zeros. @throws RangeError when the message would pass 65,535 bytes of attributes */
  attribute(type: number, value: Uint8Array): this {
    const padding = -value.length & 3
    if (this.#out.length - stunHeaderBytes + 4 + value.length + padding > 0xffff) {
      throw new RangeError('a STUN message holds at most 65,535 bytes of attributes')
    }
    this.#out.u16(type).u16(value.length).bytes(value).zeros(padding)
    return this
  }

  text(type: number, text: string): this {
    return this.attribute(type, Buffer.from(text, 'utf8'))
  }

  u32(type: number, value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return this.attribute(type, bytes)
  }

  xorAddress(type: number, address: TransportAddress): this {
    return this.attribute(type, encodeXorAddress(address, this.#transactionId))
  }

  /** MESSAGE-INTEGRITY over all that was written so far (RFC 8489 §14.5). */
  integrity(key: Uint8Array): this {
    return this.#digest(StunAttribute.messageIntegrity, 'sha1', 20, key)
  }

  /** MESSAGE-INTEGRITY-SHA256, untruncated (RFC 8489 §14.6). Comes after `integrity` where both are wanted. */
  integritySha256(key: Uint8Array): this {
    return this.#digest(StunAttribute.messageIntegritySha256, 'sha256', 32, key)
  }

  fingerprint(): this {
    // RFC 8489 §14.7: the length field counts the attribute before the CRC is taken.
    this.#patchLength(this.#out.length + 8)
    return this.u32(StunAttribute.fingerprint, fingerprintOf(this.#out.finish()))
  }

  /** The message. Nothing may be added afterwards. */
  finish(): Buffer {
    this.#patchLength(this.#out.length)
    return this.#out.finish()
  }

  #digest(type: number, hash: IntegrityHash, size: number, key: Uint8Array): this {
    const bytes = this.#out.finish()
    return this.attribute(type, integrityDigest(bytes, bytes.length, size, hash, key))
  }

  #patchLength(messageBytes: number): void {
    this.#out.finish().writeUInt16BE(messageBytes - stunHeaderBytes, 2)
  }
}
