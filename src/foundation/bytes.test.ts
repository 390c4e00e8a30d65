import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from './bytes.ts'

describe('bytes', () => {
  it('reads what was written', () => {
    const numbers = fc.record({
      a: fc.nat(0xff),
      b: fc.nat(0xffff),
      c: fc.nat(0xffffff),
      d: fc.nat(0xffffffff),
    })
    fc.assert(
      fc.property(numbers, fc.double(), fc.uint8Array(), ({ a, b, c, d }, double, bytes) => {
        const written = new ByteWriter(1)
          .u8(a)
          .u16(b)
          .u24(c)
          .u32(d)
          .u32le(d)
          .f64(double)
          .zeros(3)
          .bytes(bytes)
          .finish()
        const reader = new ByteReader(written)
        expect([reader.u8(), reader.u16(), reader.u24(), reader.u32(), reader.u32le()]).toEqual([
          a,
          b,
          c,
          d,
          d,
        ])
        expect(reader.f64()).toBe(double)
        reader.skip(3)
        expect(Buffer.from(reader.bytes(bytes.length))).toEqual(Buffer.from(bytes))
        expect([reader.remaining, reader.failed]).toEqual([0, false])
      }),
    )
  })

  it('fails instead of reading past the end, and stays failed', () => {
    const reader = new ByteReader(Uint8Array.of(1, 2, 3))
    expect(reader.u32()).toBe(0)
    expect(reader.failed).toBe(true)
    expect(reader.u8()).toBe(0)
    expect(reader.bytes(1)).toHaveLength(0)
  })

  it('keeps to the window it was given', () => {
    const reader = new ByteReader(Uint8Array.of(1, 2, 3, 4), 1, 3)
    expect(reader.u16()).toBe(0x0203)
    expect(reader.remaining).toBe(0)
    expect(new ByteReader(Uint8Array.of(1), 0, 99).remaining).toBe(1)
  })

  it('refuses negative lengths', () => {
    const reader = new ByteReader(Uint8Array.of(1))
    expect(reader.bytes(-1)).toHaveLength(0)
    expect(reader.failed).toBe(true)
  })
})
