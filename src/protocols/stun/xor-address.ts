import { ipToBytes, ipToText } from '../../foundation/ip-text.ts'

/** An IP address as text and a port. */
export interface TransportAddress {
  readonly address: string
  readonly port: number
}

/** Bytes 4 to 7 of every message: the first part of the XOR mask. */
const cookieBytes = [0x21, 0x12, 0xa4, 0x42] as const

/**
 * Reads XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS or XOR-RELAYED-ADDRESS (RFC 8489 §14.2); `undefined` when
 * the value is malformed. `transactionId` is that of the message.
 */
export function decodeXorAddress(value: Uint8Array, transactionId: Uint8Array): TransportAddress | undefined {
  return decode(value, (i) => maskByte(i, transactionId))
}

/** Reads the plain form, as in MAPPED-ADDRESS, ALTERNATE-SERVER and OTHER-ADDRESS (RFC 8489 §14.1). */
export function decodeAddress(value: Uint8Array): TransportAddress | undefined {
  return decode(value, () => 0)
}

/** Writes the XOR form. @throws RangeError for a text that is no IP address (misuse) */
export function encodeXorAddress(address: TransportAddress, transactionId: Uint8Array): Uint8Array {
  return encode(address, (i) => maskByte(i, transactionId))
}

/** Writes the plain form. @throws RangeError for a text that is no IP address (misuse) */
export function encodeAddress(address: TransportAddress): Uint8Array {
  return encode(address, () => 0)
}

function decode(value: Uint8Array, mask: (index: number) => number): TransportAddress | undefined {
  const family = value[1]
  const size = family === 1 ? 4 : family === 2 ? 16 : 0
  if (size === 0 || value.length !== 4 + size) return undefined
  const port = (((value[2] ?? 0) ^ mask(0)) << 8) | ((value[3] ?? 0) ^ mask(1))
  const address = value.slice(4).map((byte, i) => byte ^ mask(i))
  return { address: ipToText(address), port }
}

function encode({ address, port }: TransportAddress, mask: (index: number) => number): Uint8Array {
  const ip = ipToBytes(address)
  if (ip === undefined) throw new RangeError(`not an IP address: ${address}`)
  const head = [0, ip.length === 4 ? 1 : 2, (port >>> 8) ^ mask(0), (port & 0xff) ^ mask(1)]
  return Uint8Array.from([...head, ...Array.from(ip, (byte, i) => byte ^ mask(i))])
}

/** Byte `index` of cookie ‖ transaction id. */
function maskByte(index: number, transactionId: Uint8Array): number {
  return cookieBytes[index] ?? transactionId[index - 4] ?? 0
}
