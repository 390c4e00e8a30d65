import { describe, expect, it } from 'vitest'
import { codecStream, type StreamCodec } from './codec-stream.ts'
import { Reader, streamConformance, turns } from './conformance.testkit.ts'
import { memoryStreamPair } from './memory-stream.testkit.ts'

/** Frames of a length byte and so many bytes turned around: what is written grows, and frames are cut anywhere. */
function framing(): StreamCodec {
  let held = Buffer.alloc(0)
  return {
    encode(bytes) {
      const frames: Buffer[] = []
      for (let at = 0; at < bytes.length; at += 255) {
        const piece = Buffer.from(bytes.subarray(at, at + 255).toReversed())
        frames.push(Buffer.from([piece.length]), piece)
      }
      return Buffer.concat(frames)
    },
    decode(bytes) {
      held = Buffer.concat([held, bytes])
      const pieces: Buffer[] = []
      for (let length = held[0]; length !== undefined && held.length > length; length = held[0]) {
        if (length === 0) throw new Error('an empty frame')
        pieces.push(Buffer.from(held.subarray(1, 1 + length).toReversed()))
        held = held.subarray(1 + length)
      }
      return Buffer.concat(pieces)
    },
  }
}

describe('streams with a codec', () =>
  streamConformance(() => {
    const [first, second] = memoryStreamPair({ chunkBytes: 10_001 })
    return {
      first: codecStream(first, framing()),
      second: codecStream(second, framing()),
      [Symbol.asyncDispose]: async () => Promise.resolve(),
    }
  }))

describe('codecStream', () => {
  it('destroys the stream below both ways with the error of `decode`, once', async () => {
    const [inner, peer] = memoryStreamPair()
    const stream = codecStream(inner, framing())
    const [reader, peerReader] = [new Reader(stream), new Reader(peer)]
    reader.resume()
    peerReader.resume()
    peer.write(Buffer.from([1, 65]))
    peer.write(Buffer.from([0]))
    peer.write(Buffer.from([1, 66]))
    await Promise.all([reader.closed, peerReader.closed])
    await turns()
    expect(reader.error?.message).toBe('an empty frame')
    expect(peerReader.error).toBeInstanceOf(Error)
    expect([reader.bytes.toString(), reader.closes, reader.hasEnded]).toEqual(['A', 1, false])
    expect(stream.write(Buffer.from('x'))).toBe(true)
  })

  it('destroys it likewise with the error of `encode`, after the call', async () => {
    const [inner, peer] = memoryStreamPair()
    const fail = (): never => {
      throw new Error('worn out')
    }
    const stream = codecStream(inner, { encode: fail, decode: fail })
    const [reader, peerReader] = [new Reader(stream), new Reader(peer)]
    expect(stream.write(Buffer.from('x'))).toBe(true)
    expect(reader.isClosed).toBe(false)
    await Promise.all([reader.closed, peerReader.closed])
    expect(reader.error?.message).toBe('worn out')
  })

  it('makes the writer wait as long as the stream below does', async () => {
    const [inner, peer] = memoryStreamPair({ windowBytes: 1000 })
    const stream = codecStream(inner, framing())
    const [reader, peerReader] = [new Reader(stream), new Reader(peer)]
    expect(stream.write(Buffer.alloc(500))).toBe(true)
    expect(stream.write(Buffer.alloc(600))).toBe(false)
    expect(reader.drains).toBe(0)
    peerReader.resume()
    await expect.poll(() => reader.drains, { timeout: 10_000 }).toBe(1)
  })
})
