import fc from 'fast-check'
import { MessageType } from './message.ts'
import type { RtmpMessage } from './message.ts'

/** Gives pseudo-random integers from 0 to below `limit`. */
export type Choose = (limit: number) => number

/** A `Choose` that repeats for its seed (mulberry32). */
export function chooser(seed: number): Choose {
  let state = seed >>> 0
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}

/** What a sender said, and the messages that a receiver must have understood, in order of completion. */
export interface Conversation {
  readonly bytes: Buffer
  readonly messages: readonly RtmpMessage[]
}

interface SenderStream {
  readonly type: number
  readonly length: number
  readonly streamId: number
  readonly timestamp: number
  readonly field: number
}

interface OpenMessage {
  readonly message: RtmpMessage
  readonly field: number
  sent: number
}

export interface SenderOptions {
  /** Leave the extended timestamp out of type 3 headers, as some senders do. */
  readonly omitsExtended?: boolean
  /** Drop unfinished messages by Abort now and then. */
  readonly aborts?: boolean
  readonly chunkSize?: number
}

/**
 * An encoder that shares nothing with the one under test and uses every freedom of the format: all header
 * types, longer basic headers than needed, messages of several chunk streams interleaved, a chunk size that
 * changes between chunks of a message. Written from RTMP 1.0 §5.3.
 */
export function speak(
  messages: readonly RtmpMessage[],
  choose: Choose,
  options: SenderOptions = {},
): Conversation {
  const parts: Buffer[] = []
  const complete: RtmpMessage[] = []
  const streams = new Map<number, SenderStream>()
  const open = new Map<number, OpenMessage>()
  const waiting = [...messages]
  let chunkSize = options.chunkSize ?? 128

  const header = (format: number, id: number): Buffer => {
    if (id < 64) return Buffer.of((format << 6) | id)
    if (id < 320 && choose(2) === 0) return Buffer.of(format << 6, id - 64)
    return Buffer.of((format << 6) | 1, (id - 64) % 256, Math.floor((id - 64) / 256))
  }
  const payload = (current: OpenMessage): void => {
    const { message } = current
    const next = message.payload.subarray(current.sent, current.sent + chunkSize)
    parts.push(Buffer.from(next))
    current.sent += next.length
    if (current.sent < message.payload.length) {
      open.set(message.chunkStreamId, current)
      return
    }
    open.delete(message.chunkStreamId)
    complete.push(message)
    if (message.type === MessageType.setChunkSize) chunkSize = Buffer.from(message.payload).readUInt32BE(0)
    if (message.type === MessageType.abort) open.delete(Buffer.from(message.payload).readUInt32BE(0))
  }
  const begin = (message: RtmpMessage): void => {
    const { chunkStreamId: id, type, streamId, timestamp } = message
    const { length } = message.payload
    const before = streams.get(id)
    const formats = [0]
    const delta = before === undefined ? 0 : (timestamp - before.timestamp) >>> 0
    if (before?.streamId === streamId) {
      formats.push(1, 1)
      if (before.length === length && before.type === type) {
        formats.push(2, 2)
        // An omitted field shows only by what comes after it, which after an empty message may be nothing.
        const isShown = length > 0 || delta < 0xffffff || options.omitsExtended !== true
        if (before.field === delta && isShown) formats.push(3, 3, 3, 3)
      }
    }
    const format = formats[choose(formats.length)] ?? 0
    const field = format === 0 ? timestamp : format === 3 ? (before?.field ?? 0) : delta
    const tail = Buffer.alloc(15)
    tail.writeUIntBE(Math.min(field, 0xffffff), 0, 3)
    tail.writeUIntBE(length, 3, 3)
    tail.writeUInt8(type, 6)
    tail.writeUInt32LE(streamId, 7)
    parts.push(header(format, id), tail.subarray(0, [11, 7, 3, 0][format]))
    if (field >= 0xffffff && (format < 3 || options.omitsExtended !== true)) parts.push(be32(field))
    streams.set(id, { type, length, streamId, timestamp, field })
    payload({ message, field, sent: 0 })
  }

  while (waiting.length > 0 || open.size > 0) {
    const next = waiting[0]
    const canBegin = next !== undefined && !open.has(next.chunkStreamId)
    if (canBegin && (open.size === 0 || choose(3) === 0)) {
      waiting.shift()
      begin(next)
      continue
    }
    const current = [...open.values()][choose(open.size)]
    if (current === undefined) continue
    const id = current.message.chunkStreamId
    if (options.aborts === true && !open.has(2) && choose(8) === 0) {
      begin({ chunkStreamId: 2, type: MessageType.abort, streamId: 0, timestamp: 0, payload: be32(id) })
      continue
    }
    parts.push(header(3, id))
    if (current.field >= 0xffffff && options.omitsExtended !== true) parts.push(be32(current.field))
    payload(current)
  }
  return { bytes: Buffer.concat(parts), messages: complete }
}

/** Cuts bytes into pieces of random lengths; each piece is a copy in memory of its own. */
export function cut(bytes: Uint8Array, choose: Choose, longest: number): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + choose(longest)
    pieces.push(Buffer.from(bytes.subarray(at, at + length)))
    at += length
  }
  return pieces
}

/** Payload whose bytes cannot be mistaken for an extended timestamp that these tests use. */
export function testPayload(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at++) bytes[at] = 0x40 | ((at * 7 + seed * 13 + (at >> 6)) & 0x3f)
  return bytes
}

const timestamp = fc.oneof(
  fc.nat(5000),
  fc.constantFrom(0xfffffe, 0xffffff, 0x1000000, 0x2000000, 0x7fffffff, 0x80000000, 0xffffffff),
)

const chunkSize = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.integer({ min: 1, max: 65_536 }),
  fc.constantFrom(60_000, 65_536, 0x7fffffff),
)

const media: fc.Arbitrary<RtmpMessage> = fc
  .record({
    chunkStreamId: fc.constantFrom(2, 3, 4, 63, 64, 319, 320, 65_599),
    type: fc.constantFrom(4, 8, 9, 9, 18, 20, 22, 255),
    streamId: fc.constantFrom(0, 1, 1, 1, 7),
    timestamp,
    length: fc.oneof(fc.nat(3), fc.nat(700), fc.constantFrom(128, 256, 60_000, 60_001, 130_000)),
    seed: fc.nat(63),
  })
  .map(({ length, seed, ...rest }) => ({ ...rest, payload: testPayload(length, seed) }))

const control: fc.Arbitrary<RtmpMessage> = fc
  .oneof(
    chunkSize.map((size) => ({ type: MessageType.setChunkSize, payload: be32(size) })),
    fc.nat().map((sequence) => ({ type: MessageType.acknowledgement, payload: be32(sequence) })),
    fc.nat().map((window) => ({ type: MessageType.windowAcknowledgementSize, payload: be32(window) })),
    fc.nat().map((window) => ({
      type: MessageType.setPeerBandwidth,
      payload: Buffer.concat([be32(window), Buffer.of(2)]),
    })),
  )
  .chain((message) =>
    fc
      .constantFrom(2, 2, 2, 3)
      .map((chunkStreamId) => ({ ...message, chunkStreamId, streamId: 0, timestamp: 0 })),
  )

/**
 * Messages of a sender: several on one chunk stream whose times go on by the same step (what type 3 headers
 * are for), single ones of any kind, and protocol control.
 */
export const anyMessages: fc.Arbitrary<RtmpMessage[]> = fc
  .array(
    fc.oneof(
      media.map((message) => [message]),
      control.map((message) => [message]),
      fc
        .record({ message: media, step: timestamp, count: fc.integer({ min: 2, max: 5 }) })
        .map(({ message, step, count }) =>
          Array.from({ length: count }, (_, index) => ({
            ...message,
            timestamp: (message.timestamp + step * index) % 2 ** 32,
          })),
        ),
    ),
    { maxLength: 12 },
  )
  .map((runs) => runs.flat())

export const anySender: fc.Arbitrary<{ seed: number; omitsExtended: boolean; aborts: boolean }> = fc.record({
  seed: fc.nat(),
  omitsExtended: fc.boolean(),
  aborts: fc.boolean(),
})

function be32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
