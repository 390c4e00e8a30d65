import { isComprehensionRequired, StunAttribute } from './attribute-type.ts'
import { classOf, methodOf, type StunClass } from './message-type.ts'

/** Bytes of the STUN header (RFC 8489 §5). */
export const stunHeaderBytes = 20

/** The constant in bytes 4 to 7 of every message (RFC 8489 §5). */
export const stunMagicCookie = 0x2112a442

/**
 * Why bytes are no STUN message: fewer than a header, another protocol (top bits or cookie), a length
 * field that is no multiple of 4 or does not fit the bytes, an attribute that runs past the end, an
 * integrity or fingerprint attribute of a wrong size, or an attribute behind the fingerprint.
 */
export type StunFault =
  | 'short'
  | 'not-stun'
  | 'length'
  | 'attribute-overrun'
  | 'attribute-size'
  | 'after-fingerprint'

/** One attribute: its type and a view of its value, without padding. */
export interface StunAttributeView {
  readonly type: number
  readonly value: Uint8Array
}

/**
 * A received STUN message, as views over the received bytes: valid as long as they are, and copied by
 * whoever keeps them. Nothing is allocated per attribute. Attributes that stand behind an integrity
 * attribute are not shown, since nobody vouches for them (RFC 8489 §14.5, §14.6).
 */
export class StunMessage {
  readonly bytes: Uint8Array
  readonly type: number
  /** Where MESSAGE-INTEGRITY begins. */
  readonly integrityOffset: number | undefined
  /** Where MESSAGE-INTEGRITY-SHA256 begins. */
  readonly integritySha256Offset: number | undefined
  /** Where FINGERPRINT begins. */
  readonly fingerprintOffset: number | undefined
  readonly #visibleEnd: number

  private constructor(bytes: Uint8Array, marks: Marks) {
    this.bytes = bytes
    this.type = u16(bytes, 0)
    this.integrityOffset = marks.integrity
    this.integritySha256Offset = marks.integritySha256
    this.fingerprintOffset = marks.fingerprint
    this.#visibleEnd = marks.visibleEnd
  }

  /** Reads one whole message: `bytes` is a datagram, or one frame of a stream. Never throws. */
  static decode(bytes: Uint8Array): StunMessage | StunFault {
    const fault = headerFault(bytes)
    if (fault !== undefined) return fault
    const marks = walk(bytes)
    return typeof marks === 'string' ? marks : new StunMessage(bytes, marks)
  }

  /** The same message over a copy of its bytes, for whoever keeps it. */
  copy(): StunMessage {
    return new StunMessage(Buffer.from(this.bytes), {
      integrity: this.integrityOffset,
      integritySha256: this.integritySha256Offset,
      fingerprint: this.fingerprintOffset,
      visibleEnd: this.#visibleEnd,
    })
  }

  get method(): number {
    return methodOf(this.type)
  }

  get class(): StunClass {
    return classOf(this.type)
  }

  /** The 12 bytes that tie a response to its request. */
  get transactionId(): Uint8Array {
    return this.bytes.subarray(8, stunHeaderBytes)
  }

  /** The value of the first attribute of that type; later ones of the same type are ignored (RFC 8489 §14). */
  attribute(type: number): Uint8Array | undefined {
    for (let at = stunHeaderBytes; at < this.#visibleEnd; at += attributeBytes(this.bytes, at)) {
      if (u16(this.bytes, at) === type) return valueAt(this.bytes, at)
    }
    return undefined
  }

  /** Like `attribute`, read as UTF-8. */
  text(type: number): string | undefined {
    const value = this.attribute(type)
    return value === undefined
      ? undefined
      : Buffer.from(value.buffer, value.byteOffset, value.length).toString('utf8')
  }

  /** Like `attribute`, read as an unsigned 32-bit number; `undefined` also when it has another size. */
  u32(type: number): number | undefined {
    const value = this.attribute(type)
    if (value?.length !== 4) return undefined
    return u16(value, 0) * 0x10000 + u16(value, 2)
  }

  /** All attributes in their order, repeated ones too. */
  *attributes(): Generator<StunAttributeView> {
    for (let at = stunHeaderBytes; at < this.#visibleEnd; at += attributeBytes(this.bytes, at)) {
      yield { type: u16(this.bytes, at), value: valueAt(this.bytes, at) }
    }
  }

  /** Types that must be understood and are not in `known`, for a 420 answer (RFC 8489 §6.3.1). */
  unknownRequired(known: ReadonlySet<number>): readonly number[] {
    let unknown: Set<number> | undefined
    for (let at = stunHeaderBytes; at < this.#visibleEnd; at += attributeBytes(this.bytes, at)) {
      const type = u16(this.bytes, at)
      if (isComprehensionRequired(type) && !known.has(type)) (unknown ??= new Set()).add(type)
    }
    return unknown === undefined ? none : [...unknown]
  }
}

/**
 * The first USERNAME of a well-formed message without building it, for finding the session of a
 * stranger's datagram; `undefined` for anything else. Gives up after a few compares on what is no STUN.
 * Proves nothing: integrity is checked once the session, and so the key, is known.
 */
export function stunUsername(bytes: Uint8Array): string | undefined {
  if (headerFault(bytes) !== undefined) return undefined
  for (let at = stunHeaderBytes; at < bytes.length; ) {
    const next = at + attributeBytes(bytes, at)
    if (next > bytes.length) return undefined
    const type = u16(bytes, at)
    // What follows is vouched for by nobody.
    if (type === StunAttribute.messageIntegrity || type === StunAttribute.messageIntegritySha256)
      return undefined
    if (type === StunAttribute.username) {
      const value = valueAt(bytes, at)
      if (value.length > maxUsernameBytes) return undefined
      return Buffer.from(value.buffer, value.byteOffset, value.length).toString('utf8')
    }
    at = next
  }
  return undefined
}

/** RFC 8489 §14.3 says fewer than 509; RFC 5389 peers may send up to 512. */
const maxUsernameBytes = 512

const none: readonly number[] = []

interface Marks {
  readonly integrity: number | undefined
  readonly integritySha256: number | undefined
  readonly fingerprint: number | undefined
  readonly visibleEnd: number
}

function headerFault(bytes: Uint8Array): StunFault | undefined {
  if (bytes.length < stunHeaderBytes) return 'short'
  if (u16(bytes, 0) > 0x3fff) return 'not-stun'
  if (u16(bytes, 4) !== stunMagicCookie >>> 16 || u16(bytes, 6) !== (stunMagicCookie & 0xffff))
    return 'not-stun'
  const length = u16(bytes, 2)
  return length % 4 !== 0 || length !== bytes.length - stunHeaderBytes ? 'length' : undefined
}

function walk(bytes: Uint8Array): Marks | StunFault {
  let integrity: number | undefined
  let integritySha256: number | undefined
  let fingerprint: number | undefined
  let visibleEnd = bytes.length
  // The length field is a multiple of 4, so what is left always holds an attribute's own header.
  for (let at = stunHeaderBytes; at < bytes.length; at += attributeBytes(bytes, at)) {
    if (fingerprint !== undefined) return 'after-fingerprint'
    if (at + attributeBytes(bytes, at) > bytes.length) return 'attribute-overrun'
    const type = u16(bytes, at)
    const size = u16(bytes, at + 2)
    if (type === StunAttribute.fingerprint) {
      if (size !== 4) return 'attribute-size'
      fingerprint = at
      visibleEnd = Math.min(visibleEnd, at)
    } else if (type === StunAttribute.messageIntegrity) {
      if (size !== 20) return 'attribute-size'
      if (integrity === undefined && integritySha256 === undefined) integrity = at
      visibleEnd = Math.min(visibleEnd, at)
    } else if (type === StunAttribute.messageIntegritySha256) {
      if (size < 16 || size > 32 || size % 4 !== 0) return 'attribute-size'
      integritySha256 ??= at
      visibleEnd = Math.min(visibleEnd, at)
    }
  }
  return { integrity, integritySha256, fingerprint, visibleEnd }
}

/** Bytes an attribute takes, its header and padding included. */
function attributeBytes(bytes: Uint8Array, at: number): number {
  return 4 + ((u16(bytes, at + 2) + 3) & ~3)
}

function valueAt(bytes: Uint8Array, at: number): Uint8Array {
  return bytes.subarray(at + 4, at + 4 + u16(bytes, at + 2))
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}
