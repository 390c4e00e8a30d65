import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeBlock } from './block.ts'
import { crc32c, maskedCrc32c } from './crc32c.ts'
import { snappyCodec, SnappyError } from './index.ts'

const identifier = Buffer.from('ff060000734e61507059', 'hex')

function chunk(type: number, data: Uint8Array, declared: number = data.length): Buffer {
  const head = Buffer.alloc(4)
  head[0] = type
  head.writeUIntLE(declared, 1, 3)
  return Buffer.concat([head, data])
}

/** A chunk with the checksum of `plain`. */
function dataChunk(type: number, plain: Uint8Array, data: Uint8Array = plain): Buffer {
  const checksum = Buffer.alloc(4)
  checksum.writeUInt32LE(maskedCrc32c(plain))
  return chunk(type, Buffer.concat([checksum, data]))
}

function decodeInChunks(bytes: Uint8Array, size: number): Buffer {
  const codec = snappyCodec()
  const parts: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += size) parts.push(codec.decode(bytes.subarray(at, at + size)))
  return Buffer.concat(parts)
}

describe('snappyCodec', () => {
  // Written by golang/snappy 0.0.4: "abcdefgh" forty times, then "tiny".
  const ofGo =
    'ff060000734e61507059001e000017b0c639c0021c6162636465666768fe0800fe0800fe0800fe0800de080001080000d4ac3f8174696e79'
  const plainOfGo = `${'abcdefgh'.repeat(40)}tiny`

  it('reads what Go wrote, cut anywhere', () => {
    const bytes = Buffer.from(ofGo, 'hex')
    for (let size = 1; size <= bytes.length; size++)
      expect(decodeInChunks(bytes, size).toString()).toBe(plainOfGo)
  })

  it('carries any bytes, and gives each write at once', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.string({ maxLength: 5 }).map((text) => Buffer.from(text.repeat(20_000))),
      fc.constantFrom(65_535, 65_536, 65_537, 200_000).map((length) => Buffer.alloc(length, 'some text ')),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 5 }), fc.integer({ min: 1, max: 80_000 }), (pieces, size) => {
        const [encoder, reader] = [snappyCodec(), snappyCodec()]
        const sent = pieces.map((plain) => {
          const encoded = Buffer.from(encoder.encode(plain))
          expect(Buffer.compare(reader.decode(encoded), plain)).toBe(0)
          return encoded
        })
        expect(decodeInChunks(Buffer.concat(sent), size).equals(Buffer.concat(pieces))).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  it('sends plain what does not get an eighth smaller', () => {
    const noise = Buffer.from(Array.from({ length: 500 }, (_, i) => (i * i * 31 + (i >> 3) * 7) & 0xff))
    expect(snappyCodec().encode(noise)[10]).toBe(1)
    expect(snappyCodec().encode(Buffer.alloc(500))[10]).toBe(0)
    expect(snappyCodec().encode(new Uint8Array()).length).toBe(0)
  })

  it('passes over padding, later chunks that may be passed over, and further identifiers', () => {
    const data = dataChunk(1, Buffer.from('data'))
    const bytes = [
      identifier,
      chunk(0xfe, Buffer.alloc(100)),
      data,
      chunk(0x80, Buffer.alloc(300_000)),
      identifier,
      data,
    ]
    for (const size of [1000, 70_000, 1_000_000]) {
      expect(decodeInChunks(Buffer.concat(bytes), size).toString()).toBe('datadata')
    }
  })

  it.each([
    ['no identifier', dataChunk(1, Buffer.from('x')), 'SNAPPY_CORRUPT'],
    ['padding ahead of the identifier', chunk(0xfe, Buffer.alloc(3)), 'SNAPPY_CORRUPT'],
    ['another identifier', chunk(0xff, Buffer.from('sNaPpX')), 'SNAPPY_CORRUPT'],
    ['a long identifier', chunk(0xff, Buffer.from('sNaPpYY')), 'SNAPPY_CORRUPT'],
    ['a later chunk', Buffer.concat([identifier, chunk(0x02, Buffer.alloc(8))]), 'SNAPPY_UNSUPPORTED'],
    ['a chunk without checksum', Buffer.concat([identifier, chunk(0x00, Buffer.alloc(3))]), 'SNAPPY_CORRUPT'],
    [
      'a long chunk, before it is there',
      Buffer.concat([identifier, chunk(0x01, Buffer.of(), 65_541)]),
      'SNAPPY_UNSUPPORTED',
    ],
    [
      'a long block, before it is there',
      Buffer.concat([identifier, chunk(0x00, Buffer.of(), 0xffffff)]),
      'SNAPPY_UNSUPPORTED',
    ],
    [
      'a wrong checksum',
      Buffer.concat([identifier, chunk(0x01, Buffer.from('\0\0\0\0x'))]),
      'SNAPPY_CORRUPT',
    ],
    [
      'a block above 64 KiB',
      Buffer.concat([identifier, chunk(0x00, Buffer.from('00000000ffffffff0f00', 'hex'))]),
      'SNAPPY_CORRUPT',
    ],
  ])('refuses %s', (_, bytes, code) => {
    expect(() => snappyCodec().decode(bytes)).toThrow(expect.objectContaining({ code }))
  })

  it('ends in bytes or a SnappyError whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(0, 1, 2), (bytes, how) => {
        const given = how === 0 ? bytes : how === 1 ? chunk(0, bytes) : dataChunk(0, Buffer.of(), bytes)
        try {
          snappyCodec().decode(Buffer.concat([identifier, given]))
        } catch (error) {
          expect(error).toBeInstanceOf(SnappyError)
        }
      }),
    )
  })
})

describe('decodeBlock', () => {
  it.each([
    ['no length', ''],
    ['a length without end', 'ffffffffff01'],
    ['a literal behind the end', '03086162'],
    ['a literal without its length', '05f0'],
    ['a literal of a length that is negative with a sign', '05fcfaffffff6162636465'],
    ['a copy without offset', '0801'],
    ['a copy with half an offset', '0500610e01'],
    ['a copy of what comes later', '0400610a0200'],
    ['a copy with offset zero', '0800610a0000'],
    ['more than it says', '02086162630a'],
    ['less than it says', '0908616263'],
    ['a copy beyond what it says', '03006116010000'],
  ])('refuses %s', (_, hex) => {
    expect(decodeBlock(Buffer.from(hex, 'hex'), 65_536)).toBeUndefined()
  })

  it.each([
    ['nothing', '00', ''],
    ['a literal', '0308616263', 'abc'],
    ['a literal with a length of one byte', `3ef03d${'61'.repeat(62)}`, 'a'.repeat(62)],
    ['a near copy that repeats', '0b0461620d02', 'ababababa'.slice(0, 9)],
    ['a far copy', '06086162630a0300', 'abcabc'],
    ['a copy with an offset of four bytes', '06086162630b03000000', 'abcabc'],
  ])('reads %s', (_, hex, text) => {
    const block = Buffer.from(hex, 'hex')
    block[0] = text.length
    expect(decodeBlock(block, 65_536)?.toString()).toBe(text)
  })
})

it('crc32c is that of RFC 3720, appendix B.4', () => {
  expect(crc32c(Buffer.alloc(32)).toString(16)).toBe('8a9136aa')
  expect(crc32c(Buffer.alloc(32, 0xff)).toString(16)).toBe('62a8ab43')
  expect(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i))).toString(16)).toBe('46dd794e')
  expect(crc32c(Buffer.from('123456789')).toString(16)).toBe('e3069283')
})
