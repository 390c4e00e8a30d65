import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import {
  acknowledgementMessage,
  ChunkReader,
  ChunkRelay,
  ChunkWriter,
  MessageType,
  setChunkSizeMessage,
} from '../../protocols/rtmp/index.ts'
import { SocketPipe } from './pipe.ts'
import type { PipeOptions, Sink } from './pipe.ts'
import { openConnection, readToEnd, writeAll } from './sockets.testkit.ts'

/** A pipe between two peers: `left` is joined to `right`. */
interface Joined extends AsyncDisposable {
  readonly left: Socket
  readonly right: Socket
  readonly pipe: SocketPipe
}

async function join(
  options?: PipeOptions,
  prepare?: (first: Socket, left: Socket) => Promise<unknown>,
): Promise<Joined> {
  const a = await openConnection()
  const b = await openConnection()
  await prepare?.(a.accepted, a.dialled)
  const pipe = new SocketPipe(a.accepted, b.dialled, options)
  return {
    left: a.dialled,
    right: b.accepted,
    pipe,
    async [Symbol.asyncDispose]() {
      pipe.destroy()
      await pipe.done
      await a[Symbol.asyncDispose]()
      await b[Symbol.asyncDispose]()
    },
  }
}

function pieces(count: number, length: number, seed: number): Buffer[] {
  return Array.from({ length: count }, (_, index) => Buffer.alloc(length + index, (seed + index * 7) & 0xff))
}

/** Waits until a number has stood still for some turns of the event loop. */
async function settled(value: () => number): Promise<number> {
  let last = value()
  for (let still = 0; still < 30; still++) {
    await new Promise((resolve) => setImmediate(resolve))
    if (value() !== last) still = 0
    last = value()
  }
  return last
}

describe('SocketPipe', () => {
  it('carries bytes both ways whole, and counts them', async () => {
    await using joined = await join()
    const { left, right, pipe } = joined
    const up = pieces(300, 30_001, 1)
    const down = pieces(2000, 999, 2)
    const [atRight, atLeft] = await Promise.all([
      readToEnd(right),
      readToEnd(left),
      writeAll(left, up),
      writeAll(right, down),
    ])
    expect(hash(atRight)).toBe(hash(Buffer.concat(up)))
    expect(hash(atLeft)).toBe(hash(Buffer.concat(down)))
    expect(await pipe.done).toEqual({ reason: 'ended' })
    expect(pipe.bytesFromFirst).toBe(atRight.length)
    expect(pipe.bytesFromSecond).toBe(atLeft.length)
    expect(pipe.bytesTakenByFirst).toBe(atLeft.length)
    expect(pipe.bytesTakenBySecond).toBe(atRight.length)
  })

  it.each([
    [
      'one that has bytes to write yet',
      async (first: Socket, left: Socket) => {
        while (first.write(Buffer.alloc(1_000_000))) await new Promise((resolve) => setImmediate(resolve))
        left.resume()
      },
    ],
    [
      'one that has read already',
      async (first: Socket, left: Socket) => {
        left.write('early ')
        await once(first, 'readable')
      },
    ],
  ])('takes a socket as it is: %s', async (name, prepare) => {
    await using joined = await join({}, prepare)
    const received = readToEnd(joined.right)
    joined.left.end('late')
    expect((await received).toString()).toBe(name.includes('read already') ? 'early late' : 'late')
  })

  it.each([
    16_384,
    // So little waits then that the socket never says `drain`.
    1000,
  ])('does not read from one side while the other does not take: read buffer of %i', async (bufferBytes) => {
    await using joined = await join({ bufferBytes })
    const { left, right, pipe } = joined
    right.pause()
    const sent = pieces(1000, 40_000, 3)
    const writing = writeAll(left, sent)
    await expect.poll(() => pipe.bytesFromFirst).toBeGreaterThan(0)
    const stopped = await settled(() => pipe.bytesFromFirst)
    expect(stopped).toBeLessThan(Buffer.concat(sent).length)
    // Not more lies in the pipe than one read.
    expect(stopped - pipe.bytesTakenBySecond).toBeLessThanOrEqual(bufferBytes)
    const received = readToEnd(right)
    await writing
    expect(hash(await received)).toBe(hash(Buffer.concat(sent)))
  })

  it('passes on the end of one side; the other goes on', async () => {
    await using joined = await join()
    const { left, right, pipe } = joined
    const atRight = readToEnd(right)
    left.end('request')
    expect((await atRight).toString()).toBe('request')
    const atLeft = readToEnd(left)
    right.end('answer')
    expect((await atLeft).toString()).toBe('answer')
    expect(await pipe.done).toEqual({ reason: 'ended' })
  })

  it.each([
    ['first-broken', 'left', 'right'],
    ['second-broken', 'right', 'left'],
  ] as const)('a reset ends both: %s', async (reason, broken, other) => {
    await using joined = await join()
    joined[other].resume()
    const closed = once(joined[other], 'end')
    joined[broken].resetAndDestroy()
    expect(await joined.pipe.done).toMatchObject({ reason, error: { code: 'ECONNRESET' } })
    await closed
  })

  it('a socket that has closed before ends the pipe', async () => {
    await using joined = await join({}, async (first) => {
      const closed = once(first, 'close')
      first.destroy()
      await closed
    })
    expect(await joined.pipe.done).toEqual({ reason: 'first-broken' })
  })

  it('a socket whose end was read before passes that on', async () => {
    await using joined = await join({}, async (first, left) => {
      first.resume()
      left.end()
      await once(first, 'end')
    })
    joined.right.resume()
    await once(joined.right, 'end')
    const atLeft = readToEnd(joined.left)
    joined.right.end('answer')
    expect((await atLeft).toString()).toBe('answer')
    expect(await joined.pipe.done).toEqual({ reason: 'ended' })
  })

  it('a transform may write several slices for a read, and to either side at any time', async () => {
    let toLeft: Sink = () => undefined
    await using joined = await join({
      transform: (toFirst, toSecond) => {
        toLeft = toFirst
        toSecond(Buffer.from('<'))
        return {
          fromFirst: (bytes) => {
            toSecond(Buffer.from('['))
            toSecond(bytes)
            toSecond(Buffer.from(']'))
            toFirst(Buffer.from('+'))
          },
          fromSecond: toFirst,
        }
      },
    })
    const [atLeft, atRight] = [readToEnd(joined.left), readToEnd(joined.right)]
    joined.left.write('abc')
    await once(joined.left, 'readable').catch(() => undefined)
    toLeft(Buffer.from('!'))
    joined.left.end()
    expect((await atRight).toString()).toBe('<[abc]')
    toLeft(Buffer.from('?'))
    joined.right.end('.')
    expect((await atLeft).toString()).toBe('+!?.')
    await joined.pipe.done
    toLeft(Buffer.from('too late'))
  })

  it.each([
    [60_000, 16_384],
    [4096, 1000],
  ])(
    'carries RTMP through chunk relays: chunks of %i, read buffers of %i',
    async (chunkSize, bufferBytes) => {
      await using joined = await join({
        bufferBytes,
        transform: (toFirst, toSecond) => {
          const relayTo = (sink: Sink, other: () => ChunkRelay): ChunkRelay =>
            new ChunkRelay({
              state: new ChunkReader().detach(),
              outgoingChunkSize: 128,
              sink,
              windowBytes: 100_000,
              onAcknowledgementDue: (sequence) => other().inject(acknowledgementMessage(sequence)),
            })
          const up = relayTo(toSecond, () => down)
          const down = relayTo(toFirst, () => up)
          up.start()
          down.start()
          return { fromFirst: (bytes) => up.push(bytes), fromSecond: (bytes) => down.push(bytes) }
        },
      })
      const writer = new ChunkWriter()
      const said = [writer.write(setChunkSizeMessage(chunkSize))]
      writer.setChunkSize(chunkSize)
      const frames = pieces(200, 20_000, 5)
      for (const [index, payload] of frames.entries()) {
        said.push(
          writer.write({ chunkStreamId: 4 + (index % 2), type: 9, streamId: 1, timestamp: index, payload }),
        )
      }
      const received = await Promise.all([
        readToEnd(joined.left),
        readToEnd(joined.right),
        writeAll(joined.left, said),
        writeAll(joined.right, said),
      ])
      for (const bytes of received.slice(0, 2)) {
        const reader = new ChunkReader()
        reader.push(bytes ?? Buffer.of())
        const video: Uint8Array[] = []
        let acknowledgements = 0
        for (let message = reader.next(); message !== undefined; message = reader.next()) {
          if (message.type === MessageType.video) video.push(message.payload)
          if (message.type === MessageType.acknowledgement) acknowledgements++
        }
        expect(hash(Buffer.concat(video))).toBe(hash(Buffer.concat(frames)))
        expect(acknowledgements).toBeGreaterThan(10)
      }
    },
  )

  it('what a transform throws ends the pipe', async () => {
    const error = new Error('nonsense')
    const fail = (): never => {
      throw error
    }
    await using atRead = await join({ transform: (toFirst) => ({ fromFirst: fail, fromSecond: toFirst }) })
    atRead.left.write('x')
    expect(await atRead.pipe.done).toEqual({ reason: 'transform-failed', error })
    await using atStart = await join({ transform: fail })
    expect(await atStart.pipe.done).toEqual({ reason: 'transform-failed', error })
  })

  it('destroy ends both, with the error it was given', async () => {
    await using joined = await join()
    const error = new Error('kicked')
    joined.pipe.destroy(error)
    joined.pipe.destroy()
    expect(await joined.pipe.done).toEqual({ reason: 'destroyed', error })
  })

  it('ends when no byte came for the idle timeout', async () => {
    const clock = new ManualClock()
    await using joined = await join({ clock, idleTimeoutMs: 1000 })
    clock.advance(900)
    joined.left.write('x')
    await expect.poll(() => joined.pipe.bytesFromFirst).toBe(1)
    clock.advance(950)
    const early = await Promise.race([joined.pipe.done, Promise.resolve('running')])
    expect(early).toBe('running')
    clock.advance(300)
    expect(await joined.pipe.done).toEqual({ reason: 'idle' })
    expect(clock.pending).toBe(0)
  })

  it('ends when one side takes nothing for the idle timeout, though the other is busy', async () => {
    const clock = new ManualClock()
    await using joined = await join({ clock, idleTimeoutMs: 1000 })
    const { left, right, pipe } = joined
    right.pause()
    left.resume()
    const isFull = (): boolean => !left.write(Buffer.alloc(500_000))
    while (!isFull()) await new Promise((resolve) => setImmediate(resolve))
    await expect.poll(() => pipe.bytesFromFirst).toBeGreaterThan(0)
    await settled(() => pipe.bytesFromFirst)
    for (let step = 0; step < 5; step++) {
      const before = pipe.bytesFromSecond
      right.write('busy')
      await expect.poll(() => pipe.bytesFromSecond).toBeGreaterThan(before)
      clock.advance(250)
    }
    expect(await pipe.done).toEqual({ reason: 'stalled' })
  })

  it('ends when one side takes nothing of the answers to what it sends on and on', async () => {
    const clock = new ManualClock()
    await using joined = await join({
      clock,
      idleTimeoutMs: 1000,
      transform: (toFirst, toSecond) => ({
        fromFirst: () => toFirst(Buffer.alloc(40_000_000)),
        fromSecond: toSecond,
      }),
    })
    const { left, pipe } = joined
    left.pause()
    for (let step = 0; step < 5; step++) {
      const before = pipe.bytesFromFirst
      left.write('again')
      await expect.poll(() => pipe.bytesFromFirst).toBeGreaterThan(before)
      clock.advance(250)
    }
    expect(await pipe.done).toEqual({ reason: 'stalled' })
  })

  it('cuts a side that goes on longer than lingerMs after the other has ended', async () => {
    const clock = new ManualClock()
    await using joined = await join({ clock, lingerMs: 100 })
    joined.right.resume()
    joined.left.end()
    await once(joined.right, 'end')
    joined.right.write('still going')
    clock.advance(100)
    expect(await joined.pipe.done).toEqual({ reason: 'lingered' })
    expect(clock.pending).toBe(0)
  })

  it('reads no faster than its throttle says, and loses nothing', async () => {
    const clock = new ManualClock()
    const charged: number[] = []
    const fromFirst = (bytes: number): number => {
      charged.push(bytes)
      return 1000
    }
    await using joined = await join({ clock, idleTimeoutMs: 60_000, throttle: { fromFirst } })
    const { left, right, pipe } = joined
    const up = pieces(10, 10_000, 3)
    const atRight = readToEnd(right)
    void writeAll(left, up)
    right.end('not held')
    expect(String(await readToEnd(left))).toBe('not held')
    let rounds = 0
    for (; !right.readableEnded; rounds++) {
      const before = charged.length
      await expect
        .poll(() => charged.length > before || right.readableEnded || clock.pending > 1, slow)
        .toBe(true)
      expect(charged.length).toBeLessThanOrEqual(rounds + 1)
      clock.advance(1000)
    }
    expect(hash(await atRight)).toBe(hash(Buffer.concat(up)))
    expect(charged.reduce((sum, bytes) => sum + bytes, 0)).toBe(pipe.bytesFromFirst)
    await pipe.done
    expect(clock.pending).toBe(0)
  })
})

describe('a pipe whose second side is lost', () => {
  it('goes on with another, and gives each direction to it', async () => {
    await using other = await openConnection()
    await using joined = await join({ onSecondGone: () => true })
    const { left, right, pipe } = joined
    const heard = { left: '', other: '' }
    left.on('data', (bytes: Buffer) => (heard.left += bytes.toString()))
    other.accepted.on('data', (bytes: Buffer) => (heard.other += bytes.toString()))
    right.write('first ')
    await expect.poll(() => heard.left, slow).toBe('first ')
    right.resetAndDestroy()
    await expect.poll(() => pipe.isWaiting, slow).toBe(true)
    left.write('into nothing')
    await expect.poll(() => pipe.bytesFromFirst, slow).toBe(12)
    pipe.resume(other.dialled, (toFirst, toSecond) => ({
      fromFirst: (bytes) => toSecond(Buffer.from(`<${bytes.length}>`)),
      fromSecond: toFirst,
    }))
    other.accepted.write('second')
    left.write('abc')
    await expect.poll(() => heard, slow).toEqual({ left: 'first second', other: '<3>' })
  })

  it('carries everything over one change after another, with backpressure', async () => {
    await using joined = await join({ onSecondGone: () => true })
    const { left, right, pipe } = joined
    const atLeft: Buffer[] = []
    left.on('data', (bytes: Buffer) => atLeft.push(bytes))
    const sent: Buffer[] = []
    const send = async (socket: Socket, seed: number): Promise<void> => {
      const bytes = pieces(100, 30_000, seed)
      sent.push(...bytes)
      await writeAll(socket, bytes)
    }
    await send(right, 1)
    for (let round = 2; round < 14; round++) {
      await expect.poll(() => pipe.isWaiting, slow).toBe(true)
      await using next = await openConnection()
      pipe.resume(next.dialled, (toFirst, toSecond) => ({ fromFirst: toSecond, fromSecond: toFirst }))
      await send(next.accepted, round)
      await expect.poll(() => pipe.isWaiting, slow).toBe(true)
    }
    const all = Buffer.concat(sent)
    await expect.poll(() => pipe.bytesTakenByFirst, slow).toBe(all.length)
    await expect.poll(() => atLeft.reduce((sum, { length }) => sum + length, 0), slow).toBe(all.length)
    expect(hash(Buffer.concat(atLeft))).toBe(hash(all))
    expect(pipe.bytesFromSecond).toBe(all.length)
  })

  it.each(['ends', 'breaks'])('is over when the first side %s meanwhile', async (how) => {
    const clock = new ManualClock()
    await using joined = await join({ clock, onSecondGone: () => true })
    const { left, right, pipe } = joined
    right.end()
    await expect.poll(() => pipe.isWaiting, slow).toBe(true)
    if (how === 'ends') left.end()
    else left.resetAndDestroy()
    expect((await pipe.done).reason).toBe(how === 'ends' ? 'ended' : 'first-broken')
    expect(clock.pending).toBe(0)
  })

  it('does not count waiting as idle, and takes no other side after its end', async () => {
    const clock = new ManualClock()
    await using other = await openConnection()
    await using joined = await join({ clock, idleTimeoutMs: 1000, onSecondGone: () => true })
    const { pipe } = joined
    pipe.dropSecond()
    await expect.poll(() => pipe.isWaiting, slow).toBe(true)
    for (let step = 0; step < 20; step++) clock.advance(250)
    expect(pipe.isWaiting).toBe(true)
    pipe.destroy(new Error('enough'))
    expect((await pipe.done).reason).toBe('destroyed')
    pipe.resume(other.dialled, (toFirst, toSecond) => ({ fromFirst: toSecond, fromSecond: toFirst }))
    expect(other.dialled.destroyed).toBe(true)
  })

  it('ends when the owner does not want another, and is not asked once the first side has ended', async () => {
    let asked = 0
    await using joined = await join({ onSecondGone: () => ++asked === 0 })
    joined.right.resetAndDestroy()
    expect((await joined.pipe.done).reason).toBe('second-broken')
    expect(asked).toBeGreaterThan(0)
    await using ended = await join({ onSecondGone: () => ++asked > 0 })
    asked = 0
    ended.right.resume()
    ended.left.resume()
    ended.left.end()
    await once(ended.right, 'end')
    ended.right.end()
    expect((await ended.pipe.done).reason).toBe('ended')
    expect(asked).toBe(0)
  })
})

/** For machines that do much besides. */
const slow = { timeout: 10_000 }

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
