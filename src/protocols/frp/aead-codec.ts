import { createCipheriv, createDecipheriv } from 'node:crypto'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import type { ByteCodec } from './byte-codec.ts'
import { ByteQueue } from './byte-queue.ts'
import { FrpError, FrpErrorCode } from './errors.ts'
import { aeadKey } from './keys.ts'

/** Ciphers of a v2 control connection, in the order in which we offer them: every processor of today has AES. */
export const aeadAlgorithms = ['aes-256-gcm', 'xchacha20-poly1305'] as const

export type AeadAlgorithm = (typeof aeadAlgorithms)[number]

/** What an `aeadCodec` is made of. */
export interface AeadCodecOptions {
  readonly algorithm: AeadAlgorithm
  readonly token: string
  /** See `transcriptHash`. */
  readonly transcript: Uint8Array
  readonly role: 'client' | 'server'
  /** Random bytes for this connection only, `aeadNonceBytes` long. */
  readonly nonce: Uint8Array
}

/** How long the random start of an `aeadCodec` is. */
export function aeadNonceBytes(algorithm: AeadAlgorithm): number {
  return algorithm === 'aes-256-gcm' ? 12 : 24
}

/**
 * The encryption of v2 control connections: each side's random nonce, then records of a length and an authenticated
 * ciphertext. A record that was changed, left out, repeated or moved is an error of `decode`.
 */
export function aeadCodec(options: AeadCodecOptions): ByteCodec {
  return new AeadCodec(options)
}

const tagBytes = 16
const lengthBytes = 4
const mostPlainBytes = 65_536

/** GCM's strength ends there; the other cipher has no end. */
const mostGcmRecords = 2 ** 32

class AeadCodec implements ByteCodec {
  readonly #nonce: Buffer
  readonly #sealing: RecordCipher
  readonly #openingKey: Buffer
  readonly #algorithm: AeadAlgorithm
  readonly #queue = new ByteQueue()
  #isNonceSent = false
  #opening: RecordCipher | undefined

  constructor({ algorithm, token, transcript, role, nonce }: AeadCodecOptions) {
    if (nonce.length !== aeadNonceBytes(algorithm)) throw new RangeError('a nonce of another length')
    const [own, peer] =
      role === 'client'
        ? (['client-to-server', 'server-to-client'] as const)
        : (['server-to-client', 'client-to-server'] as const)
    this.#algorithm = algorithm
    this.#nonce = Buffer.from(nonce)
    this.#sealing = new RecordCipher(algorithm, aeadKey(algorithm, own, token, transcript), this.#nonce)
    this.#openingKey = aeadKey(algorithm, peer, token, transcript)
  }

  encode(bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return new Uint8Array()
    const parts: Uint8Array[] = this.#isNonceSent ? [] : [this.#nonce]
    this.#isNonceSent = true
    for (let from = 0; from < bytes.length; from += mostPlainBytes) {
      const plain = bytes.subarray(from, from + mostPlainBytes)
      const length = Buffer.alloc(lengthBytes)
      length.writeUInt32BE(plain.length + tagBytes)
      parts.push(length, this.#sealing.seal(plain, length))
    }
    return Buffer.concat(parts)
  }

  decode(bytes: Uint8Array): Uint8Array {
    const queue = this.#queue
    queue.push(bytes)
    if (this.#opening === undefined) {
      const nonceBytes = aeadNonceBytes(this.#algorithm)
      if (queue.length < nonceBytes) return new Uint8Array()
      this.#opening = new RecordCipher(this.#algorithm, this.#openingKey, queue.view(0, nonceBytes))
      queue.skip(nonceBytes)
    }
    const parts: Uint8Array[] = []
    while (queue.length >= lengthBytes) {
      const length = queue.u32(0)
      if (length < tagBytes || length > mostPlainBytes + tagBytes) {
        throw new FrpError(FrpErrorCode.cipher, `an encrypted record of ${length} bytes`)
      }
      if (queue.length < lengthBytes + length) break
      parts.push(this.#opening.open(queue.view(lengthBytes, length), queue.view(0, lengthBytes)))
      queue.skip(lengthBytes + length)
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
  }
}

/** One direction: key, and the nonce of the next record. */
class RecordCipher {
  readonly #algorithm: AeadAlgorithm
  readonly #key: Buffer
  readonly #firstNonce: Buffer
  readonly #nonce: Buffer
  #records = 0

  constructor(algorithm: AeadAlgorithm, key: Buffer, nonce: Uint8Array) {
    this.#algorithm = algorithm
    this.#key = key
    this.#firstNonce = Buffer.from(nonce)
    this.#nonce = Buffer.from(nonce)
  }

  seal(plain: Uint8Array, length: Uint8Array): Uint8Array {
    this.#count()
    const additional = Buffer.concat([this.#firstNonce, length])
    const sealed =
      this.#algorithm === 'aes-256-gcm'
        ? this.#sealGcm(plain, additional)
        : this.#xchacha(additional).encrypt(plain)
    this.#advance()
    return sealed
  }

  open(sealed: Uint8Array, length: Uint8Array): Uint8Array {
    this.#count()
    const additional = Buffer.concat([this.#firstNonce, length])
    try {
      const plain =
        this.#algorithm === 'aes-256-gcm'
          ? this.#openGcm(sealed, additional)
          : this.#xchacha(additional).decrypt(sealed)
      this.#advance()
      return plain
    } catch (cause) {
      throw new FrpError(
        FrpErrorCode.cipher,
        'an encrypted record is not what was sent, or of another token',
        { cause },
      )
    }
  }

  #sealGcm(plain: Uint8Array, additional: Buffer): Buffer {
    const cipher = createCipheriv('aes-256-gcm', this.#key, this.#nonce).setAAD(additional)
    return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  }

  #openGcm(sealed: Uint8Array, additional: Buffer): Buffer {
    const end = sealed.length - tagBytes
    const decipher = createDecipheriv('aes-256-gcm', this.#key, this.#nonce, { authTagLength: tagBytes })
      .setAAD(additional)
      .setAuthTag(sealed.subarray(end))
    return Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()])
  }

  #xchacha(additional: Buffer): ReturnType<typeof xchacha20poly1305> {
    return xchacha20poly1305(this.#key, this.#nonce, additional)
  }

  #count(): void {
    this.#records++
    if (this.#algorithm === 'aes-256-gcm' && this.#records > mostGcmRecords) {
      throw new FrpError(FrpErrorCode.cipher, `more than ${mostGcmRecords} records under one key`)
    }
  }

  /** One big-endian number; frp ends a stream whose number would begin anew, which takes longer than anyone waits. */
  #advance(): void {
    for (let at = this.#nonce.length - 1; at >= 0; at--) {
      const next = ((this.#nonce[at] ?? 0) + 1) & 0xff
      this.#nonce[at] = next
      if (next !== 0) return
    }
    throw new FrpError(FrpErrorCode.cipher, 'the nonces of a connection are used up')
  }
}
