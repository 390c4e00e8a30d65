import { describe, expect, it } from 'vitest'
import { ReadBuffer, ROOM_BEFORE, ROOM_BEHIND, roomyCopy } from './read-buffer.ts'

describe('ReadBuffer', () => {
  it('stays one small buffer for reads that fit', () => {
    const buffer = new ReadBuffer()
    const first = buffer.current
    for (let read = 0; read < 1000; read++) buffer.wasRead(16_383)
    expect(buffer.current).toBe(first)
    expect(first.length).toBe(16_384)
  })

  it('grows with a read that fills it, and shrinks after many that do not', () => {
    const buffer = new ReadBuffer()
    buffer.wasRead(16_384)
    expect(buffer.current.length).toBe(65_536)
    const large = buffer.current
    for (let read = 0; read < 63; read++) buffer.wasRead(100)
    buffer.wasRead(20_000)
    for (let read = 0; read < 63; read++) buffer.wasRead(100)
    expect(buffer.current).toBe(large)
    buffer.wasRead(100)
    expect(buffer.current.length).toBe(16_384)
  })

  it('has room around what is read, and so has a copy', () => {
    for (const { buffer, byteOffset, length } of [new ReadBuffer().current, roomyCopy(Buffer.from('abc'))]) {
      expect(byteOffset).toBe(ROOM_BEFORE)
      expect(buffer.byteLength - byteOffset - length).toBe(ROOM_BEHIND)
    }
  })
})
