import { createCipheriv, createDecipheriv } from 'node:crypto'
import { type DtlsRecord, DtlsVersion, recordHeaderBytes, writeRecordHeader } from './dtls-record.ts'

/** What protects one direction: an AES-128 key and the part of the nonce that stays. */
export interface RecordKey {
  /** 16 bytes. */
  readonly key: Uint8Array
  /** 4 bytes. */
  readonly salt: Uint8Array
}

export interface RecordCipherOptions {
  readonly read: RecordKey
  readonly write: RecordKey
  /** Of the first record that is sealed; a nonce must never come twice. */
  readonly nextSequence: number
}

/**
 * Seals and opens the records of epoch 1 with AES-128-GCM (RFC 5288), each of the client's once (RFC 6347 §4.1.2.6).
 *
 * It is ours rather than werift's since werift takes records again that somebody repeats, and begins to count at 1 after a
 * Finished that was perhaps number 7, so that a nonce comes twice and clients throw that record away.
 */
export class RecordCipher {
  readonly #read: RecordKey
  readonly #write: RecordKey
  /** Sequences that were opened, each in the slot of its remainder. */
  readonly #opened = new Float64Array(windowRecords).fill(-1)
  #highest = -1
  #nextSequence: number

  constructor({ read, write, nextSequence }: RecordCipherOptions) {
    this.#read = read
    this.#write = write
    this.#nextSequence = nextSequence
  }

  /** The plaintext, which is the caller's; undefined for what is forged, repeated or too old. Never throws. */
  open({ type, epoch, sequence, body }: DtlsRecord): Buffer | undefined {
    if (epoch !== 1 || body.length < explicitNonceBytes + tagBytes) return undefined
    const slot = sequence % windowRecords
    if (sequence <= this.#highest - windowRecords || this.#opened[slot] === sequence) return undefined
    const { key, salt } = this.#read
    nonce.set(salt)
    nonce.set(body.subarray(0, explicitNonceBytes), salt.length)
    const tagAt = body.length - tagBytes
    const decipher = createDecipheriv('aes-128-gcm', key, nonce, { authTagLength: tagBytes })
    decipher.setAAD(aadOf(type, sequence, tagAt - explicitNonceBytes))
    decipher.setAuthTag(body.subarray(tagAt))
    const plaintext = decipher.update(body.subarray(explicitNonceBytes, tagAt))
    try {
      decipher.final()
    } catch {
      return undefined
    }
    this.#opened[slot] = sequence
    this.#highest = Math.max(this.#highest, sequence)
    return plaintext
  }

  /** A whole record; undefined when the plaintext is longer than one carries. */
  seal(type: number, plaintext: Uint8Array): Buffer | undefined {
    if (plaintext.length > maxPlaintextBytes) return undefined
    const sequence = this.#nextSequence++
    const bodyBytes = explicitNonceBytes + plaintext.length + tagBytes
    const record = Buffer.allocUnsafe(recordHeaderBytes + bodyBytes)
    writeRecordHeader(record, { type, version: DtlsVersion.v12, epoch: 1, sequence, length: bodyBytes })
    // Epoch and sequence, as they are in the header.
    record.copy(record, recordHeaderBytes, 3, 3 + explicitNonceBytes)
    const { key, salt } = this.#write
    nonce.set(salt)
    nonce.set(record.subarray(3, 3 + explicitNonceBytes), salt.length)
    const cipher = createCipheriv('aes-128-gcm', key, nonce, { authTagLength: tagBytes })
    cipher.setAAD(aadOf(type, sequence, plaintext.length))
    const textAt = recordHeaderBytes + explicitNonceBytes
    record.set(cipher.update(plaintext), textAt)
    cipher.final()
    record.set(cipher.getAuthTag(), textAt + plaintext.length)
    return record
  }
}

const explicitNonceBytes = 8
const tagBytes = 16
const maxPlaintextBytes = 2 ** 14
/** How far behind the newest a record may be. */
const windowRecords = 64
const nonce = Buffer.alloc(12)
const aad = Buffer.alloc(13)

/** What is authenticated besides (RFC 5246 §6.2.3.3). */
function aadOf(type: number, sequence: number, length: number): Buffer {
  aad.writeUInt16BE(1, 0)
  aad.writeUIntBE(sequence, 2, 6)
  aad[8] = type
  aad.writeUInt16BE(DtlsVersion.v12, 9)
  aad.writeUInt16BE(length, 11)
  return aad
}
