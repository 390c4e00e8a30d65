import { isIPv6 } from 'node:net'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isComprehensionRequired, StunAttribute } from './attribute-type.ts'
import { packetKind } from './demultiplex.ts'
import { decodeErrorCode, encodeErrorCode, encodeUnknownAttributes } from './error-code.ts'
import { ipToBytes, ipToText } from '../../foundation/ip-text.ts'
import { classOf, encodeMessageType, methodOf, StunClass, StunMethod } from './message-type.ts'
import { decodeAddress, decodeXorAddress, encodeAddress, encodeXorAddress } from './xor-address.ts'

describe('packetKind', () => {
  test('the ranges of RFC 7983 and RFC 9443', () => {
    expect([0, 1, 2, 3].map(packetKind)).toEqual(['stun', 'stun', 'stun', 'stun'])
    expect([4, 15].map(packetKind)).toEqual(['unknown', 'unknown'])
    expect([16, 19].map(packetKind)).toEqual(['zrtp', 'zrtp'])
    expect([20, 63].map(packetKind)).toEqual(['dtls', 'dtls'])
    expect([64, 79].map(packetKind)).toEqual(['turn-channel', 'turn-channel'])
    expect([80, 127, 192, 255].map(packetKind)).toEqual(['quic', 'quic', 'quic', 'quic'])
    expect([128, 191].map(packetKind)).toEqual(['rtp', 'rtp'])
    expect(packetKind(undefined)).toBe('unknown')
  })
})

describe('message type', () => {
  test.each([
    [StunMethod.binding, StunClass.request, 0x0001],
    [StunMethod.binding, StunClass.error, 0x0111],
    [StunMethod.allocate, StunClass.success, 0x0103],
    [StunMethod.data, StunClass.indication, 0x0017],
    [StunMethod.connectionBind, StunClass.success, 0x010b],
    [0x080, StunClass.request, 0x0200],
    [0x080, StunClass.success, 0x0300],
  ])('method %i class %i is %i', (method, messageClass, type) => {
    expect(encodeMessageType(method, messageClass)).toBe(type)
    expect([methodOf(type), classOf(type)]).toEqual([method, messageClass])
  })

  test('comprehension is required below 0x8000', () => {
    expect(isComprehensionRequired(StunAttribute.useCandidate)).toBe(true)
    expect(isComprehensionRequired(StunAttribute.fingerprint)).toBe(false)
  })
})

describe('addresses', () => {
  test('round trip in both forms, IPv4 and IPv6', () => {
    const transactionId = Uint8Array.from({ length: 12 }, (_, i) => 0xf0 + i)
    fc.assert(
      fc.property(
        fc.oneof(fc.ipV4(), fc.ipV6().filter(isIPv6)),
        fc.integer({ min: 0, max: 65535 }),
        (text, port) => {
          const address = ipToText(ipToBytes(text) ?? new Uint8Array())
          const there = { address: text, port }
          expect(decodeXorAddress(encodeXorAddress(there, transactionId), transactionId)).toEqual({
            address,
            port,
          })
          expect(decodeAddress(encodeAddress(there))).toEqual({ address, port })
          expect(ipToBytes(address)).toEqual(ipToBytes(text))
        },
      ),
    )
  })

  test.each([
    ['::', '::'],
    ['::1', '::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:DB8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['fe80::', 'fe80::'],
  ])('%s is written %s', (text, canonical) => {
    expect(ipToText(ipToBytes(text) ?? new Uint8Array())).toBe(canonical)
  })

  test('what is no address is refused', () => {
    for (const text of ['', '1.2.3', '1.2.3.256', ':::', 'example.org', 'fe80::1%eth0']) {
      expect(ipToBytes(text)).toBeUndefined()
    }
    expect(() => encodeAddress({ address: 'example.org', port: 1 })).toThrow(RangeError)
  })

  test('values of a wrong size or family are refused', () => {
    for (const bytes of [
      [],
      [0, 1, 0, 0],
      [0, 1, 0, 0, 1, 2, 3, 4, 5],
      [0, 2, 0, 0, 1, 2, 3, 4],
      [0, 3, 0, 0, 1, 2, 3, 4],
    ]) {
      expect(decodeAddress(Uint8Array.from(bytes))).toBeUndefined()
    }
  })
})

describe('error code', () => {
  test('round trip', () => {
    const error = { code: 438, reason: 'Stale Nonce' }
    expect(encodeErrorCode(error).subarray(0, 4)).toEqual(Buffer.from([0, 0, 4, 38]))
    expect(decodeErrorCode(encodeErrorCode(error))).toEqual(error)
  })

  test('too short, or a number out of range, is none', () => {
    for (const bytes of [[], [0, 0, 4], [0, 0, 2, 0], [0, 0, 7, 0], [0, 0, 4, 100]]) {
      expect(decodeErrorCode(Uint8Array.from(bytes))).toBeUndefined()
    }
  })

  test('unknown attributes are a list of 16-bit types', () => {
    expect(encodeUnknownAttributes([0x0002, 0x7f01])).toEqual(Uint8Array.of(0, 2, 0x7f, 1))
  })
})
