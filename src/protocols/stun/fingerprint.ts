import { crc32 } from 'node:zlib'
import type { StunMessage } from './message.ts'

/**
 * Whether FINGERPRINT is there and right (RFC 8489 §14.7). It tells STUN from other protocols on one
 * port; it proves nothing about the sender.
 */
export function verifyFingerprint(message: StunMessage): boolean {
  const offset = message.fingerprintOffset
  if (offset === undefined) return false
  const { bytes } = message
  const found = new DataView(bytes.buffer, bytes.byteOffset + offset + 4, 4).getUint32(0)
  return found === fingerprintOf(bytes.subarray(0, offset))
}

/** The value for the bytes before the attribute; their length field already counts it. */
export function fingerprintOf(bytes: Uint8Array): number {
  return (crc32(bytes) ^ 0x5354554e) >>> 0
}
