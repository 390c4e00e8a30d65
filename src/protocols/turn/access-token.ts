import { createCipheriv, createDecipheriv } from 'node:crypto'
import { ByteReader, ByteWriter } from '../../foundation/bytes.ts'

/** Bytes of a token's nonce: what AES-GCM takes (RFC 5116 §5.1). */
const nonceBytes = 12

/** What an authorization server seals into an ACCESS-TOKEN (RFC 7635 §6.2). */
export interface AccessToken {
  /** The integrity key of the client's messages, as it is. 16 to 64 bytes; 20 for HMAC-SHA1. */
  readonly macKey: Uint8Array
  /** When it was made, in milliseconds since the Unix epoch. */
  readonly timestampMs: number
  /** For how long it is good, in seconds. */
  readonly lifetimeSeconds: number
}

/** Between whom a token is sealed. */
export interface AccessTokenSeal {
  /** The key that the authorization server shares with the TURN server: 16 bytes for A128GCM, 32 for A256GCM. */
  readonly key: Uint8Array
  /** Whom the token is for; authenticated with it. */
  readonly serverName: string
}

/**
 * Why bytes are no token: too few or too many, a nonce that is not of 12 bytes, a seal that was not made with this key
 * for this server, or a sealed part of another form.
 */
export type AccessTokenFault = 'length' | 'nonce' | 'seal' | 'form'

/**
 * Writes the value of ACCESS-TOKEN.
 *
 * @param nonce 12 bytes that the key has not been used with before
 * @throws RangeError for a key, MAC key or nonce of a wrong size
 */
export function encodeAccessToken(token: AccessToken, seal: AccessTokenSeal, nonce: Uint8Array): Buffer {
  const { macKey, timestampMs, lifetimeSeconds } = token
  if (nonce.length !== nonceBytes) {
    throw new RangeError(`the nonce of a token has 12 bytes, not ${nonce.length}`)
  }
  if (macKey.length < minMacKeyBytes || macKey.length > maxMacKeyBytes) {
    throw new RangeError(`the MAC key of a token has 16 to 64 bytes, not ${macKey.length}`)
  }
  const seconds = Math.floor(timestampMs / 1000)
  const open = new ByteWriter(maxOpenBytes)
    .u16(macKey.length)
    .bytes(macKey)
    .u16(Math.floor(seconds / 2 ** 32))
    .u32(seconds % 2 ** 32)
    .u16(Math.floor((timestampMs - seconds * 1000) * fractionsPerMs))
    .u32(lifetimeSeconds)
    .finish()
  const cipher = createCipheriv(cipherOf(seal.key), seal.key, nonce)
  cipher.setAAD(Buffer.from(seal.serverName, 'utf8'))
  const sealed = Buffer.concat([cipher.update(open), cipher.final()])
  return new ByteWriter(maxTokenBytes)
    .u16(nonce.length)
    .bytes(nonce)
    .bytes(sealed)
    .bytes(cipher.getAuthTag())
    .finish()
}

/**
 * Opens the value of ACCESS-TOKEN. Never throws for what is in `value`; whether the token is still good is for the caller
 * to say, who knows the time. The MAC key is a copy.
 *
 * @throws RangeError for a key that is not of 16 or 32 bytes
 */
export function decodeAccessToken(value: Uint8Array, seal: AccessTokenSeal): AccessToken | AccessTokenFault {
  const algorithm = cipherOf(seal.key)
  // Both bounds hold before anything is copied: coturn's stack overflow began with a nonce length (CVE-2026-43994).
  if (value.length < minTokenBytes || value.length > maxTokenBytes) return 'length'
  const reader = new ByteReader(value)
  if (reader.u16() !== nonceBytes) return 'nonce'
  const decipher = createDecipheriv(algorithm, seal.key, reader.bytes(nonceBytes))
  decipher.setAAD(Buffer.from(seal.serverName, 'utf8'))
  const sealed = reader.bytes(reader.remaining - tagBytes)
  decipher.setAuthTag(reader.bytes(tagBytes))
  try {
    return decodeOpened(Buffer.concat([decipher.update(sealed), decipher.final()]))
  } catch {
    return 'seal'
  }
}

function decodeOpened(open: Uint8Array): AccessToken | AccessTokenFault {
  const reader = new ByteReader(open)
  const macKey = reader.bytes(reader.u16())
  const seconds = reader.u16() * 2 ** 32 + reader.u32()
  const fraction = reader.u16()
  const lifetimeSeconds = reader.u32()
  if (reader.failed || reader.remaining > 0) return 'form'
  if (macKey.length < minMacKeyBytes || macKey.length > maxMacKeyBytes) return 'form'
  const timestampMs = seconds * 1000 + Math.floor(fraction / fractionsPerMs)
  return { macKey: Uint8Array.from(macKey), timestampMs, lifetimeSeconds }
}

const tagBytes = 16
/** RFC 7635 §4.1.1 has keys of HMAC-SHA1 and HMAC-SHA-256-128; clients use up to HMAC-SHA-512's 64. */
const minMacKeyBytes = 16
const maxMacKeyBytes = 64
/** RFC 7635 §6.2: the last 16 bits of the timestamp count fractions of 1/64000 of a second. */
const fractionsPerMs = 64

const openBytesBesidesKey = 2 + 8 + 4
const maxOpenBytes = openBytesBesidesKey + maxMacKeyBytes
const tokenBytesBesidesOpen = 2 + nonceBytes + tagBytes
const minTokenBytes = tokenBytesBesidesOpen + openBytesBesidesKey + minMacKeyBytes
const maxTokenBytes = tokenBytesBesidesOpen + maxOpenBytes

function cipherOf({ length }: Uint8Array): 'aes-128-gcm' | 'aes-256-gcm' {
  if (length === 16) return 'aes-128-gcm'
  if (length === 32) return 'aes-256-gcm'
  throw new RangeError(`a key that seals tokens has 16 or 32 bytes, not ${length}`)
}
