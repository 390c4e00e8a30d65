import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChunkReader } from './chunk-reader.ts'
import { anyMessages, anySender, chooser, cut, speak, testPayload } from './chunk-reader.testkit.ts'
import { ChunkRelay, type ChunkRelayOptions } from './chunk-relay.ts'
import { ChunkWriter } from './chunk-writer.ts'
import { commandMessage, commandName } from './command.ts'
import { acknowledgementMessage, MessageType, setChunkSizeMessage } from './message.ts'
import type { RtmpMessage } from './message.ts'
import { ResumedTimeline } from './resumed-timeline.ts'

/** The receiver behind relays that follow one another. */
class Far {
  readonly reader = new ChunkReader({ side: 'self' })
  readonly received: RtmpMessage[] = []

  constructor() {
    this.reader.push(new ChunkWriter().write(setChunkSizeMessage(60_000)))
    this.reader.next()
  }

  readonly sink = (bytes: Uint8Array): void => {
    this.reader.push(Buffer.from(bytes))
    for (let message = this.reader.next(); message !== undefined; message = this.reader.next()) {
      if (message.type !== MessageType.setChunkSize && message.type !== MessageType.abort)
        this.received.push(message)
    }
  }

  relay(near: ChunkReader, options: Partial<ChunkRelayOptions> = {}): ChunkRelay {
    return new ChunkRelay({ outgoingChunkSize: 60_000, ...options, state: near.detach(), sink: this.sink })
  }
}

function nearAt(chunkSize: number): ChunkReader {
  const near = new ChunkReader()
  near.push(new ChunkWriter().write(setChunkSizeMessage(chunkSize)))
  near.next()
  return near
}

function frame(timestamp: number, length: number, fields: Partial<RtmpMessage> = {}): RtmpMessage {
  const payload = testPayload(length, timestamp)
  return { chunkStreamId: 6, type: MessageType.video, streamId: 1, timestamp, payload, ...fields }
}

const hopByHop = new Set([1, 2, 3, 5, 6])
const media = new Set([8, 9, 22])
const isFrame = (_type: number, payload: Uint8Array): boolean => payload.length !== 1

describe('a far side that goes on with another near side', () => {
  it.each([
    ['within its first chunk', 1000, 70_000],
    ['between its chunks', 12 + 60_000, 70_000],
    ['within its header, so that nothing of it came', 5, 70_000],
    ['within its only chunk', 1000, 40_000],
  ])('gets a message that broke off %s whole or not at all, and then the next', (_name, sent, length) => {
    const far = new Far()
    const before = far.relay(nearAt(60_000))
    before.start()
    before.push(new ChunkWriter(60_000).write(frame(500, length)).subarray(0, sent))
    const resumed = before.detachFar()
    const after = far.relay(nearAt(60_000), { resumed })
    after.start()
    after.push(new ChunkWriter(60_000).write(frame(9000, length)))
    const seen = far.received.map(({ timestamp, payload }) => [timestamp, payload.length])
    expect(seen).toEqual(
      sent > 12
        ? [
            [500, length],
            [501, length],
          ]
        : [[9000, length]],
    )
    expect(far.received.at(-1)?.payload).toEqual(frame(9000, length).payload)
  })

  it('hears control messages of ours in between', () => {
    const far = new Far()
    const before = far.relay(nearAt(60_000))
    before.start()
    before.push(new ChunkWriter(60_000).write(frame(500, 1000)).subarray(0, 100))
    const resumed = before.detachFar()
    before.inject(acknowledgementMessage(7))
    const after = far.relay(nearAt(60_000), { resumed })
    after.start([frame(3, 10, { chunkStreamId: 3 })])
    expect(far.received.map(({ type, timestamp }) => [type, timestamp])).toEqual([
      [9, 500],
      [3, 0],
      [9, 501],
    ])
  })

  it('is never told a time before what it saw last, though the near side steps back by a delta', () => {
    const far = new Far()
    const before = far.relay(nearAt(60_000))
    before.start()
    before.push(new ChunkWriter(60_000).write(frame(90_000, 10)))
    const after = far.relay(nearAt(60_000), { resumed: before.detachFar() })
    after.start()
    after.push(new ChunkWriter(60_000).write(frame(1000, 10)))
    const payload = testPayload(10, 1)
    // Twice 20 ms on, then 2,000 back, then 20 on.
    for (const delta of ['000014', '000014', 'ffffff', '000014']) {
      const extended = delta === 'ffffff' ? 'fffff830' : ''
      after.push(Buffer.concat([Buffer.from(`86${delta}${extended}`, 'hex'), payload]))
    }
    expect(far.received.map(({ timestamp }) => timestamp)).toEqual([
      90_000, 90_001, 90_021, 90_041, 90_000, 90_000,
    ])
  })

  it('understands whatever the two send, wherever the first breaks off, with times that go on', () => {
    fc.assert(
      fc.property(
        anyMessages,
        anyMessages,
        anySender,
        anySender,
        fc.nat(1000),
        fc.nat(5),
        (messages, furtherMessages, sender, furtherSender, breakAt, joinAfter) => {
          const far = new Far()
          const choose = chooser(sender.seed)
          const said = speak(messages, choose, sender)
          const broken = said.bytes.subarray(0, Math.floor((said.bytes.length * breakAt) / 1000))
          const before = far.relay(new ChunkReader())
          before.start()
          for (const piece of cut(broken, choose, 5000)) before.push(piece)
          const resumed = before.detachFar()
          // All that it has seen is whole.
          const seenBefore = far.received.length

          const near = new ChunkReader()
          const inTime = furtherMessages.map((one) => ({ ...one, timestamp: one.timestamp % 50_000 }))
          const further = speak(inTime, choose, furtherSender)
          const pieces = cut(further.bytes, choose, 5000)
          let read = 0
          let next = 0
          while (read < joinAfter && next < pieces.length) {
            near.push(pieces[next++] ?? Buffer.of())
            while (read < joinAfter && near.next() !== undefined) read++
          }
          const streamIds = new Map([[1, 9]])
          const { chunkSize } = resumed
          const after = far.relay(near, { resumed, outgoingChunkSize: chunkSize, isFrame, streamIds })
          after.start()
          for (const piece of pieces.slice(next)) after.push(piece)

          const timeline = new ResumedTimeline(resumed.timestamp)
          const expected = further.messages
            .slice(read)
            .filter(({ type }) => !hopByHop.has(type))
            .map((one) => {
              const isFirst = !timeline.isSettled && media.has(one.type) && isFrame(one.type, one.payload)
              if (isFirst) timeline.settle(one.timestamp)
              return {
                ...one,
                timestamp: timeline.at(one.timestamp),
                streamId: streamIds.get(one.streamId) ?? one.streamId,
              }
            })
          const found = far.received.slice(seenBefore)
          expect(found.map(heading)).toEqual(expected.map(heading))
          found.forEach(({ type, payload }, index) => {
            if (type !== MessageType.userControl)
              expect(Buffer.compare(payload, expected[index]?.payload ?? Buffer.of())).toBe(0)
          })
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('a near side that goes on to another far side', () => {
  it('of a message whose begin the first one got, the second gets nothing', () => {
    const [first, second] = [new Far(), new Far()]
    const bytes = Buffer.concat(
      [frame(1, 130_000), frame(2, 100)].map((one) => new ChunkWriter(60_000).write(one)),
    )
    const before = first.relay(nearAt(60_000))
    before.start()
    before.push(Buffer.from(bytes.subarray(0, 80_000)))
    const after = new ChunkRelay({ outgoingChunkSize: 60_000, state: before.detachNear(), sink: second.sink })
    after.start()
    after.push(Buffer.from(bytes.subarray(80_000)))
    expect(second.received).toEqual([frame(2, 100)])
  })

  it('loses only messages that were crossing, wherever the change comes', () => {
    fc.assert(
      fc.property(anyMessages, anySender, fc.nat(1000), (messages, sender, changeAt) => {
        const [first, second] = [new Far(), new Far()]
        const choose = chooser(sender.seed)
        const said = speak(messages, choose, sender)
        const at = Math.floor((said.bytes.length * changeAt) / 1000)
        const before = first.relay(new ChunkReader())
        before.start()
        for (const piece of cut(said.bytes.subarray(0, at), choose, 5000)) before.push(piece)
        const seen = first.received.length
        const after = new ChunkRelay({
          outgoingChunkSize: 60_000,
          state: before.detachNear(),
          sink: second.sink,
        })
        after.start()
        for (const piece of cut(said.bytes.subarray(at), choose, 5000)) after.push(piece)
        const expected = said.messages.filter(({ type }) => !hopByHop.has(type))
        const whole = [...first.received.slice(0, seen), ...second.received]
        let next = 0
        for (const one of expected) {
          if (JSON.stringify(heading(one)) === JSON.stringify(heading(whole[next] ?? frame(0, 0)))) next++
        }
        expect(next).toBe(whole.length)
        expect(expected.length - whole.length).toBeLessThanOrEqual(8)
      }),
      { numRuns: 150 },
    )
  })
})

describe('commands that are inspected', () => {
  it('go on or end here, and what follows on their chunk stream is right', () => {
    const far = new Far()
    const names: string[] = []
    const relay = far.relay(nearAt(60_000), {
      inspect: (command) => {
        const name = commandName(command, 'client')
        names.push(name)
        return name !== 'play'
      },
    })
    relay.start()
    const said = ['FCPublish', 'play', 'deleteStream'].map((name) =>
      commandMessage({ name, transactionId: 0, args: [null] }, 1),
    )
    for (const one of said) for (const byte of new ChunkWriter(60_000).write(one)) relay.push(Buffer.of(byte))
    // A type 3 header that repeats the command before on the same chunk stream.
    relay.push(Buffer.concat([Buffer.of(0xc3), said[2]!.payload]))
    expect(names).toEqual(['FCPublish', 'play', 'deleteStream', 'deleteStream'])
    expect(far.received.map((one) => commandName(one, 'self'))).toEqual([
      'FCPublish',
      'deleteStream',
      'deleteStream',
    ])
  })
})

function heading({ payload, ...rest }: RtmpMessage): unknown {
  return { ...rest, length: payload.length }
}
