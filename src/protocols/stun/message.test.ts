import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StunAttribute } from './attribute-type.ts'
import { verifyFingerprint } from './fingerprint.ts'
import { StunMessage, stunUsername } from './message.ts'
import {
  longTermKey,
  userhash,
  verifyMessageIntegrity,
  verifyMessageIntegritySha256,
} from './message-integrity.ts'
import { StunClass, StunMethod } from './message-type.ts'
import { StunWriter } from './message-writer.ts'
import {
  longTerm,
  sampleLongTermRequest,
  sampleRequest,
  sampleResponseV4,
  sampleResponseV6,
  sampleSha256Request,
  shortTermPassword,
} from './rfc-vectors.testkit.ts'
import { decodeXorAddress } from './xor-address.ts'

const key = Buffer.from(shortTermPassword)

function decoded(bytes: Uint8Array): StunMessage {
  const message = StunMessage.decode(bytes)
  if (typeof message === 'string') throw new Error(`refused: ${message}`)
  return message
}

/** A header over the given attribute bytes. */
function framed(...attributes: number[]): Uint8Array {
  const header = [0, 1, attributes.length >> 8, attributes.length & 0xff, 0x21, 0x12, 0xa4, 0x42]
  return Uint8Array.from([...header, ...Array.from({ length: 12 }, (_, i) => i), ...attributes])
}

describe('published vectors', () => {
  test('RFC 5769 §2.1, a request with short-term credentials', () => {
    const message = decoded(sampleRequest)
    expect([message.method, message.class]).toEqual([StunMethod.binding, StunClass.request])
    expect(message.text(StunAttribute.software)).toBe('STUN test client')
    expect(message.text(StunAttribute.username)).toBe('evtj:h6vY')
    expect(message.u32(StunAttribute.priority)).toBe(0x6e0001ff)
    expect(Buffer.from(message.transactionId).toString('hex')).toBe('b7e7a701bc34d686fa87dfae')
    expect(verifyMessageIntegrity(message, key)).toBe(true)
    expect(verifyFingerprint(message)).toBe(true)
    expect(stunUsername(sampleRequest)).toBe('evtj:h6vY')
  })

  test.each([
    ['2.2', sampleResponseV4, '192.0.2.1'],
    ['2.3', sampleResponseV6, '2001:db8:1234:5678:11:2233:4455:6677'],
  ])('RFC 5769 §%s, a response', (_, bytes, address) => {
    const message = decoded(bytes)
    expect(message.class).toBe(StunClass.success)
    const mapped = message.attribute(StunAttribute.xorMappedAddress) ?? new Uint8Array()
    expect(decodeXorAddress(mapped, message.transactionId)).toEqual({ address, port: 32853 })
    expect(verifyMessageIntegrity(message, key)).toBe(true)
    expect(verifyFingerprint(message)).toBe(true)
  })

  test('RFC 5769 §2.4, a request with long-term credentials', () => {
    const message = decoded(sampleLongTermRequest)
    const { username, realm, password } = longTerm
    expect(message.text(StunAttribute.username)).toBe(username)
    expect(verifyMessageIntegrity(message, longTermKey(username, realm, password))).toBe(true)
    expect(verifyFingerprint(message)).toBe(false)
  })

  test('RFC 8489 Appendix B.1, MESSAGE-INTEGRITY-SHA256 and USERHASH', () => {
    const message = decoded(sampleSha256Request)
    const { username, realm, password } = longTerm
    expect(Buffer.from(message.attribute(StunAttribute.userhash) ?? [])).toEqual(userhash(username, realm))
    const sha256Key = longTermKey(username, realm, password, 'sha256')
    expect(verifyMessageIntegritySha256(message, sha256Key)).toBe(true)
    expect(verifyMessageIntegrity(message, sha256Key)).toBe(false)
  })
})

describe('integrity', () => {
  test('a wrong key, a missing attribute and any flipped bit before it are refused', () => {
    expect(verifyMessageIntegrity(decoded(sampleRequest), Buffer.from('wrong'))).toBe(false)
    expect(verifyMessageIntegrity(decoded(framed()), key)).toBe(false)
    const end = decoded(sampleRequest).integrityOffset ?? 0
    for (let at = 8; at < end; at++) {
      const flipped = Buffer.from(sampleRequest)
      flipped[at] = (flipped[at] ?? 0) ^ 0x01
      const message = StunMessage.decode(flipped)
      expect(typeof message === 'string' || !verifyMessageIntegrity(message, key)).toBe(true)
    }
  })

  test('verifying leaves the received bytes as they were', () => {
    const copy = Buffer.from(sampleRequest)
    verifyMessageIntegrity(decoded(copy), key)
    verifyFingerprint(decoded(copy))
    expect(copy).toEqual(sampleRequest)
  })

  test('a truncated SHA-256 is compared over what is there', () => {
    const whole = decoded(
      new StunWriter(StunMethod.allocate, StunClass.request, new Uint8Array(12))
        .integritySha256(key)
        .finish(),
    )
    expect(verifyMessageIntegritySha256(whole, key)).toBe(true)
    for (const size of [16, 20, 24, 28]) {
      const cut = Buffer.from(whole.bytes.subarray(0, 24 + size))
      cut.writeUInt16BE(4 + size, 2)
      cut.writeUInt16BE(size, 22)
      // Its own length is under the HMAC, so a digest cut by somebody else does not pass.
      expect(verifyMessageIntegritySha256(decoded(cut), key)).toBe(false)
    }
  })
})

describe('attribute rules', () => {
  test('what stands behind MESSAGE-INTEGRITY is not shown', () => {
    const mi = [0x00, 0x08, 0, 20, ...Array.from({ length: 20 }, () => 0)]
    const message = decoded(framed(...mi, 0x00, 0x06, 0, 1, 0x61, 0, 0, 0))
    expect(message.attribute(StunAttribute.username)).toBeUndefined()
    expect(stunUsername(message.bytes)).toBeUndefined()
    expect([...message.attributes()]).toEqual([])
  })

  test('MESSAGE-INTEGRITY-SHA256 and FINGERPRINT behind MESSAGE-INTEGRITY count', () => {
    const bytes = new StunWriter(StunMethod.binding, StunClass.request, new Uint8Array(12))
      .text(StunAttribute.username, 'a:b')
      .integrity(key)
      .integritySha256(key)
      .fingerprint()
      .finish()
    const message = decoded(bytes)
    expect(verifyMessageIntegrity(message, key)).toBe(true)
    expect(verifyMessageIntegritySha256(message, key)).toBe(true)
    expect(verifyFingerprint(message)).toBe(true)
  })

  test('MESSAGE-INTEGRITY behind MESSAGE-INTEGRITY-SHA256 is ignored', () => {
    const bytes = new StunWriter(StunMethod.binding, StunClass.request, new Uint8Array(12))
      .integritySha256(key)
      .integrity(key)
      .finish()
    expect(verifyMessageIntegrity(decoded(bytes), key)).toBe(false)
  })

  test('the first of a repeated attribute wins', () => {
    const bytes = new StunWriter(StunMethod.binding, StunClass.request, new Uint8Array(12))
      .text(StunAttribute.username, 'first')
      .text(StunAttribute.username, 'second')
      .finish()
    expect(decoded(bytes).text(StunAttribute.username)).toBe('first')
    expect(stunUsername(bytes)).toBe('first')
  })

  test('padding may hold anything', () => {
    const message = decoded(framed(0x00, 0x06, 0, 1, 0x61, 0xff, 0xff, 0xff))
    expect(message.text(StunAttribute.username)).toBe('a')
  })

  test('unknown types below 0x8000 are told once each', () => {
    const bytes = framed(0x7f, 0x01, 0, 0, 0x7f, 0x01, 0, 0, 0xff, 0x01, 0, 0, 0x00, 0x06, 0, 0)
    expect(decoded(bytes).unknownRequired(new Set([StunAttribute.username]))).toEqual([0x7f01])
  })
})

describe('refused bytes', () => {
  test.each([
    ['nothing', new Uint8Array(), 'short'],
    ['nineteen bytes', framed().subarray(0, 19), 'short'],
    ['the 22-byte message that killed a proxy', Buffer.concat([framed(), Buffer.from([0, 6])]), 'length'],
    ['a length field of 2', Uint8Array.from([0, 1, 0, 2, ...framed().subarray(4), 0, 6]), 'length'],
    [
      'an odd attribute without its padding',
      Uint8Array.from([0, 1, 0, 5, ...framed().subarray(4), 0, 6, 0, 1, 0x61]),
      'length',
    ],
    ['an attribute beyond the end', framed(0x00, 0x06, 0, 5, 1, 2, 3, 4), 'attribute-overrun'],
    ['an attribute of 65,535 bytes', framed(0x00, 0x06, 0xff, 0xff), 'attribute-overrun'],
    ['another cookie', Uint8Array.from([0, 1, 0, 0, 1, 2, 3, 4, ...framed().subarray(8)]), 'not-stun'],
    ['top bits set', Uint8Array.from([0x80, ...framed().subarray(1)]), 'not-stun'],
    ['a short MESSAGE-INTEGRITY', framed(0x00, 0x08, 0, 4, 1, 2, 3, 4), 'attribute-size'],
    ['a short MESSAGE-INTEGRITY-SHA256', framed(0x00, 0x1c, 0, 4, 1, 2, 3, 4), 'attribute-size'],
    ['an empty FINGERPRINT', framed(0x80, 0x28, 0, 0), 'attribute-size'],
    [
      'anything behind FINGERPRINT',
      framed(0x80, 0x28, 0, 4, 1, 2, 3, 4, 0x80, 0x22, 0, 0),
      'after-fingerprint',
    ],
  ] as const)('%s', (_, bytes, fault) => {
    expect(StunMessage.decode(bytes)).toBe(fault)
    if (fault !== 'attribute-size' && fault !== 'after-fingerprint')
      expect(stunUsername(bytes)).toBeUndefined()
  })

  test('a USERNAME longer than any that is legal is none', () => {
    const long = new StunWriter(StunMethod.binding, StunClass.request, new Uint8Array(12))
      .text(StunAttribute.username, 'x'.repeat(513))
      .finish()
    expect(stunUsername(long)).toBeUndefined()
  })
})

describe('properties', () => {
  test('decoding any bytes gives a message or a reason, and every view stays inside', () => {
    const anyBytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 200 }).map((body) => framed(...body.subarray(0, body.length & ~3))),
    )
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        stunUsername(bytes)
        const message = StunMessage.decode(bytes)
        if (typeof message === 'string') return
        for (const { value } of message.attributes()) {
          expect(value.byteOffset + value.length).toBeLessThanOrEqual(bytes.byteOffset + bytes.length)
        }
        verifyMessageIntegrity(message, key)
        verifyMessageIntegritySha256(message, key)
        verifyFingerprint(message)
      }),
      { numRuns: 2000 },
    )
  })

  test('what is written is read back, and integrity and fingerprint hold', () => {
    const attribute = fc.record({
      // Outside of the types that decoding treats in a way of their own.
      type: fc.integer({ min: 0x0020, max: 0x7fff }),
      value: fc.uint8Array({ maxLength: 40 }),
    })
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 12, maxLength: 12 }),
        fc.integer({ min: 0, max: 0xfff }),
        fc.constantFrom(...Object.values(StunClass)),
        fc.array(attribute, { maxLength: 8 }),
        (transactionId, method, messageClass, attributes) => {
          const writer = new StunWriter(method, messageClass, transactionId)
          for (const { type, value } of attributes) writer.attribute(type, value)
          const bytes = writer.integrity(key).integritySha256(key).fingerprint().finish()
          const message = decoded(bytes)
          expect([message.method, message.class]).toEqual([method, messageClass])
          expect(message.transactionId).toEqual(Buffer.from(transactionId))
          expect([...message.attributes()].map(({ type, value }) => [type, [...value]])).toEqual(
            attributes.map(({ type, value }) => [type, [...value]]),
          )
          expect(verifyMessageIntegrity(message, key)).toBe(true)
          expect(verifyMessageIntegritySha256(message, key)).toBe(true)
          expect(verifyFingerprint(message)).toBe(true)
        },
      ),
    )
  })
})
