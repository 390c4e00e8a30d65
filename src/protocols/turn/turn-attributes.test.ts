import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StunAttribute, StunClass, StunMessage, StunMethod, StunWriter } from '../stun/index.ts'
import {
  AddressFamily,
  decodeAddressErrorCode,
  decodeAddressFamily,
  decodeChannelNumber,
  decodeEvenPort,
  decodeIcmp,
  decodeRequestedTransport,
  encodeAddressErrorCode,
  encodeAddressFamily,
  encodeChannelNumber,
  encodeEvenPort,
  encodeIcmp,
  encodeRequestedTransport,
  peerAddress,
  peerAddresses,
  RelayTransport,
} from './turn-attributes.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('values, by hand from RFC 8656 §18', () => {
  test('REQUESTED-TRANSPORT', () => {
    expect(text(encodeRequestedTransport(RelayTransport.udp))).toBe('11000000')
    expect(text(encodeRequestedTransport(RelayTransport.tcp))).toBe('06000000')
    // The reserved bytes are ignored.
    expect(decodeRequestedTransport(hex('11 ffffff'))).toBe(17)
    expect([hex(''), hex('11'), hex('11000000 00')].map(decodeRequestedTransport)).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })

  test('REQUESTED-ADDRESS-FAMILY', () => {
    expect(text(encodeAddressFamily(AddressFamily.ipv6))).toBe('02000000')
    expect([hex('01000000'), hex('07ffffff'), hex('01')].map(decodeAddressFamily)).toEqual([1, 7, undefined])
  })

  test('EVEN-PORT', () => {
    expect([text(encodeEvenPort(true)), text(encodeEvenPort(false))]).toEqual(['80', '00'])
    expect([hex('80'), hex('ff'), hex('7f'), hex('')].map(decodeEvenPort)).toEqual([
      true,
      true,
      false,
      undefined,
    ])
  })

  test('CHANNEL-NUMBER', () => {
    expect(text(encodeChannelNumber(0x4fff))).toBe('4fff0000')
    expect([hex('4000ffff'), hex('4000')].map(decodeChannelNumber)).toEqual([0x4000, undefined])
  })

  test('ADDRESS-ERROR-CODE', () => {
    const error = { family: AddressFamily.ipv6, code: 440 }
    expect(text(encodeAddressErrorCode(error))).toBe('02000428')
    expect(decodeAddressErrorCode(hex('02 00 04 28 6e6f'))).toEqual(error)
    // Above the three bits of the class are reserved ones.
    expect(decodeAddressErrorCode(hex('02 ff fc 28'))).toEqual(error)
    expect(
      ['020004', '03000428', '02000464', '02000200', '02000700'].map((value) =>
        decodeAddressErrorCode(hex(value)),
      ),
    ).toEqual(Array(5).fill(undefined))
  })

  test('ICMP', () => {
    // Fragmentation needed, next hop's MTU 1400: 7 bits of type, 9 of code.
    const report = { type: 3, code: 4, data: 1400 }
    expect(text(encodeIcmp(report))).toBe('0000060400000578')
    expect(decodeIcmp(hex('ffff 0604 00000578'))).toEqual(report)
    expect(decodeIcmp(hex('0000 0604 000005'))).toBeUndefined()
    expect(decodeIcmp(encodeIcmp({ type: 127, code: 511, data: 0xffffffff }))).toEqual({
      type: 127,
      code: 511,
      data: 0xffffffff,
    })
  })

  test('never throw, on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (value) => {
        for (const decode of [
          decodeAddressErrorCode,
          decodeAddressFamily,
          decodeChannelNumber,
          decodeEvenPort,
          decodeIcmp,
          decodeRequestedTransport,
        ])
          decode(value)
      }),
    )
  })
})

describe('peer addresses', () => {
  const [first, second] = [
    { address: '192.0.2.1', port: 7 },
    { address: '2001:db8::1', port: 9 },
  ] as const
  const writer = () =>
    new StunWriter(StunMethod.createPermission, StunClass.request, new Uint8Array(12).fill(1))
  const read = (bytes: Uint8Array): StunMessage => {
    const message = StunMessage.decode(bytes)
    if (typeof message === 'string') throw new Error(message)
    return message
  }

  test('all in their order; the first alone', () => {
    const message = read(
      writer()
        .xorAddress(StunAttribute.xorPeerAddress, first)
        .u32(StunAttribute.lifetime, 1)
        .xorAddress(StunAttribute.xorPeerAddress, second)
        .finish(),
    )
    expect(peerAddresses(message)).toEqual([first, second])
    expect(peerAddress(message)).toEqual(first)
  })

  test('one malformed spoils them all', () => {
    const message = read(
      writer()
        .xorAddress(StunAttribute.xorPeerAddress, first)
        .attribute(StunAttribute.xorPeerAddress, new Uint8Array(5))
        .finish(),
    )
    expect(peerAddresses(message)).toBeUndefined()
    expect(peerAddress(message)).toEqual(first)
  })

  test('none is an empty list, and no first', () => {
    const message = read(writer().finish())
    expect([peerAddresses(message), peerAddress(message)]).toEqual([[], undefined])
  })
})
