import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChunkReader } from './chunk-reader.ts'
import { anyMessages, anySender, chooser, cut, speak, testPayload } from './chunk-reader.testkit.ts'
import { ChunkRelay } from './chunk-relay.ts'
import type { ChunkRelayOptions } from './chunk-relay.ts'
import { ChunkWriter } from './chunk-writer.ts'
import { RtmpError } from './errors.ts'
import {
  abortMessage,
  acknowledgementMessage,
  MessageType,
  UserControlEvent,
  setChunkSizeMessage,
  setPeerBandwidthMessage,
  userControlMessage,
  windowAcknowledgementSizeMessage,
} from './message.ts'
import type { RtmpMessage } from './message.ts'
import { mapEventStream } from './stream-event.ts'

/** A relay whose far side is a reader that was told a chunk size of 60,000 in the dialogue. */
class Joined {
  readonly far = new ChunkReader({ side: 'self' })
  readonly received: RtmpMessage[] = []
  readonly slices: Uint8Array[] = []
  readonly relay: ChunkRelay

  constructor(near: ChunkReader, options: Partial<ChunkRelayOptions> = {}) {
    this.far.push(new ChunkWriter().write(setChunkSizeMessage(60_000)))
    this.far.next()
    this.relay = new ChunkRelay({
      outgoingChunkSize: 60_000,
      ...options,
      state: near.detach(),
      sink: (bytes) => {
        this.slices.push(bytes)
        this.far.push(Buffer.from(bytes))
        for (let message = this.far.next(); message !== undefined; message = this.far.next()) {
          this.received.push(message)
        }
      },
    })
    this.relay.start()
  }

  /** What arrived, without the chunk sizes that the relay announced. */
  get messages(): RtmpMessage[] {
    return this.received.filter(({ type }) => type !== MessageType.setChunkSize && type !== MessageType.abort)
  }
}

function nearAt(chunkSize: number): ChunkReader {
  const near = new ChunkReader()
  near.push(new ChunkWriter().write(setChunkSizeMessage(chunkSize)))
  near.next()
  return near
}

function message(fields: Partial<RtmpMessage>): RtmpMessage {
  return { chunkStreamId: 4, type: 9, streamId: 1, timestamp: 0, payload: Buffer.of(1), ...fields }
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
}

const hopByHop = new Set([1, 2, 3, 5, 6])

describe('ChunkRelay', () => {
  it('stream events name the message stream as the far side knows it', () => {
    const streamIds = new Map([[1, 0x0a0b0c0d]])
    const joined = new Joined(nearAt(4), { streamIds })
    const said = [
      userControlMessage(UserControlEvent.streamEof, hex('00 00 00 01')),
      userControlMessage(UserControlEvent.setBufferLength, hex('00 00 00 01 00 00 0b b8')),
      userControlMessage(UserControlEvent.streamBegin, hex('00 00 00 02')),
      userControlMessage(UserControlEvent.pingRequest, hex('00 00 00 01')),
      userControlMessage(UserControlEvent.streamDry, hex('00 01')),
    ]
    for (const one of said)
      for (const byte of new ChunkWriter(4).write(one)) joined.relay.push(Buffer.of(byte))
    expect(joined.messages.map(({ payload }) => Buffer.from(payload).toString('hex'))).toEqual([
      '00010a0b0c0d',
      '00030a0b0c0d00000bb8',
      '000000000002',
      '000600000001',
      '00020001',
    ])
    expect(joined.messages.map(({ streamId }) => streamId)).toEqual([0, 0, 0, 0, 0])
  })

  it('any sender, joined after any message, with any cutting, is understood by the far side', () => {
    fc.assert(
      fc.property(
        anyMessages,
        anySender,
        fc.nat(20),
        fc.constantFrom(1, 20, 5000, 100_000),
        (messages, sender, joinAfter, longest) => {
          const choose = chooser(sender.seed)
          const said = speak(messages, choose, sender)
          const pieces = cut(said.bytes, choose, longest)

          const near = new ChunkReader()
          let read = 0
          let next = 0
          while (read < joinAfter && next < pieces.length) {
            near.push(pieces[next++] ?? Buffer.of())
            while (read < joinAfter && near.next() !== undefined) read++
          }
          const streamIds = new Map([
            [1, 9],
            [9, 1],
          ])
          const joined = new Joined(near, { streamIds })
          for (const piece of pieces.slice(next)) {
            joined.relay.push(piece)
            piece.fill(0xee)
          }

          const expected = said.messages
            .slice(read)
            .filter(({ type }) => !hopByHop.has(type))
            .map((one) => {
              const payload = Buffer.from(one.payload)
              if (one.type === MessageType.userControl) mapEventStream(payload, streamIds)
              return { ...one, payload, streamId: streamIds.get(one.streamId) ?? one.streamId }
            })
          expectSame(joined.messages, expected)
          expect(joined.relay.messages).toBe(expected.length)
          expect(joined.relay.bytesReceived).toBe(said.bytes.length)
          expect(joined.far.chunkSize).toBe(joined.relay.outgoingChunkSize)
          expect(joined.relay.outgoingChunkSize).toBeGreaterThanOrEqual(60_000)
        },
      ),
      { numRuns: 150 },
    )
  })

  it('own control messages injected at any time reach the far side and disturb nothing', () => {
    fc.assert(
      fc.property(anyMessages, anySender, (messages, sender) => {
        const choose = chooser(sender.seed)
        const said = speak(messages, choose, sender)
        const joined = new Joined(new ChunkReader())
        let injected = 0
        for (const piece of cut(said.bytes, choose, 2000)) {
          if (choose(2) === 0) joined.relay.inject(acknowledgementMessage(++injected))
          joined.relay.push(piece)
        }
        expectSame(
          joined.messages.filter(({ type }) => type !== MessageType.acknowledgement),
          said.messages.filter(({ type }) => !hopByHop.has(type)),
        )
        const acknowledged = joined.messages
          .filter(({ type }) => type === MessageType.acknowledgement)
          .map(({ payload }) => Buffer.from(payload).readUInt32BE(0))
        expect(acknowledged).toEqual([...acknowledged].sort((a, b) => a - b))
        if (injected > 0) expect(acknowledged.length).toBeGreaterThan(0)
      }),
      { numRuns: 100 },
    )
  })

  it('passes the incoming bytes themselves where the chunk sizes agree', () => {
    const joined = new Joined(nearAt(60_000))
    const writer = new ChunkWriter(60_000)
    const bytes = Buffer.concat([
      writer.write(message({ payload: testPayload(150_000, 1) })),
      writer.write(message({ timestamp: 40, payload: testPayload(10, 2) })),
    ])
    joined.slices.length = 0
    joined.relay.push(bytes)
    expect(joined.slices).toHaveLength(1)
    expect(joined.slices[0]?.buffer).toBe(bytes.buffer)
    expect(joined.messages).toHaveLength(2)
  })

  it('announces a large incoming chunk size to the far side instead of forwarding it, within the message limit', () => {
    const joined = new Joined(new ChunkReader(), { maxMessageBytes: 1_000_000 })
    expect(joined.received).toEqual([])
    joined.relay.push(new ChunkWriter().write(setChunkSizeMessage(65_536)))
    expect(joined.relay.outgoingChunkSize).toBe(65_536)
    joined.relay.push(new ChunkWriter().write(setChunkSizeMessage(0x7fffffff)))
    expect(joined.relay.outgoingChunkSize).toBe(1_000_000)
    joined.relay.push(new ChunkWriter().write(setChunkSizeMessage(4096)))
    expect(joined.relay.outgoingChunkSize).toBe(1_000_000)
    expect(joined.received).toEqual([setChunkSizeMessage(65_536), setChunkSizeMessage(1_000_000)])
  })

  it('raises a small outgoing chunk size at the join', () => {
    const joined = new Joined(nearAt(4096), { outgoingChunkSize: 128 })
    expect(joined.received).toEqual([setChunkSizeMessage(60_000)])
  })

  it('gathers a message in small chunks and cuts it at the outgoing size', () => {
    const joined = new Joined(nearAt(100))
    joined.relay.push(new ChunkWriter(100).write(message({ payload: testPayload(70_000, 1) })))
    expectSame(joined.messages, [message({ payload: testPayload(70_000, 1) })])
    expect(joined.slices.map(({ length }) => length)).toEqual([12, 60_000, 1, 10_000])
  })

  it('heads the first messages after the join anew until both sides are in step, then passes raw', () => {
    const near = nearAt(60_000)
    near.push(hex('04 000064 000001 09 01000000 aa 84 000014 bb'))
    near.next()
    near.next()
    const joined = new Joined(near)
    const bytes = hex('c4 cc c4 dd c4 ee')
    joined.relay.push(bytes)
    // 140 in full; the next with its delta; from then on type 3 means the same to both.
    expect(Buffer.concat(joined.slices)).toEqual(
      hex('04 00008c 000001 09 01000000 cc 44 000014 000001 09 dd c4 ee'),
    )
    expect(joined.slices.at(-1)?.buffer).toBe(bytes.buffer)
  })

  it('what it writes repeats the extended timestamp, exactly where its own header had one', () => {
    const payload = testPayload(60_001, 1)
    const chunks = (first: string, next: string): Buffer =>
      Buffer.concat([hex(first), payload.subarray(0, 60_000), hex(next), payload.subarray(60_000)])

    const omitted = new Joined(nearAt(60_000))
    omitted.relay.push(chunks('04 ffffff 00ea61 09 01000000 01000000', 'c4'))
    expect(Buffer.concat(omitted.slices)).toEqual(
      chunks('04 ffffff 00ea61 09 01000000 01000000', 'c4 01000000'),
    )

    const near = nearAt(60_000)
    near.push(chunks('04 ffffff 00ea61 09 01000000 01000000', 'c4 01000000'))
    near.next()
    const unneeded = new Joined(near)
    unneeded.relay.push(chunks('84 000014', 'c4'))
    expect(Buffer.concat(unneeded.slices)).toEqual(
      chunks('04 ffffff 00ea61 09 01000000 01000014', 'c4 01000014'),
    )

    const small = nearAt(60_000)
    small.push(hex('04 000001 000001 09 01000000 aa'))
    small.next()
    const needless = new Joined(small)
    needless.relay.push(chunks('44 ffffff 00ea61 09 00000014', 'c4 00000014'))
    expect(Buffer.concat(needless.slices)).toEqual(chunks('04 000015 00ea61 09 01000000', 'c4'))
  })

  it('a message taken out of a chunk stream leaves the next one right', () => {
    const joined = new Joined(new ChunkReader())
    // User control at 10, Acknowledgement at 15, user control at 20 by a type 1, at 25 by a type 3 header.
    joined.relay.push(
      hex(`02 00000a 000006 04 00000000 000600000001
      42 000005 000004 03 00000064
      42 000005 000006 04 000600000002
      c2 000600000003`),
    )
    expect(joined.messages.map(({ timestamp, payload }) => [timestamp, payload.at(-1)])).toEqual([
      [10, 1],
      [20, 2],
      [25, 3],
    ])
  })

  it('an Abort reaches the far side only for a message it has seen a part of', () => {
    const seen = new Joined(nearAt(60_000))
    seen.relay.push(
      new ChunkWriter(60_000).write(message({ payload: testPayload(70_000, 1) })).subarray(0, 60_012),
    )
    seen.relay.push(new ChunkWriter().write(abortMessage(4)))
    seen.relay.push(new ChunkWriter().write(message({})))
    expect(seen.received).toEqual([abortMessage(4), message({})])

    const unseen = new Joined(new ChunkReader())
    unseen.relay.push(new ChunkWriter().write(message({ payload: testPayload(200, 1) })).subarray(0, 140))
    unseen.relay.push(new ChunkWriter().write(abortMessage(4)))
    unseen.relay.push(new ChunkWriter().write(message({})))
    expect(unseen.received).toEqual([message({})])
  })

  it('says when an Acknowledgement is due, by the window that the near side announces', () => {
    const due: number[] = []
    const joined = new Joined(nearAt(60_000), {
      windowBytes: 100_000,
      onAcknowledgementDue: (sequence) => due.push(sequence),
    })
    const before = joined.relay.bytesReceived
    const frame = new ChunkWriter(60_000).write(message({ payload: testPayload(10_000 - 12, 1) }))
    for (let count = 0; count < 10; count++) joined.relay.push(Buffer.from(frame))
    expect(due).toEqual([before + 50_000, before + 100_000])
    joined.relay.push(new ChunkWriter().write(windowAcknowledgementSizeMessage(20_000)))
    expect(joined.relay.windowBytes).toBe(20_000)
    joined.relay.push(Buffer.from(frame))
    expect(due.at(-1)).toBe(before + 110_016)
    expect(joined.messages).toHaveLength(11)
  })

  it('a tiny window does not make an Acknowledgement of every read', () => {
    const due: number[] = []
    const joined = new Joined(nearAt(60_000), { onAcknowledgementDue: (sequence) => due.push(sequence) })
    joined.relay.push(new ChunkWriter().write(windowAcknowledgementSizeMessage(1)))
    const frame = new ChunkWriter(60_000).write(message({ payload: testPayload(20_000, 1) }))
    for (const byte of frame) joined.relay.push(Buffer.of(byte))
    expect(due).toHaveLength(2)
    joined.relay.push(new ChunkWriter().write(windowAcknowledgementSizeMessage(0)))
    expect(joined.relay.windowBytes).toBe(16_384)
  })

  it('an injected message waits for the end of the chunk, and of a message on its own chunk stream', () => {
    const joined = new Joined(nearAt(60_000))
    const frame = new ChunkWriter(60_000).write(message({ payload: testPayload(70_000, 1) }))
    joined.relay.push(frame.subarray(0, 1000))
    joined.relay.inject(acknowledgementMessage(1))
    joined.relay.inject(acknowledgementMessage(2))
    expect(joined.messages).toEqual([])
    joined.relay.push(frame.subarray(1000, 61_000))
    expect(joined.messages).toEqual([acknowledgementMessage(2)])
    joined.relay.push(frame.subarray(61_000))

    const control = message({ chunkStreamId: 2, type: 4, streamId: 0, payload: testPayload(70_000, 1) })
    const bytes = new ChunkWriter(60_000).write(control)
    joined.relay.push(bytes.subarray(0, 60_012))
    joined.relay.inject(setPeerBandwidthMessage(5, 2))
    expect(joined.messages).toHaveLength(2)
    joined.relay.push(bytes.subarray(60_012))
    expect(joined.messages.slice(2).map(({ type }) => type)).toEqual([4, 6])
    expect(() => joined.relay.inject(setChunkSizeMessage(1))).toThrow(
      expect.objectContaining({ code: 'RTMP_MESSAGE_UNWRITABLE' }),
    )
  })

  it('forwards user control and messages without payload', () => {
    const joined = new Joined(new ChunkReader())
    const said = [
      userControlMessage(6, Buffer.of(0, 0, 0, 1)),
      message({ payload: Buffer.of(), timestamp: 7 }),
    ]
    for (const one of said) joined.relay.push(new ChunkWriter().write(one))
    expectSame(joined.messages, said)
  })

  it('bounds what it gathers, and refuses to go on after an error', () => {
    const joined = new Joined(new ChunkReader(), { maxMessageBytes: 250, side: 'origin' })
    joined.relay.push(begun('03'))
    const tooLarge = expect.objectContaining({ code: 'RTMP_MESSAGE_TOO_LARGE', side: 'origin' })
    expect(() => joined.relay.push(begun('04'))).toThrow(tooLarge)
    expect(() => joined.relay.push(Buffer.of(0))).toThrow(tooLarge)
  })

  it('throws nothing but RtmpError on any bytes, and what it let through is never broken', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 8 }), (pieces) => {
        const joined = new Joined(new ChunkReader(), { maxMessageBytes: 1000, maxChunkStreams: 4 })
        try {
          for (const piece of pieces) joined.relay.push(piece)
        } catch (error) {
          expect(error).toBeInstanceOf(RtmpError)
          // Side self would be the far reader, which cannot read what the relay wrote.
          expect(error).toHaveProperty('side', 'client')
        }
      }),
      { numRuns: 2000 },
    )
  })
})

function expectSame(found: readonly RtmpMessage[], expected: readonly RtmpMessage[]): void {
  expect(found.map(heading)).toEqual(expected.map(heading))
  found.forEach((one, index) =>
    expect(Buffer.compare(one.payload, expected[index]?.payload ?? Buffer.of())).toBe(0),
  )
}

function heading({ payload, ...rest }: RtmpMessage): unknown {
  return { ...rest, length: payload.length }
}

function begun(id: string): Buffer {
  return Buffer.concat([hex(`${id} 000000 0000c8 09 01000000`), testPayload(128, 1)])
}
