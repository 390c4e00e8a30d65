import { SipHash } from './siphash.ts'

/** What of RFC 8489 challenges offer: nothing, MESSAGE-INTEGRITY-SHA256, or that and USERHASH. */
export type Security = 'none' | 'sha256' | 'anonymity'

/**
 * Nonces without memory (RFC 8489 §9.2): seconds of the epoch and a keyed hash of them and the client's address and port,
 * so that a nonce is worth nothing to anybody else. Gateways with the same key take each other's.
 */
export class Nonces {
  /** Bytes of a nonce; every one of them amplifies. */
  readonly length: number
  readonly #hash: SipHash
  readonly #lifetimeSeconds: number
  readonly #cookie: Uint8Array
  readonly #input = new Uint8Array(64)
  readonly #sealed = new Uint8Array(sealedBytes)

  /** @param key 16 bytes */
  constructor(key: Uint8Array, lifetimeSeconds: number, security: Security) {
    this.#hash = new SipHash(key)
    this.#lifetimeSeconds = lifetimeSeconds
    this.#cookie = Buffer.from(cookies[security], 'latin1')
    this.length = this.#cookie.length + textBytes
  }

  /** Writes the nonce of a client. */
  write(into: Uint8Array, offset: number, address: string, port: number, wallMs: number): void {
    this.#seal(Math.floor(wallMs / 1000), address, port)
    into.set(this.#cookie, offset)
    let at = offset + this.#cookie.length
    for (let i = 0; i < sealedBytes; i += 3) {
      const bits =
        ((this.#sealed[i] as number) << 16) |
        ((this.#sealed[i + 1] as number) << 8) |
        (this.#sealed[i + 2] as number)
      into[at++] = alphabet[bits >>> 18] as number
      into[at++] = alphabet[(bits >>> 12) & 63] as number
      into[at++] = alphabet[(bits >>> 6) & 63] as number
      into[at++] = alphabet[bits & 63] as number
    }
  }

  /** Whether the nonce is ours, was given to this client and is not too old. */
  isGood(nonce: Uint8Array, address: string, port: number, wallMs: number): boolean {
    if (nonce.length !== this.length) return false
    for (let i = 0; i < this.#cookie.length; i++) if (nonce[i] !== this.#cookie[i]) return false
    const seconds = timeOf(nonce, this.#cookie.length)
    const age = Math.floor(wallMs / 1000) - seconds
    // Another gateway's clock may be a little ahead.
    if (age > this.#lifetimeSeconds || age < -clockSkewSeconds) return false
    this.write(expected, 0, address, port, seconds * 1000)
    let difference = 0
    for (let i = 0; i < this.length; i++) difference |= (nonce[i] as number) ^ (expected[i] as number)
    return difference === 0
  }

  #seal(seconds: number, address: string, port: number): void {
    const sealed = this.#sealed
    putU32(sealed, 0, seconds)
    const input = this.#input
    putU32(input, 0, seconds)
    input[4] = port >>> 8
    input[5] = port & 0xff
    let length = 6
    for (let i = 0; i < address.length && length < input.length; i++) input[length++] = address.charCodeAt(i)
    this.#hash.hash(input, length)
    putU32(sealed, 4, this.#hash.high)
    putU32(sealed, 8, this.#hash.low)
  }
}

/** Time and hash. */
const sealedBytes = 12
/** The same in base64url. */
const textBytes = 16
const clockSkewSeconds = 5
const expected = new Uint8Array(64)

/**
 * RFC 8489 §9.2 and §18.1: a fixed text, then 24 feature bits in base64, of which the first is password algorithms and
 * the second username anonymity.
 */
const cookies: Readonly<Record<Security, string>> = {
  none: '',
  sha256: 'obMatJos2gAAA',
  anonymity: 'obMatJos2wAAA',
}

const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_', 'latin1')

const digits = new Uint8Array(256)
for (const [digit, character] of alphabet.entries()) digits[character] = digit

/** The time in the first six characters of a nonce's text; of characters that are none of the alphabet, any number. */
function timeOf(nonce: Uint8Array, at: number): number {
  let value = 0
  for (let i = 0; i < 5; i++) value = value * 64 + (digits[nonce[at + i] as number] as number)
  return value * 4 + ((digits[nonce[at + 5] as number] as number) >>> 4)
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = (value >>> 16) & 0xff
  bytes[at + 2] = (value >>> 8) & 0xff
  bytes[at + 3] = value & 0xff
}
