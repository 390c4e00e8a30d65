import { randomFillSync } from 'node:crypto'
import {
  encodeMessageType,
  encodeXorAddress,
  ipToBytes,
  isComprehensionRequired,
  StunAttribute,
  StunClass,
  stunHeaderBytes,
  stunMagicCookie,
  StunMethod,
} from '../../../protocols/stun/index.ts'
import type { Remote } from '../contract.ts'
import { canonicalAddress } from '../control/ip-address.ts'

/** A Send indication that says nothing but which peer is to get which data. */
export interface SendIndication {
  /** As `peerKey` has it. */
  readonly peer: string
  /** A view of the datagram. */
  readonly data: Uint8Array
}

/** Undefined for everything else, and for one that says more that must be understood, or says it twice. */
export function readSendIndication(bytes: Uint8Array): SendIndication | undefined {
  const end = bytes.length
  if (end < stunHeaderBytes || bytes[0] !== 0x00 || bytes[1] !== sendIndication) return undefined
  if (u16(bytes, 2) !== end - stunHeaderBytes || (end & 3) !== 0) return undefined
  if (u16(bytes, 4) !== stunMagicCookie >>> 16 || u16(bytes, 6) !== (stunMagicCookie & 0xffff))
    return undefined
  let peer: string | undefined
  let data: Uint8Array | undefined
  for (let at = stunHeaderBytes; at < end; ) {
    const type = u16(bytes, at)
    const from = at + attributeHeaderBytes
    const to = from + u16(bytes, at + 2)
    if (to > end) return undefined
    if (type === StunAttribute.xorPeerAddress && peer === undefined) {
      peer = readPeer(bytes, from, to)
      if (peer === undefined) return undefined
    } else if (type === StunAttribute.data && data === undefined) data = bytes.subarray(from, to)
    else if (isComprehensionRequired(type)) return undefined
    at = (to + 3) & ~3
  }
  return peer === undefined || data === undefined ? undefined : { peer, data }
}

/** A peer's port and address as a text that can be looked up. */
export function peerKey({ address, port }: Remote): string {
  const ip = ipToBytes(canonicalAddress(address)) ?? []
  return Buffer.from([port >>> 8, port & 0xff, ...ip]).toString('latin1')
}

/** Writes what makes a datagram a Data indication of one peer. */
export class DataHeader {
  /** With transaction id and address as of the count 0. */
  readonly #template: Buffer
  readonly #isIpv6: boolean
  /** The last four bytes of the transaction ids, which only have to differ (RFC 8489 §6). */
  #count = 0

  constructor({ address, port }: Remote) {
    const id = randomFillSync(Buffer.alloc(12))
    id.writeUInt32BE(0, countAt)
    const peer = encodeXorAddress({ address: canonicalAddress(address), port }, id)
    this.#template = Buffer.alloc(stunHeaderBytes + 2 * attributeHeaderBytes + peer.length)
    this.#isIpv6 = peer.length === ipv6PeerBytes
    const template = this.#template
    template.writeUInt16BE(encodeMessageType(StunMethod.data, StunClass.indication), 0)
    template.writeUInt32BE(stunMagicCookie, 4)
    template.set(id, 8)
    template.writeUInt16BE(StunAttribute.xorPeerAddress, stunHeaderBytes)
    template.writeUInt16BE(peer.length, stunHeaderBytes + 2)
    template.set(peer, stunHeaderBytes + attributeHeaderBytes)
    template.writeUInt16BE(StunAttribute.data, template.length - attributeHeaderBytes)
  }

  /** What goes before so many bytes; zeros up to a multiple of four go behind. Undefined when the message would be too long. */
  next(dataBytes: number): Buffer | undefined {
    const { length } = this.#template
    const attributesBytes = length - stunHeaderBytes + ((dataBytes + 3) & ~3)
    if (attributesBytes > maxAttributesBytes) return undefined
    // A new one each time: the system may keep it until the socket can be written to.
    const header = Buffer.allocUnsafe(length)
    header.set(this.#template)
    header.writeUInt16BE(attributesBytes, 2)
    header.writeUInt16BE(dataBytes, length - 2)
    this.#count = (this.#count + 1) >>> 0
    header.writeUInt32BE(this.#count, 8 + countAt)
    if (this.#isIpv6) {
      // The transaction id masks the address: its end the end.
      const end = length - attributeHeaderBytes - 4
      header.writeUInt32BE((header.readUInt32BE(end) ^ this.#count) >>> 0, end)
    }
    return header
  }
}

const attributeHeaderBytes = 4
const ipv6PeerBytes = 20
const countAt = 8
/** What the length field of a STUN message can say, in whole words. */
const maxAttributesBytes = 0xfffc
const sendIndication = encodeMessageType(StunMethod.send, StunClass.indication)
/** Room for a port and an address. */
const plain = Buffer.alloc(18)

/** The key of an XOR-PEER-ADDRESS: cookie and transaction id, which lie in a row, mask it (RFC 8489 §14.2). */
function readPeer(bytes: Uint8Array, from: number, to: number): string | undefined {
  const size = to - from - 4
  if (bytes[from + 1] === 1 ? size !== 4 : bytes[from + 1] !== 2 || size !== 16) return undefined
  plain[0] = (bytes[from + 2] as number) ^ (bytes[4] as number)
  plain[1] = (bytes[from + 3] as number) ^ (bytes[5] as number)
  for (let at = 0; at < size; at++) {
    plain[2 + at] = (bytes[from + 4 + at] as number) ^ (bytes[4 + at] as number)
  }
  return plain.toString('latin1', 0, 2 + size)
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}
