import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Amf0Decoder, amf0Object, amf0Property, amf0Text, decodeAmf0, encodeAmf0 } from './amf0.ts'
import type { Amf0Value } from './amf0.ts'
import { RtmpError } from './errors.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('AMF0 vectors, written by hand from the specification', () => {
  const vectors: readonly (readonly [name: string, bytes: string, value: Amf0Value])[] = [
    ['number', '00 3ff0000000000000', 1],
    ['boolean', '01 01', true],
    ['string', '02 0004 6c697665', 'live'],
    ['object', '03 0003 617070 02 0004 6c697665 0000 09', amf0Object({ app: 'live' })],
    ['null', '05', null],
    ['undefined', '06', undefined],
    [
      'ECMA array with a wrong count',
      '08 00000007 0001 61 05 0000 09',
      { kind: 'ecma-array', count: 7, entries: [['a', null]] },
    ],
    ['strict array', '0a 00000002 02 0004 68766331 02 0004 61763031', ['hvc1', 'av01']],
    ['date', '0b 4059000000000000 0000', { kind: 'date', timeMs: 100, timeZone: 0 }],
    ['long string', '0c 00000002 6869', { kind: 'long-string', text: 'hi' }],
    ['unsupported', '0d', { kind: 'unsupported' }],
    ['XML', '0f 00000004 3c612f3e', { kind: 'xml', text: '<a/>' }],
    ['typed object', '10 0001 54 0000 09', { kind: 'object', className: 'T', entries: [] }],
    [
      'object with a key found twice and an empty key',
      '03 0001 61 05 0001 61 06 0000 05 0000 09',
      {
        kind: 'object',
        entries: [
          ['a', null],
          ['a', undefined],
          ['', null],
        ],
      },
    ],
  ]

  test.each(vectors)('%s', (_name, bytes, value) => {
    expect(decodeAmf0(hex(bytes))).toEqual([value])
    expect(encodeAmf0(value).toString('hex')).toBe(hex(bytes).toString('hex'))
  })

  test('a string above 65,535 bytes is written as a long string', () => {
    const text = 'x'.repeat(65_536)
    expect(decodeAmf0(encodeAmf0(text))).toEqual([{ kind: 'long-string', text }])
  })
})

describe('what is refused', () => {
  test.each([
    ['a reference', '07 0000'],
    ['a movie clip', '04'],
    ['an AMF3 value', '11 01'],
    ['a truncated number', '00 3ff0'],
    ['a truncated string', '02 0005 6c'],
    ['an object without its end', '03 0003 617070 05'],
    ['a strict array that claims more values than bytes', '0a ffffffff 05'],
    ['a key without a value', '03 0001 61'],
  ])('%s', (_name, bytes) => {
    expect(() => decodeAmf0(hex(bytes))).toThrow(
      expect.objectContaining({ code: 'RTMP_AMF0_MALFORMED', side: 'client' }),
    )
  })

  test('nesting and values beyond the limits', () => {
    const nested = encodeAmf0([[[null]]])
    expect(decodeAmf0(nested, { maxDepth: 3 })).toEqual([[[[null]]]])
    expect(() => decodeAmf0(nested, { maxDepth: 2 })).toThrow(/too deep/)
    expect(() => decodeAmf0(nested, { maxValues: 3 })).toThrow(/too many/)
    expect(() => decodeAmf0(Buffer.alloc(60_000, 3))).toThrow(RtmpError)
  })

  test('the peer that is read from gets the blame', () => {
    expect(() => decodeAmf0(hex('07 0000'), { side: 'origin' })).toThrow(
      expect.objectContaining({ side: 'origin', retryable: true }),
    )
  })
})

describe('looking into objects', () => {
  const value: Amf0Value = {
    kind: 'object',
    entries: [
      ['app', 'first'],
      ['app', 'last'],
      ['url', { kind: 'long-string', text: 'long' }],
      ['n', 1],
    ],
  }

  test('the last of two equal keys counts', () => {
    expect(amf0Property(value, 'app')).toBe('last')
  })

  test('text is found in both string types and nowhere else', () => {
    expect(amf0Text(value, 'app')).toBe('last')
    expect(amf0Text(value, 'url')).toBe('long')
    expect(amf0Text(value, 'n')).toBeUndefined()
    expect(amf0Text(null, 'app')).toBeUndefined()
    expect(amf0Property(['app'], 'app')).toBeUndefined()
  })
})

describe('properties', () => {
  const text = fc.string({ unit: 'binary', maxLength: 20 })
  const { value } = fc.letrec<{ value: Amf0Value; entries: (readonly [string, Amf0Value])[] }>((tie) => ({
    entries: fc.array(fc.tuple(text, tie('value')), { maxLength: 4 }),
    value: fc.oneof(
      { maxDepth: 4 },
      fc.double({ noNaN: true }),
      fc.boolean(),
      text,
      fc.constant(null),
      fc.constant(undefined),
      fc.constant({ kind: 'unsupported' as const }),
      fc.record({ kind: fc.constantFrom('long-string' as const, 'xml' as const), text }),
      fc.record({
        kind: fc.constant('date' as const),
        timeMs: fc.double({ noNaN: true }),
        timeZone: fc.nat(65_535),
      }),
      fc.record({ kind: fc.constant('object' as const), entries: tie('entries') }),
      fc.record({ kind: fc.constant('object' as const), className: text, entries: tie('entries') }),
      fc.record({ kind: fc.constant('ecma-array' as const), count: fc.nat(), entries: tie('entries') }),
      fc.array(tie('value'), { maxLength: 4 }),
    ),
  }))

  test('every value survives a round trip', () => {
    fc.assert(
      fc.property(fc.array(value, { maxLength: 5 }), (values) => {
        expect(decodeAmf0(encodeAmf0(...values))).toEqual(values)
      }),
    )
  })

  test('any bytes decode or throw an RtmpError, and what decodes encodes to bytes that mean the same', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(fc.nat(17), { maxLength: 60 }).map((list) => Uint8Array.from(list)),
    )
    fc.assert(
      fc.property(bytes, (input) => {
        let values: Amf0Value[]
        try {
          values = decodeAmf0(input)
        } catch (error) {
          expect(error).toBeInstanceOf(RtmpError)
          return
        }
        expect(decodeAmf0(encodeAmf0(...values))).toEqual(values)
      }),
      { numRuns: 2000 },
    )
  })

  test('values are taken one by one, with the offset behind each', () => {
    const bytes = encodeAmf0('connect', 1, null)
    const decoder = new Amf0Decoder(bytes)
    expect([decoder.next(), decoder.next()]).toEqual(['connect', 1])
    expect(bytes.subarray(decoder.offset)).toEqual(encodeAmf0(null))
    expect(decoder.isDone).toBe(false)
  })
})
