import {
  encodeMessageType,
  encodeXorAddress,
  StunAttribute,
  StunClass,
  StunMethod,
  type TransportAddress,
} from '../../../protocols/stun/index.ts'
import { encodeIcmp, type IcmpReport } from '../../../protocols/turn/index.ts'

/** Writes Data indications (RFC 8656 §11.4, §11.6) into one buffer that is used again. */
export class DataIndications {
  readonly #message = Buffer.alloc(headerBytes + maxAttributesBytes)
  #count = 0

  /** @param seed of the transaction ids, 12 random bytes; they only have to differ (RFC 8489 §6) */
  constructor(seed: Uint8Array) {
    this.#message.writeUInt16BE(encodeMessageType(StunMethod.data, StunClass.indication), 0)
    this.#message.writeUInt32BE(0x2112a442, 4)
    this.#message.set(seed, 8)
  }

  /** An indication with a peer's datagram; the bytes are valid until the next call. Undefined when it does not fit. */
  data(peer: TransportAddress, bytes: Uint8Array): Uint8Array | undefined {
    const at = this.#begin(peer)
    if (at - headerBytes + 4 + bytes.length > maxAttributesBytes) return undefined
    this.#message.writeUInt16BE(StunAttribute.data, at)
    this.#message.writeUInt16BE(bytes.length, at + 2)
    this.#message.set(bytes, at + 4)
    const end = at + 4 + ((bytes.length + 3) & ~3)
    this.#message.fill(0, at + 4 + bytes.length, end)
    return this.#end(end)
  }

  /** An indication with an ICMP error about what was sent to a peer. */
  icmp(peer: TransportAddress, report: IcmpReport): Uint8Array {
    const at = this.#begin(peer)
    const value = encodeIcmp(report)
    this.#message.writeUInt16BE(StunAttribute.icmp, at)
    this.#message.writeUInt16BE(value.length, at + 2)
    this.#message.set(value, at + 4)
    return this.#end(at + 4 + value.length)
  }

  #begin(peer: TransportAddress): number {
    this.#count = (this.#count + 1) >>> 0
    this.#message.writeUInt32BE(this.#count, 16)
    const address = encodeXorAddress(peer, this.#message.subarray(8, headerBytes))
    this.#message.writeUInt16BE(StunAttribute.xorPeerAddress, headerBytes)
    this.#message.writeUInt16BE(address.length, headerBytes + 2)
    this.#message.set(address, headerBytes + 4)
    return headerBytes + 4 + address.length
  }

  #end(end: number): Uint8Array {
    this.#message.writeUInt16BE(end - headerBytes, 2)
    return this.#message.subarray(0, end)
  }
}

const headerBytes = 20
/** What the length field of a STUN message can say, in whole words. */
const maxAttributesBytes = 0xfffc
