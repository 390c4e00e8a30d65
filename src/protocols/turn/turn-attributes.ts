import {
  decodeErrorCode,
  decodeXorAddress,
  StunAttribute,
  type StunMessage,
  type TransportAddress,
} from '../stun/index.ts'

/** The numbers of REQUESTED-TRANSPORT: those of IP (RFC 8656 §18.7, RFC 6062 §6.1). */
export const RelayTransport = { udp: 17, tcp: 6 } as const

/** The numbers of address families (RFC 8489 §14.1, RFC 8656 §18.6). */
export const AddressFamily = { ipv4: 1, ipv6: 2 } as const
export type AddressFamily = (typeof AddressFamily)[keyof typeof AddressFamily]

/** The value of REQUESTED-TRANSPORT (RFC 8656 §18.7). */
export function encodeRequestedTransport(protocol: number): Uint8Array {
  return Uint8Array.of(protocol, 0, 0, 0)
}

/** Undefined when it is no four bytes. */
export function decodeRequestedTransport(value: Uint8Array): number | undefined {
  return value.length === 4 ? value[0] : undefined
}

/** The value of REQUESTED- and ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.6, §18.11). */
export function encodeAddressFamily(family: AddressFamily): Uint8Array {
  return Uint8Array.of(family, 0, 0, 0)
}

/** The family's number, known or not; undefined when the value is no four bytes. */
export function decodeAddressFamily(value: Uint8Array): number | undefined {
  return value.length === 4 ? value[0] : undefined
}

/** The value of EVEN-PORT (RFC 8656 §18.5). */
export function encodeEvenPort(reserveNext: boolean): Uint8Array {
  return Uint8Array.of(reserveNext ? 0x80 : 0)
}

/** Whether the next port is to be reserved; undefined when the value is empty. */
export function decodeEvenPort(value: Uint8Array): boolean | undefined {
  return value[0] === undefined ? undefined : (value[0] & 0x80) !== 0
}

/** The value of CHANNEL-NUMBER (RFC 8656 §18.1). */
export function encodeChannelNumber(channel: number): Uint8Array {
  return Uint8Array.of(channel >>> 8, channel & 0xff, 0, 0)
}

export function decodeChannelNumber(value: Uint8Array): number | undefined {
  return value.length === 4 ? ((value[0] as number) << 8) | (value[1] as number) : undefined
}

/** What ADDRESS-ERROR-CODE says of the family that could not be had (RFC 8656 §18.12). */
export interface AddressErrorCode {
  readonly family: AddressFamily
  readonly code: number
}

export function encodeAddressErrorCode({ family, code }: AddressErrorCode): Uint8Array {
  return Uint8Array.of(family, 0, Math.floor(code / 100), code % 100)
}

/** Undefined when it is too short, or its family or number is none. */
export function decodeAddressErrorCode(value: Uint8Array): AddressErrorCode | undefined {
  const [family] = value
  // Behind the family it is an ERROR-CODE.
  const error = decodeErrorCode(value)
  if (error === undefined || (family !== AddressFamily.ipv4 && family !== AddressFamily.ipv6))
    return undefined
  return { family, code: error.code }
}

/** An ICMP error as a client is told of it (RFC 8656 §18.13). */
export interface IcmpReport {
  readonly type: number
  readonly code: number
  /** The MTU, of errors that say one; else 0. */
  readonly data: number
}

export function encodeIcmp({ type, code, data }: IcmpReport): Uint8Array {
  const value = Buffer.alloc(8)
  value.writeUInt16BE(((type & 0x7f) << 9) | (code & 0x1ff), 2)
  value.writeUInt32BE(data, 4)
  return value
}

export function decodeIcmp(value: Uint8Array): IcmpReport | undefined {
  if (value.length !== 8) return undefined
  const view = new DataView(value.buffer, value.byteOffset, 8)
  return { type: view.getUint16(2) >>> 9, code: view.getUint16(2) & 0x1ff, data: view.getUint32(4) }
}

/** XOR-PEER-ADDRESS, the first; `undefined` when there is none or it is malformed. */
export function peerAddress(message: StunMessage): TransportAddress | undefined {
  const value = message.attribute(StunAttribute.xorPeerAddress)
  return value === undefined ? undefined : decodeXorAddress(value, message.transactionId)
}

/** All XOR-PEER-ADDRESS in their order; `undefined` when one is malformed (RFC 8656 §10.2). */
export function peerAddresses(message: StunMessage): readonly TransportAddress[] | undefined {
  const peers: TransportAddress[] = []
  for (const { type, value } of message.attributes()) {
    if (type !== StunAttribute.xorPeerAddress) continue
    const peer = decodeXorAddress(value, message.transactionId)
    if (peer === undefined) return undefined
    peers.push(peer)
  }
  return peers
}
