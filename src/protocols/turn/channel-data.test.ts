import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeChannelData,
  encodeChannelData,
  isChannelData,
  maxChannel,
  minChannel,
} from './channel-data.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('ChannelData, vectors by hand from RFC 8656 §12.4 and §12.5', () => {
  test.each([
    ['a payload that needs no padding', 0x4000, '01020304', true, '4000 0004 01020304'],
    ['a payload of 5 bytes over a stream', 0x4001, '0102030405', true, '4001 0005 0102030405 000000'],
    ['a payload of 5 bytes in a datagram', 0x4001, '0102030405', false, '4001 0005 0102030405'],
    ['no payload', 0x4fff, '', true, '4fff 0000'],
  ])('%s', (_name, channel, data, isPadded, bytes) => {
    expect(encodeChannelData(channel, hex(data), isPadded)).toEqual(hex(bytes))
    expect(decodeChannelData(hex(bytes))).toEqual({ channel, data: hex(data) })
  })

  test('bytes behind the payload are ignored', () => {
    expect(decodeChannelData(hex('4000 0001 aa 010203 ffffffff'))).toEqual({
      channel: 0x4000,
      data: hex('aa'),
    })
  })

  test.each(['', '40', '400000', '4000 0001', '4000 ffff 00'])('"%s" is too short', (bytes) => {
    expect(decodeChannelData(hex(bytes))).toBeUndefined()
  })

  test('the first two bits tell it apart', () => {
    expect([0x00, 0x3f, 0x40, 0x4f, 0x7f, 0x80, 0xff, undefined].map(isChannelData)).toEqual([
      false,
      false,
      true,
      true,
      true,
      false,
      false,
      false,
    ])
  })

  test('65,535 bytes fit, one more does not', () => {
    const largest = encodeChannelData(minChannel, new Uint8Array(0xffff).fill(1), true)
    expect(largest).toHaveLength(65_540)
    expect(largest.subarray(-2)).toEqual(hex('01 00'))
    expect(decodeChannelData(largest)?.data).toHaveLength(0xffff)
    expect(() => encodeChannelData(minChannel, new Uint8Array(0x10000), true)).toThrow(RangeError)
  })

  test('the padding is zero whatever the memory held before', () => {
    // Fills the pool that allocUnsafe takes small buffers from.
    for (let i = 0; i < 64; i++) Buffer.allocUnsafe(64).fill(0xaa)
    for (let i = 0; i < 1000; i++) {
      const bytes = encodeChannelData(minChannel, Uint8Array.of(1), true)
      expect(bytes.subarray(5)).toEqual(Buffer.alloc(3))
      bytes.fill(0xaa)
    }
  })

  test('what is written is read back, padded or not', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: minChannel, max: maxChannel }),
        fc.uint8Array({ maxLength: 40 }),
        fc.boolean(),
        (channel, data, isPadded) => {
          const read = decodeChannelData(encodeChannelData(channel, data, isPadded))
          expect(read?.channel).toBe(channel)
          expect([...(read?.data ?? [])]).toEqual([...data])
        },
      ),
    )
  })

  test('never throws nor reads past the end, on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 32 }), (bytes) => {
        const read = decodeChannelData(bytes)
        if (read !== undefined) {
          expect(read.data.byteOffset + read.data.length).toBeLessThanOrEqual(bytes.byteOffset + bytes.length)
        }
      }),
    )
  })
})
