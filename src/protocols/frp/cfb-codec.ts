import { createCipheriv, createDecipheriv, type Cipher, type Decipher } from 'node:crypto'
import type { ByteCodec } from './byte-codec.ts'

const algorithm = 'aes-128-cfb'
const ivBytes = 16

/**
 * frp's encryption of v1 control connections and of `useEncryption`: AES-128-CFB, the sender's random IV in front of its first
 * bytes. Nothing tells a changed byte from a right one; that is frp's.
 *
 * @param key see `cfbKey`
 * @param randomIv 16 random bytes, for this stream only
 */
export function cfbCodec(key: Uint8Array, randomIv: Uint8Array): ByteCodec {
  return new CfbCodec(key, randomIv)
}

class CfbCodec implements ByteCodec {
  readonly #key: Buffer
  readonly #ownIv: Buffer
  #cipher: Cipher | undefined
  #decipher: Decipher | undefined
  readonly #peerIv = Buffer.alloc(ivBytes)
  #peerIvLength = 0

  constructor(key: Uint8Array, randomIv: Uint8Array) {
    if (key.length !== 16 || randomIv.length !== ivBytes)
      throw new RangeError('key and IV must be 16 bytes each')
    this.#key = Buffer.from(key)
    this.#ownIv = Buffer.from(randomIv)
  }

  encode(bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return empty
    if (this.#cipher !== undefined) return this.#cipher.update(bytes)
    this.#cipher = createCipheriv(algorithm, this.#key, this.#ownIv)
    return Buffer.concat([this.#ownIv, this.#cipher.update(bytes)])
  }

  decode(bytes: Uint8Array): Uint8Array {
    if (this.#decipher !== undefined) return this.#decipher.update(bytes)
    const taken = bytes.subarray(0, ivBytes - this.#peerIvLength)
    this.#peerIv.set(taken, this.#peerIvLength)
    this.#peerIvLength += taken.length
    if (this.#peerIvLength < ivBytes) return empty
    this.#decipher = createDecipheriv(algorithm, this.#key, this.#peerIv)
    return this.#decipher.update(bytes.subarray(taken.length))
  }
}

const empty = new Uint8Array()
