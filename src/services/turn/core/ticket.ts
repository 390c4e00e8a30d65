import { createCipheriv, createDecipheriv } from 'node:crypto'

/** What a mobility ticket says. */
export interface Ticket {
  /** Its id, 16 hexadecimal digits. */
  readonly allocation: string
  readonly number: number
}

/**
 * Mobility tickets (RFC 8016 §3.1): sealed with AES-256-GCM, so that nobody can guess or make one. They have 32 bytes, the
 * most that clients of coturn take.
 */
export class Tickets {
  readonly #key: Uint8Array
  readonly #random: (bytes: number) => Uint8Array

  /** @param key 32 bytes */
  constructor(key: Uint8Array, random: (bytes: number) => Uint8Array) {
    this.#key = key
    this.#random = random
  }

  /** Never with a zero among its bytes: coturn's clients keep tickets as texts that end there. */
  seal(ticket: Ticket): Uint8Array {
    let sealed = this.#seal(ticket)
    for (let tries = 0; sealed.includes(0) && tries < maxTries; tries++) sealed = this.#seal(ticket)
    return sealed
  }

  #seal({ allocation, number }: Ticket): Uint8Array {
    const nonce = this.#random(nonceBytes)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: tagBytes })
    const plain = Buffer.alloc(plainBytes)
    plain.writeUInt32BE(number)
    plain.write(allocation, numberBytes, 'hex')
    return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  }

  /** Undefined when it is none of ours. */
  open(sealed: Uint8Array): Ticket | undefined {
    if (sealed.length !== nonceBytes + plainBytes + tagBytes) return undefined
    const nonce = sealed.subarray(0, nonceBytes)
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: tagBytes })
    decipher.setAuthTag(sealed.subarray(-tagBytes))
    try {
      const plain = Buffer.concat([decipher.update(sealed.subarray(nonceBytes, -tagBytes)), decipher.final()])
      return { number: plain.readUInt32BE(), allocation: plain.toString('hex', numberBytes) }
    } catch {
      return undefined
    }
  }
}

/** One in nine has a zero. */
const maxTries = 32
const nonceBytes = 12
const tagBytes = 8
const numberBytes = 4
/** The number, and the 8 bytes that name an allocation. */
const plainBytes = numberBytes + 8
