import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

/** First byte of what is sealed: AES-256-GCM with a nonce of 12 bytes before it and the tag of 16 behind. */
const VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
const CIPHER = 'aes-256-gcm'
const MAX_SEALED_LENGTH = 64 * 1024

/**
 * Seals texts that must be kept where others can read them and write. The key is derived from a secret that all gateways
 * have and from a purpose, so that what is sealed for one purpose cannot be opened for another. Nonces are random: after
 * 2^32 texts of one secret the odds that two were sealed with the same are 1 to 2^33.
 */
export class Sealer {
  readonly #key: Buffer

  constructor(secret: string, purpose: string) {
    this.#key = Buffer.from(hkdfSync('sha256', secret, '', `sluice sealed ${purpose}`, 32))
  }

  /** In base64url. Only whoever names the same `context` can open it: it cannot be put in the place of another. */
  seal(text: string, context: string): string {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(Buffer.from(context))
    return Buffer.concat([
      Buffer.of(VERSION),
      nonce,
      cipher.update(text, 'utf8'),
      cipher.final(),
      cipher.getAuthTag(),
    ]).toString('base64url')
  }

  /** Undefined for what was not sealed with this secret, purpose and context. */
  open(sealed: string, context: string): string | undefined {
    if (sealed.length > MAX_SEALED_LENGTH) return undefined
    const bytes = Buffer.from(sealed, 'base64url')
    if (bytes[0] !== VERSION || bytes.length < 1 + NONCE_BYTES + TAG_BYTES) return undefined
    const decipher = createDecipheriv(CIPHER, this.#key, bytes.subarray(1, 1 + NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(Buffer.from(context))
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
    const text = decipher.update(bytes.subarray(1 + NONCE_BYTES, -TAG_BYTES))
    try {
      decipher.final()
    } catch {
      return undefined
    }
    return text.toString()
  }
}
