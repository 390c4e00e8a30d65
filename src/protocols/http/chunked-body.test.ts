import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChunkedBody, type ChunkedProgress } from './chunked-body.ts'

/** Decodes over the given cuts; `consumed` counts from the start of the whole input. */
function decode(input: Uint8Array, cuts: readonly number[]): { data: Buffer; progress: ChunkedProgress } {
  const body = new ChunkedBody()
  const parts: Buffer[] = []
  let at = 0
  for (const cut of [...cuts, input.length]) {
    const end = Math.min(input.length, Math.max(at, cut))
    const part = Buffer.from(input.subarray(at, end))
    const { start, end: dataEnd, progress } = body.decode(part)
    parts.push(part.subarray(start, dataEnd))
    if (progress.kind === 'end') {
      return { data: Buffer.concat(parts), progress: { kind: 'end', consumed: at + progress.consumed } }
    }
    if (progress.kind === 'bad') return { data: Buffer.concat(parts), progress }
    at = end
  }
  return { data: Buffer.concat(parts), progress: { kind: 'more' } }
}

describe('ChunkedBody', () => {
  it('finds data, extensions, trailers and the end', () => {
    const framed = '4\r\nWiki\r\n9 ;x="y"\r\npedia in \r\n0\r\nTrailer: x\r\n\r\n'
    const { data, progress } = decode(Buffer.from(`${framed}NEXT`), [])
    expect(data.toString()).toBe('Wikipedia in ')
    expect(progress).toEqual({ kind: 'end', consumed: framed.length })
  })

  it('does not move the data of an input with one chunk', () => {
    const input = Buffer.from('3\r\nabc\r\n')
    const before = Buffer.from(input)
    expect(new ChunkedBody().decode(input)).toEqual({ start: 3, end: 6, progress: { kind: 'more' } })
    expect(input).toEqual(before)
  })

  it.each([
    ['no size', '\r\n'],
    ['a bad size', 'g\r\n'],
    ['a signed size', '-1\r\n'],
    ['a prefixed size', '0x3\r\nabc\r\n'],
    ['a size too long', '1000000000000\r\n'],
    ['a bare line feed', '3\nabc\n'],
    ['a bare line feed in an extension', '3;a\nabc\r\n'],
    ['data longer than its size', '3\r\nabcd\r\n'],
    ['an endless extension', `3;${'a'.repeat(5000)}`],
    ['endless trailers', `0\r\n${'A: b\r\n'.repeat(5000)}`],
    ['a bare line feed in the trailers', '0\r\nA: b\n\r\n'],
  ])('refuses %s', (_, text) => {
    expect(new ChunkedBody().decode(Buffer.from(text)).progress.kind).toBe('bad')
  })

  it('takes nothing after its end', () => {
    const body = new ChunkedBody()
    expect(body.decode(Buffer.from('0\r\n\r\n')).progress.kind).toBe('end')
    expect(body.decode(Buffer.from('0\r\n\r\n')).progress.kind).toBe('bad')
  })

  it('decodes what was encoded, in any chunking', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 10 }),
        fc.array(fc.nat(500), { maxLength: 10 }),
        fc.uint8Array({ maxLength: 10 }),
        (chunks, cuts, rest) => {
          const framed = Buffer.concat([
            ...chunks.flatMap((chunk) => [Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, CRLF]),
            Buffer.from('0\r\n\r\n'),
          ])
          const input = Buffer.concat([framed, rest])
          const end = { kind: 'end', consumed: framed.length }
          expect(
            decode(
              input,
              cuts.sort((a, b) => a - b),
            ),
          ).toEqual({ data: Buffer.concat(chunks), progress: end })
        },
      ),
    )
  })

  it('never throws on any bytes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...Buffer.from('0123fF;\r\n\r\n x')), { maxLength: 60 }),
        (bytes) => {
          const input = Uint8Array.from(bytes)
          const { start, end } = new ChunkedBody().decode(input)
          expect(start).toBeLessThanOrEqual(end)
          expect(end).toBeLessThanOrEqual(bytes.length)
        },
      ),
      { numRuns: 2000 },
    )
  })
})

const CRLF = Buffer.from('\r\n')
