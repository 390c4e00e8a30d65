import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StunAttribute, StunClass, StunMethod, StunWriter } from '../stun/index.ts'
import { encodeChannelData } from './channel-data.ts'
import { maxFrameBytes, StreamFramer } from './stream-framer.ts'

const transactionId = new Uint8Array(12).fill(7)
const request = new StunWriter(StunMethod.refresh, StunClass.request, transactionId)
  .u32(StunAttribute.lifetime, 600)
  .finish()

describe('frames of a stream', () => {
  test('any chunking gives the same frames', () => {
    const frame = fc.oneof(
      fc
        .tuple(fc.integer({ min: 0x4000, max: 0x7fff }), fc.uint8Array({ maxLength: 40 }))
        .map(([channel, data]) => encodeChannelData(channel, data, true)),
      fc
        .uint8Array({ maxLength: 30 })
        .map((value) =>
          new StunWriter(StunMethod.send, StunClass.indication, transactionId)
            .attribute(StunAttribute.data, value)
            .finish(),
        ),
    )
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 8 }),
        fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 40 }),
        (frames, sizes) => {
          const framer = new StreamFramer()
          expect(framesOf(framer, cut(Buffer.concat(frames), sizes))).toEqual(frames)
          expect([framer.isBroken, framer.heldBytes]).toEqual([false, 0])
        },
      ),
    )
  })

  test.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])(
    'ChannelData with %i bytes comes out at once, byte by byte too',
    (size) => {
      const frame = encodeChannelData(0x4001, new Uint8Array(size).fill(9), true)
      expect(framesOf(new StreamFramer(), [frame])).toEqual([frame])
      expect(framesOf(new StreamFramer(), cut(frame, Array(frame.length).fill(1)))).toEqual([frame])
    },
  )

  test.each([65_530, 65_531, 65_532, 65_533, 65_534, 65_535])(
    'a payload of %i bytes is one frame, and the next follows',
    (size) => {
      const frame = encodeChannelData(0x4001, new Uint8Array(size).fill(5), true)
      for (const chunks of [
        [Buffer.concat([frame, request])],
        cut(Buffer.concat([frame, request]), [3, 2, 40_000]),
      ]) {
        const frames = framesOf(new StreamFramer(), chunks)
        expect(frames.map(({ length }) => length)).toEqual([frame.length, request.length])
        expect(frames[0]?.equals(frame)).toBe(true)
        expect(frames[1]?.equals(request)).toBe(true)
      }
    },
  )

  test('a STUN message of full length is the longest frame', () => {
    const longest = Buffer.alloc(maxFrameBytes - 3)
    request.copy(longest)
    longest.writeUInt16BE(0xfffc, 2)
    expect(framesOf(new StreamFramer(), [longest])).toEqual([longest])
  })

  test('never throws on any bytes, and gives no byte that did not come', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 20 }),
        (bytes, sizes) => {
          const framer = new StreamFramer()
          const frames = framesOf(framer, cut(Buffer.from(bytes), sizes))
          const framed = Buffer.concat(frames)
          expect(framed.equals(Buffer.from(bytes).subarray(0, framed.length))).toBe(true)
          if (!framer.isBroken) expect(framed.length + framer.heldBytes).toBe(bytes.length)
        },
      ),
    )
  })

  test('frames stay as they are until the next push', () => {
    const framer = new StreamFramer()
    const head = Buffer.from(request.subarray(0, 10))
    expect([...framer.push(head)]).toEqual([])
    // What is held was copied: the chunk's memory is the caller's again.
    head.fill(0xff)
    const rest = Buffer.concat([request.subarray(10), request, request])
    const frames: Uint8Array[] = []
    for (const frame of framer.push(rest)) {
      frames.push(frame)
      expect(frames).toEqual(Array(frames.length).fill(request))
    }
    expect(frames).toHaveLength(3)
  })
})

describe('what breaks the stream', () => {
  test.each([
    ['a first byte of neither', '80000000'],
    ['a STUN length that is no multiple of four', '00010003 2112a442'],
  ])('%s', (_name, bytes) => {
    for (const chunks of [[Buffer.from(bytes.replace(' ', ''), 'hex')], cutSingle(bytes)]) {
      const framer = new StreamFramer()
      expect(framesOf(framer, [request, ...chunks, request])).toEqual([request])
      expect(framer.isBroken).toBe(true)
    }
  })

  test('a frame over the limit, before memory is taken for it', () => {
    const small = encodeChannelData(0x4000, new Uint8Array(96), true)
    const big = encodeChannelData(0x4000, new Uint8Array(97), true)
    for (const sizes of [[], [2, 2, 1]]) {
      const framer = new StreamFramer(100)
      expect(framesOf(framer, cut(Buffer.concat([small, big.subarray(0, 5)]), sizes))).toEqual([small])
      expect(framer.isBroken).toBe(true)
      expect(framer.heldBytes).toBeLessThanOrEqual(4)
    }
  })

  test('the limit can be raised between two frames', () => {
    const big = encodeChannelData(0x4000, new Uint8Array(97), true)
    const framer = new StreamFramer(100)
    expect(framesOf(framer, [request])).toEqual([request])
    framer.maxBytes = 104
    expect(framesOf(framer, [big])).toEqual([big])
  })

  test('a broken stream stays broken when the limit is raised', () => {
    const big = encodeChannelData(0x4000, new Uint8Array(97), true)
    const framer = new StreamFramer(100)
    expect(framesOf(framer, cut(big, [2, 3]))).toEqual([])
    framer.maxBytes = 1000
    expect(framesOf(framer, [big, request])).toEqual([])
  })
})

describe('stop', () => {
  const raw = Buffer.from('raw bytes that look like anything')

  test.each([[[]], [[1]], [[5, 9]], [[request.length]], [[request.length - 1]]])(
    'hands over what is pipelined behind the frame, chunks cut by %j',
    (sizes) => {
      const framer = new StreamFramer()
      const rest: Uint8Array[] = []
      let isStopped = false
      for (const chunk of cut(Buffer.concat([request, raw]), sizes)) {
        if (isStopped) rest.push(chunk)
        else {
          for (const frame of framer.push(chunk)) {
            expect(Buffer.from(frame)).toEqual(request)
            rest.push(framer.stop())
            isStopped = true
          }
        }
      }
      expect(Buffer.concat(rest)).toEqual(raw)
    },
  )

  test('hands over the begun frame as well when it comes between two pushes', () => {
    const held = new StreamFramer()
    expect(framesOf(held, [Buffer.concat([request, request.subarray(0, 7)])])).toEqual([request])
    expect(Buffer.from(held.stop())).toEqual(request.subarray(0, 7))
    expect(held.heldBytes).toBe(0)
    expect(framesOf(held, [request])).toEqual([])
  })
})

function framesOf(framer: StreamFramer, chunks: readonly Uint8Array[]): Buffer[] {
  return chunks.flatMap((chunk) => Array.from(framer.push(chunk), (frame) => Buffer.from(frame)))
}

/** The bytes in chunks of these sizes, the last one with all that is left. */
function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  let at = 0
  const chunks = sizes.map((size) => {
    const chunk = bytes.subarray(at, at + size)
    at += chunk.length
    return Buffer.from(chunk)
  })
  return [...chunks, Buffer.from(bytes.subarray(at))]
}

function cutSingle(hex: string): Buffer[] {
  return Array.from(Buffer.from(hex.replace(' ', ''), 'hex'), (byte) => Buffer.of(byte))
}
