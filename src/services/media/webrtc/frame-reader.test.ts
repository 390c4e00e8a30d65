import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { framed, FrameReader } from './frame-reader.ts'

describe('FrameReader', () => {
  test('datagrams come out as they went in, however the stream is cut', () => {
    const datagrams = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 })
    const cuts = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(datagrams, cuts, (datagrams, cuts) => {
        const stream = Buffer.concat(datagrams.map(framed))
        const reader = new FrameReader()
        const read: Uint8Array[] = []
        for (let at = 0, i = 0; at < stream.length; i++) {
          const end = at + (cuts[i % cuts.length] ?? 1)
          const chunk = Buffer.from(stream.subarray(at, end))
          expect(
            reader.push(
              chunk,
              () => 65_535,
              (frame) => read.push(Uint8Array.from(frame)),
            ),
          ).toBe(true)
          // The chunk's memory is used again.
          chunk.fill(0xff)
          at = end
        }
        expect(read).toEqual(datagrams)
      }),
    )
  })

  test('a frame that is too long is refused by its length alone, and what the bound is may change', () => {
    const reader = new FrameReader()
    let maxBytes = 10
    const read: number[] = []
    const push = (bytes: Uint8Array): boolean =>
      reader.push(
        bytes,
        () => maxBytes,
        (frame) => {
          read.push(frame.length)
          maxBytes = 1000
        },
      )
    expect(push(Buffer.concat([framed(Buffer.alloc(10)), framed(Buffer.alloc(1000))]))).toBe(true)
    expect(push(Buffer.from([0x03, 0xe9]))).toBe(false)
    expect(read).toEqual([10, 1000])
  })
})
