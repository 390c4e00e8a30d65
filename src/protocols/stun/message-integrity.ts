import { createHash, hash as hashOf, timingSafeEqual } from 'node:crypto'
import { type StunMessage, stunHeaderBytes } from './message.ts'

/** The hash under an integrity attribute or a long-term key. */
export type IntegrityHash = 'sha1' | 'sha256'

/**
 * Whether MESSAGE-INTEGRITY is there and was made with `key` (RFC 8489 §14.5). The bytes of the message
 * are left as they are; the compare takes the same time wherever they differ.
 *
 * `key` is the password's UTF-8 bytes for short-term credentials such as ICE, `longTermKey(...)` otherwise.
 */
export function verifyMessageIntegrity(message: StunMessage, key: Uint8Array): boolean {
  return verify(message, message.integrityOffset, 'sha1', key)
}

/** Whether MESSAGE-INTEGRITY-SHA256, whole or truncated, is there and was made with `key` (RFC 8489 §14.6). */
export function verifyMessageIntegritySha256(message: StunMessage, key: Uint8Array): boolean {
  return verify(message, message.integritySha256Offset, 'sha256', key)
}

/**
 * The HMAC over a message whose integrity attribute begins at `offset` and has a value of `valueBytes`.
 * RFC 8489 §14.5: the length field counts up to and including this attribute, so it is patched, in a copy
 * of the header, before hashing.
 */
export function integrityDigest(
  bytes: Uint8Array,
  offset: number,
  valueBytes: number,
  hash: IntegrityHash,
  key: Uint8Array,
): Buffer {
  const length = blockBytes + offset
  inner.set(bytes.subarray(0, offset), blockBytes)
  inner.writeUInt16BE(offset + 4 + valueBytes - stunHeaderBytes, blockBytes + 2)
  return hmac(hash, key, length)
}

/**
 * HMAC (RFC 2104) of what stands in `inner` behind the first block, up to `length`. Two hashes in one call each cost a third
 * of what `createHmac` does for a message of this size; buffers that are used again and digests as texts spare the rest
 * of it, which is collecting garbage.
 */
function hmac(hash: IntegrityHash, key: Uint8Array, length: number): Buffer {
  const short = key.length > blockBytes ? createHash(hash).update(key).digest() : key
  inner.fill(innerPad, 0, blockBytes)
  outer.fill(outerPad, 0, blockBytes)
  for (let i = 0; i < short.length; i++) {
    const byte = short[i] as number
    inner[i] = byte ^ innerPad
    outer[i] = byte ^ outerPad
  }
  const digestBytes = outer.write(hashOf(hash, inner.subarray(0, length), 'binary'), blockBytes, 'latin1')
  return Buffer.from(hashOf(hash, outer.subarray(0, blockBytes + digestBytes), 'binary'), 'latin1')
}

/** Of SHA-1 and SHA-256 alike. */
const blockBytes = 64
const innerPad = 0x36
const outerPad = 0x5c
const inner = Buffer.alloc(blockBytes + stunHeaderBytes + 0xffff)
const outer = Buffer.alloc(blockBytes + 32)

/**
 * The key of long-term credentials (RFC 8489 §9.2.2 and §18.5.1): MD5 with `sha1` integrity or where
 * PASSWORD-ALGORITHM says so, else SHA-256. The texts are already prepared (OpaqueString).
 */
export function longTermKey(
  username: string,
  realm: string,
  password: string,
  algorithm: 'md5' | 'sha256' = 'md5',
): Buffer {
  return createHash(algorithm).update(`${username}:${realm}:${password}`, 'utf8').digest()
}

/** The USERHASH of a user (RFC 8489 §14.4). */
export function userhash(username: string, realm: string): Buffer {
  return createHash('sha256').update(`${username}:${realm}`, 'utf8').digest()
}

function verify(
  message: StunMessage,
  offset: number | undefined,
  hash: IntegrityHash,
  key: Uint8Array,
): boolean {
  if (offset === undefined) return false
  const { bytes } = message
  // Decoding has checked the size: 20 for SHA-1, 16 to 32 for a possibly truncated SHA-256.
  const length = ((bytes[offset + 2] ?? 0) << 8) | (bytes[offset + 3] ?? 0)
  const expected = integrityDigest(bytes, offset, length, hash, key).subarray(0, length)
  return timingSafeEqual(expected, bytes.subarray(offset + 4, offset + 4 + length))
}
