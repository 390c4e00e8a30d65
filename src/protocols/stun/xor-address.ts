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
  return decode(value, transactionId)
}

/** Reads the plain form, as in MAPPED-ADDRESS, ALTERNATE-SERVER and OTHER-ADDRESS (RFC 8489 §14.1). */
export function decodeAddress(value: Uint8Array): TransportAddress | undefined {
  return decode(value, undefined)
}

/** Writes the XOR form. @throws RangeError for a text that is no IP address (misuse) */
export function encodeXorAddress(address: TransportAddress, transactionId: Uint8Array): Uint8Array {
  return encode(address, transactionId)
}

/** Writes the plain form. @throws RangeError for a text that is no IP address (misuse) */
export function encodeAddress(address: TransportAddress): Uint8Array {
  return encode(address, undefined)
}

/** Without a transaction id nothing is masked. */
function decode(value: Uint8Array, transactionId: Uint8Array | undefined): TransportAddress | undefined {
  const family = value[1]
  const size = family === 1 ? 4 : family === 2 ? 16 : 0
  if (size === 0 || value.length !== headBytes + size) return undefined
  const plain = new Uint8Array(value)
  mask(plain, transactionId)
  const port = ((plain[2] as number) << 8) | (plain[3] as number)
  return { address: ipToText(plain.subarray(headBytes)), port }
}

function encode({ address, port }: TransportAddress, transactionId: Uint8Array | undefined): Uint8Array {
  const ip = ipToBytes(address)
  if (ip === undefined) throw new RangeError(`not an IP address: ${address}`)
  const value = new Uint8Array(headBytes + ip.length)
  value[1] = ip.length === 4 ? 1 : 2
  value[2] = port >>> 8
  value[3] = port & 0xff
  value.set(ip, headBytes)
  mask(value, transactionId)
  return value
}

/** XORs the address with cookie ‖ transaction id, and the port with the first half of the cookie. */
function mask(value: Uint8Array, transactionId: Uint8Array | undefined): void {
  if (transactionId === undefined) return
  value[2] = (value[2] as number) ^ cookieBytes[0]
  value[3] = (value[3] as number) ^ cookieBytes[1]
  for (let i = headBytes; i < value.length; i++) {
    const at = i - headBytes
    value[i] = (value[i] as number) ^ (cookieBytes[at] ?? transactionId[at - 4] ?? 0)
  }
}

/** A zero, the family and the port come before the address. */
const headBytes = 4
