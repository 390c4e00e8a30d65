import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FrameType, headerBytes, writeHeader } from './frame.ts'
import { FrameReader } from './frame-reader.ts'
import { chooser } from './session-pair.testkit.ts'

describe('writeHeader', () => {
  it('writes what frpc 0.70 sends first: SYN of stream 1 with a grant of 6 MiB less 256 KiB', () => {
    const bytes = new Uint8Array(headerBytes)
    writeHeader(bytes, 0, FrameType.windowUpdate, 1, 1, 6_029_312)
    expect(Buffer.from(bytes).toString('hex')).toBe('0001000100000001005c0000')
  })
})

describe('FrameReader', () => {
  it('reads frames alike however they are cut', () => {
    const anyFrame = fc.record({
      type: fc.constantFrom(0, 1, 2, 3),
      flags: fc.integer({ min: 0, max: 15 }),
      id: fc.integer({ min: 0, max: 0xffff_ffff }),
      payload: fc.uint8Array({ maxLength: 40 }),
      length: fc.integer({ min: 0, max: 0xffff_ffff }),
    })
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 12 }), fc.integer(), (frames, seed) => {
        const bytes = Buffer.concat(
          frames.map(({ type, flags, id, payload, length }) => {
            const isData = type === FrameType.data
            const out = Buffer.alloc(headerBytes)
            writeHeader(out, 0, type, flags, id, isData ? payload.length : length)
            return isData ? Buffer.concat([out, payload]) : out
          }),
        )
        const expected = frames.map(({ type, flags, id, payload, length }) =>
          type === FrameType.data
            ? `${type} ${flags} ${id} ${payload.length} [${payload.join()}] end`
            : `${type} ${flags} ${id} ${length}`,
        )
        expect(read(bytes, seed)).toEqual(expected)
      }),
    )
  })

  it('never throws or reads over on any bytes, and says nothing after a fault', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer(), (bytes, seed) => {
        const seen = read(bytes, seed)
        const fault = seen.findIndex((line) => line.startsWith('fault'))
        expect(fault === -1 || fault === seen.length - 1).toBe(true)
      }),
    )
  })

  it('refuses versions, types and flags that do not exist', () => {
    expect(read(Buffer.from('0100000000000001'.padEnd(24, '0'), 'hex'), 1)).toEqual(['fault version 1'])
    expect(read(Buffer.from('0004000000000001'.padEnd(24, '0'), 'hex'), 1)).toEqual(['fault frame type 4'])
    expect(read(Buffer.from('0001001000000001'.padEnd(24, '0'), 'hex'), 1)).toEqual(['fault flags 0x10'])
  })
})

function read(bytes: Uint8Array, seed: number): string[] {
  const choose = chooser(seed)
  const lines: string[] = []
  let payload: number[] | undefined
  const reader = new FrameReader({
    onFrame(type, flags, id, length) {
      lines.push(`${type} ${flags} ${id} ${length}`)
      payload = []
    },
    onPayload(piece) {
      expect(piece.length).toBeGreaterThan(0)
      payload?.push(...piece)
      return true
    },
    onPayloadEnd() {
      lines.push(`${lines.pop()} [${payload?.join()}] end`)
    },
    onFault: (reason) => lines.push(`fault ${reason}`),
  })
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + choose(20)
    // Memory of its own, so that reading over would be found.
    expect(reader.read(Uint8Array.from(bytes.subarray(at, at + length)))).toBe(true)
    at += length
  }
  return lines
}
