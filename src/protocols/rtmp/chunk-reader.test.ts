import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChunkReader } from './chunk-reader.ts'
import { anyMessages, anySender, chooser, cut, speak, testPayload } from './chunk-reader.testkit.ts'
import { ChunkWriter } from './chunk-writer.ts'
import { RtmpError } from './errors.ts'
import type { RtmpMessage } from './message.ts'
import { abortMessage, setChunkSizeMessage } from './message.ts'

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
}

function readAll(reader: ChunkReader, ...pieces: Uint8Array[]): RtmpMessage[] {
  const messages: RtmpMessage[] = []
  for (const piece of pieces) {
    reader.push(piece)
    for (let message = reader.next(); message !== undefined; message = reader.next()) messages.push(message)
  }
  return messages
}

function message(fields: Partial<RtmpMessage>): RtmpMessage {
  return { chunkStreamId: 4, type: 9, streamId: 1, timestamp: 0, payload: Buffer.of(1), ...fields }
}

describe('ChunkReader', () => {
  it('reads a message in two chunks of 128 bytes', () => {
    // RTMP 1.0 §5.3.2.2: a message longer than the chunk size.
    const payload = testPayload(200, 1)
    const bytes = Buffer.concat([
      hex('04 0003e8 0000c8 09 40e20100'),
      payload.subarray(0, 128),
      hex('c4'),
      payload.subarray(128),
    ])
    expect(readAll(new ChunkReader(), bytes)).toEqual([
      { chunkStreamId: 4, type: 9, streamId: 123456, timestamp: 1000, payload },
    ])
  })

  it('reads four audio messages with headers of types 0, 2, 3, 3', () => {
    // RTMP 1.0 §5.3.2.1.
    const payload = testPayload(32, 2)
    const bytes = Buffer.concat([
      hex('03 0003e8 000020 08 39300000'),
      payload,
      hex('83 000014'),
      payload,
      hex('c3'),
      payload,
      hex('c3'),
      payload,
    ])
    expect(readAll(new ChunkReader(), bytes).map((found) => [found.timestamp, found.streamId])).toEqual([
      [1000, 12345],
      [1020, 12345],
      [1040, 12345],
      [1060, 12345],
    ])
  })

  it('a type 3 header after a type 0 one adds its timestamp', () => {
    const bytes = hex('03 000005 000001 08 01000000 aa c3 bb')
    expect(readAll(new ChunkReader(), bytes).map((found) => found.timestamp)).toEqual([5, 10])
  })

  it.each([
    ['one byte', '3f', 63],
    ['two bytes', '00 ff', 319],
    ['three bytes', '01 00 01', 320],
    ['three bytes where two would do', '01 05 00', 69],
    ['the largest', '01 ff ff', 65_599],
  ])('reads a basic header of %s', (_, basic, id) => {
    const [found] = readAll(new ChunkReader(), hex(`${basic} 000005 000001 08 01000000 aa`))
    expect(found).toMatchObject({ chunkStreamId: id, timestamp: 5, streamId: 1 })
  })

  it.each([
    ['repeated', '01234567'],
    ['left out', ''],
  ])('an extended timestamp is %s in type 3 headers', (_, repeated) => {
    const payload = testPayload(130, 3)
    const bytes = Buffer.concat([
      hex('04 ffffff 000082 09 01000000 01234567'),
      payload.subarray(0, 128),
      hex(`c4 ${repeated}`),
      payload.subarray(128),
    ])
    for (const pieces of [[bytes], cut(bytes, () => 0, 1)]) {
      expect(readAll(new ChunkReader(), ...pieces)).toEqual([message({ timestamp: 0x01234567, payload })])
    }
  })

  it('an extended delta is added, and repeated by a type 3 header that starts a message', () => {
    const bytes = hex(`04 000001 000001 09 01000000 aa
      84 ffffff 01000000 bb
      c4 01000000 cc`)
    expect(readAll(new ChunkReader(), bytes).map((found) => found.timestamp)).toEqual([
      1, 0x1000001, 0x2000001,
    ])
  })

  it('takes the type 1 header with which old librtmp opens chunk stream 2', () => {
    const [found] = readAll(new ChunkReader(), hex('42 000000 000006 04 000700000001'))
    expect(found).toMatchObject({ chunkStreamId: 2, type: 4, streamId: 0, timestamp: 0 })
  })

  it('applies Set Chunk Size between the chunks of a message, and hands it out', () => {
    const reader = new ChunkReader()
    const payload = testPayload(300, 4)
    const bytes = Buffer.concat([
      hex('04 000000 00012c 09 01000000'),
      payload.subarray(0, 128),
      new ChunkWriter().write(setChunkSizeMessage(172)),
      hex('c4'),
      payload.subarray(128),
    ])
    expect(readAll(reader, bytes)).toEqual([setChunkSizeMessage(172), message({ payload })])
    expect(reader.chunkSize).toBe(172)
  })

  it('Abort drops what has come of a message', () => {
    const bytes = Buffer.concat([
      hex('04 000000 00012c 09 01000000'),
      testPayload(128, 5),
      new ChunkWriter().write(abortMessage(4)),
      new ChunkWriter().write(message({})),
    ])
    expect(readAll(new ChunkReader(), bytes)).toEqual([abortMessage(4), message({})])
  })

  it('payloads outlive the buffer they came in', () => {
    const bytes = new ChunkWriter().write(message({ payload: Buffer.from('frame') }))
    const [found] = readAll(new ChunkReader(), bytes)
    bytes.fill(0)
    expect(Buffer.from(found?.payload ?? []).toString()).toBe('frame')
  })

  it.each([
    ['a chunk stream that begins with type 1', 'RTMP_CHUNK_HEADER_INVALID', '43 000000 000001 08 aa'],
    ['a chunk stream that begins with type 3', 'RTMP_CHUNK_HEADER_INVALID', 'c5'],
    ['a message that is too large', 'RTMP_MESSAGE_TOO_LARGE', '04 000000 ffffff 09 01000000'],
    ['Set Chunk Size 0', 'RTMP_CONTROL_MESSAGE_INVALID', '02 000000 000004 01 00000000 00000000'],
    ['Set Chunk Size above 31 bits', 'RTMP_CONTROL_MESSAGE_INVALID', '02 000000 000004 01 00000000 80000000'],
    ['Set Chunk Size of 3 bytes', 'RTMP_CONTROL_MESSAGE_INVALID', '02 000000 000003 01 00000000 000080'],
    ['Abort without payload', 'RTMP_CONTROL_MESSAGE_INVALID', '02 000000 000000 02 00000000'],
  ])('refuses %s, again and again', (_, code, text) => {
    const reader = new ChunkReader()
    reader.push(hex(text))
    expect(() => reader.next()).toThrow(expect.objectContaining({ code, side: 'client' }))
    expect(() => reader.next()).toThrow(expect.objectContaining({ code }))
  })

  it('refuses a new header inside a message', () => {
    const reader = new ChunkReader()
    reader.push(Buffer.concat([hex('04 000000 00012c 09 01000000'), testPayload(128, 5), hex('84 000001')]))
    expect(() => reader.next()).toThrow(expect.objectContaining({ code: 'RTMP_CHUNK_HEADER_INVALID' }))
  })

  it('bounds chunk streams, and the bytes of unfinished messages together', () => {
    const many = new ChunkReader({ maxChunkStreams: 2, side: 'origin' })
    many.push(
      Buffer.concat([3, 4, 5].map((chunkStreamId) => new ChunkWriter().write(message({ chunkStreamId })))),
    )
    many.next()
    many.next()
    expect(() => many.next()).toThrow(
      expect.objectContaining({ code: 'RTMP_TOO_MANY_CHUNK_STREAMS', side: 'origin', retryable: true }),
    )

    const unfinished = new ChunkReader({ maxMessageBytes: 250 })
    for (const id of ['03', '04']) {
      unfinished.push(Buffer.concat([hex(`${id} 000000 0000c8 09 01000000`), testPayload(128, 1)]))
    }
    expect(() => unfinished.next()).toThrow(expect.objectContaining({ code: 'RTMP_MESSAGE_TOO_LARGE' }))
  })

  it('any sender and any cutting give the same messages', () => {
    fc.assert(
      fc.property(
        anyMessages,
        anySender,
        fc.constantFrom(1, 20, 5000, 100_000),
        (messages, sender, longest) => {
          const choose = chooser(sender.seed)
          const said = speak(messages, choose, sender)
          const pieces = cut(said.bytes, choose, longest)
          const reader = new ChunkReader()
          const found: RtmpMessage[] = []
          for (const piece of pieces) {
            found.push(...readAll(reader, piece))
            piece.fill(0)
          }
          expectSame(found, said.messages)
          expect(reader.bytesReceived).toBe(said.bytes.length)
        },
      ),
      { numRuns: 150 },
    )
  })

  it('throws nothing but RtmpError on any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 8 }), (pieces) => {
        const reader = new ChunkReader({ maxMessageBytes: 1000, maxChunkStreams: 4 })
        try {
          readAll(reader, ...pieces)
        } catch (error) {
          expect(error).toBeInstanceOf(RtmpError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('ChunkWriter', () => {
  it('what it writes reads back, at any chunk size', () => {
    fc.assert(
      fc.property(anyMessages, fc.integer({ min: 1, max: 70_000 }), (messages, chunkSize) => {
        const writer = new ChunkWriter()
        const parts = [writer.write(setChunkSizeMessage(chunkSize))]
        writer.setChunkSize(chunkSize)
        const plain = messages.filter(({ type }) => type !== 1)
        for (const one of plain) parts.push(writer.write(one))
        expectSame(readAll(new ChunkReader(), ...parts).slice(1), plain)
      }),
      { numRuns: 100 },
    )
  })

  it('refuses what the format cannot carry', () => {
    const writer = new ChunkWriter()
    const code = 'RTMP_MESSAGE_UNWRITABLE'
    expect(() => writer.write(message({ chunkStreamId: 1 }))).toThrow(expect.objectContaining({ code }))
    expect(() => writer.write(message({ chunkStreamId: 65_600 }))).toThrow(expect.objectContaining({ code }))
    expect(() => writer.write(message({ payload: Buffer.alloc(0x1000000) }))).toThrow(
      expect.objectContaining({ code }),
    )
    expect(() => writer.setChunkSize(0)).toThrow(expect.objectContaining({ code, side: 'self' }))
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
