import { ipToBytes } from '../../foundation/ip-text.ts'
import { reverseWords } from './words.ts'

/** The 16 bytes that stand for an address in a handshake: 127.0.0.1 is `01 00 00 7f` and zeros. */
export function peerIpBytes(address: string): Uint8Array {
  const bytes = new Uint8Array(16)
  const ip = ipToBytes(address.replace(/%.*$/, ''))
  if (ip !== undefined) bytes.set(reverseWords(ip))
  return bytes
}
