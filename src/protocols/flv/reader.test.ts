import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FlvError } from './errors.ts'
import { FlvReader } from './reader.ts'
import { encodeFlvHeader, encodeFlvTag } from './tag.ts'
import type { FlvTag } from './tag.ts'

function readAll(reader: FlvReader, bytes: Uint8Array, cut: number): FlvTag[] {
  const tags: FlvTag[] = []
  for (let at = 0; at < bytes.length; at += cut) {
    reader.push(bytes.subarray(at, at + cut))
    for (let tag = reader.next(); tag; tag = reader.next()) tags.push(tag)
  }
  return tags
}

function readHex(hex: string, options = {}): FlvTag[] {
  return readAll(new FlvReader(options), Buffer.from(hex, 'hex'), 100)
}

describe('writing', () => {
  test('header and tag are the bytes of the specification', () => {
    expect(encodeFlvHeader({ audio: true, video: true }).toString('hex')).toBe('464c5601050000000900000000')
    expect(encodeFlvHeader({ audio: false, video: true })[4]).toBe(1)
    const tag = encodeFlvTag({ type: 9, timestamp: 0x01020304, payload: Buffer.from('aabb', 'hex') })
    expect(tag.toString('hex')).toBe('0900000202030401000000aabb0000000d')
  })
})

describe('reading', () => {
  const anyTag = fc.record({
    type: fc.constantFrom(8, 9, 18),
    timestamp: fc.nat(0xffffffff),
    payload: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  })

  test('gives the tags that were written, however cut', () => {
    fc.assert(
      fc.property(fc.array(anyTag, { maxLength: 10 }), fc.integer({ min: 1, max: 500 }), (tags, cut) => {
        const bytes = Buffer.concat([
          encodeFlvHeader({ audio: true, video: true }),
          ...tags.map(encodeFlvTag),
        ])
        expect(readAll(new FlvReader(), bytes, cut)).toEqual(tags)
      }),
    )
  })

  test('skips what a longer header holds', () => {
    const header = Buffer.from('464c5601050000000cffffff00000000', 'hex')
    const tag = { type: 8, timestamp: 5, payload: Buffer.of(1) }
    expect(readAll(new FlvReader(), Buffer.concat([header, encodeFlvTag(tag)]), 3)).toEqual([tag])
  })

  test('ends for what is no FLV, and for a tag above the limit before it came', () => {
    expect(() => readHex('474c56010500000009')).toThrow(expect.objectContaining({ code: 'FLV_HEADER' }))
    expect(() => readHex('464c56010500000008')).toThrow(expect.objectContaining({ code: 'FLV_HEADER' }))
    expect(() => readHex('464c56010500000009000000000900006500000000000000', { maxTagBytes: 100 })).toThrow(
      expect.objectContaining({ code: 'FLV_TAG_TOO_LARGE' }),
    )
  })

  test('any bytes give tags or an FlvError', () => {
    const header = encodeFlvHeader({ audio: true, video: true })
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 50 }),
        (tail, isFlv, cut) => {
          try {
            readAll(new FlvReader(), isFlv ? Buffer.concat([header, tail]) : tail, cut)
          } catch (error) {
            expect(error).toBeInstanceOf(FlvError)
          }
        },
      ),
    )
  })
})
