import { describe, expect, it } from 'vitest'
import { ManualClock, systemClock } from '../../foundation/clock.ts'
import { ByteBucket } from './byte-bucket.ts'
import { Reader, streamConformance, turns } from './conformance.testkit.ts'
import { limitedStream } from './limited-stream.ts'
import { type MemoryStream, memoryStreamPair } from './memory-stream.testkit.ts'

describe('streams with a limit that is seldom met', () =>
  streamConformance(() => {
    const [first, second] = memoryStreamPair({ chunkBytes: 10_001 })
    const bucket = new ByteBucket(1e9, systemClock)
    return {
      first: limitedStream(first, bucket),
      second: limitedStream(second, bucket),
      [Symbol.asyncDispose]: async () => Promise.resolve(),
    }
  }))

describe('streams with a limit that is always met', () =>
  streamConformance(() => {
    const [first, second] = memoryStreamPair({ chunkBytes: 10_001 })
    // Small turns, each of them waited for.
    const hurried = { ...systemClock, nowMs: () => systemClock.nowMs() * 1000 }
    const bucket = new ByteBucket(200_000, hurried)
    return {
      first: limitedStream(first, bucket),
      second: limitedStream(second, bucket),
      [Symbol.asyncDispose]: async () => Promise.resolve(),
    }
  }))

interface Bench {
  readonly clock: ManualClock
  readonly bucket: ByteBucket
  /** The limited stream's carrier, and its peer. */
  readonly inner: MemoryStream
  readonly peer: MemoryStream
  readonly stream: ReturnType<typeof limitedStream>
  readonly reader: Reader
  readonly peerReader: Reader
}

function bench(bytesPerSecond: number): Bench {
  const clock = new ManualClock()
  const bucket = new ByteBucket(bytesPerSecond, clock)
  const [inner, peer] = memoryStreamPair()
  const stream = limitedStream(inner, bucket)
  const [reader, peerReader] = [new Reader(stream), new Reader(peer)]
  reader.resume()
  peerReader.resume()
  return { clock, bucket, inner, peer, stream, reader, peerReader }
}

async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 50) {
    clock.advance(50)
    await turns(1)
  }
}

describe('limitedStream', () => {
  it('echoes 50 KB through 10 KB a second in nine seconds, as reads and writes count both', async () => {
    const { clock, stream, peer, peerReader } = bench(10_240)
    stream.attach({
      onBytes: (bytes) => {
        stream.write(Buffer.from(bytes))
        return true
      },
      onEnd: () => stream.end(),
      onDrain: () => undefined,
      onClose: () => undefined,
    })
    const sent = Buffer.alloc(51_200, 'abcdefg')
    peer.write(sent)
    peer.end()
    await pass(clock, 8500)
    expect(peerReader.length).toBeLessThan(51_200)
    await pass(clock, 600)
    await peerReader.closed
    expect(peerReader.bytes.equals(sent)).toBe(true)
    expect(clock.pending).toBe(0)
  })

  it('shares a bucket among streams: each gets its part', async () => {
    const one = bench(10_000)
    const [inner, peer] = memoryStreamPair()
    const other = new Reader(peer)
    other.resume()
    const stream = limitedStream(inner, one.bucket)
    one.stream.write(Buffer.alloc(60_000))
    stream.write(Buffer.alloc(60_000))
    await pass(one.clock, 4000)
    expect(one.peerReader.length + other.length).toBeGreaterThan(49_000)
    expect(one.peerReader.length + other.length).toBeLessThanOrEqual(50_000)
    expect(Math.abs(one.peerReader.length - other.length)).toBeLessThan(2000)
  })

  it('pauses the stream below while what was read waits', async () => {
    const { clock, inner, peer, reader } = bench(1000)
    peer.write(Buffer.alloc(3000))
    peer.write(Buffer.alloc(3000))
    await turns()
    expect(inner.isPaused).toBe(true)
    await pass(clock, 2100)
    expect(reader.length).toBeGreaterThan(2900)
    expect(reader.length).toBeLessThan(3200)
  })

  it('says false for what waits, and drained once it has left', async () => {
    const { clock, stream, reader, peerReader } = bench(1000)
    expect(stream.write(Buffer.alloc(1000))).toBe(true)
    expect(stream.write(Buffer.alloc(500))).toBe(false)
    await pass(clock, 400)
    expect(reader.drains).toBe(0)
    await pass(clock, 200)
    expect(reader.drains).toBe(1)
    expect(peerReader.length).toBe(1500)
  })

  it('an end waits for what was written before it, and the other side goes on', async () => {
    const { clock, stream, peer, reader, peerReader } = bench(1000)
    stream.write(Buffer.alloc(1000))
    stream.write(Buffer.alloc(1000, 1))
    stream.end()
    await pass(clock, 500)
    expect(peerReader.hasEnded).toBe(false)
    await pass(clock, 600)
    await peerReader.ended
    expect(peerReader.length).toBe(2000)
    peer.write(Buffer.alloc(300))
    await pass(clock, 400)
    expect(reader.length).toBe(300)
    peer.end()
    await Promise.all([reader.closed, peerReader.closed])
    expect([reader.error, clock.pending]).toEqual([undefined, 0])
  })

  it('a hang-up while much waits in both directions closes all at once and leaves no timer', async () => {
    for (const hangUp of ['stream', 'inner', 'peer'] as const) {
      const all = bench(1000)
      const { clock, bucket, stream, inner, peer, reader, peerReader } = all
      stream.write(Buffer.alloc(50_000))
      peer.write(Buffer.alloc(50_000))
      await pass(clock, 500)
      expect(bucket.waiting).toBe(2)
      all[hangUp].destroy(new Error('gone'))
      await Promise.all([reader.closed, peerReader.closed])
      expect([inner.isClosed, peer.isClosed, clock.pending, bucket.waiting, reader.closes]).toEqual([
        true,
        true,
        0,
        0,
        1,
      ])
    }
  })

  it('a pause takes it out of the queue, and what was read stays', async () => {
    const { clock, bucket, stream, peer, reader } = bench(1000)
    peer.write(Buffer.alloc(3000, 1))
    await turns()
    expect(bucket.waiting).toBe(1)
    stream.pause()
    expect([bucket.waiting, clock.pending]).toEqual([0, 0])
    await pass(clock, 3000)
    const before = reader.length
    stream.resume()
    await pass(clock, 3000)
    expect([before, reader.length]).toEqual([0, 3000])
  })
})
