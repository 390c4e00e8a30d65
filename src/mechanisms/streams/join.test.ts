import { describe, expect, it } from 'vitest'
import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import { ManualClock } from '../../foundation/clock.ts'
import { pieces, Reader, turns } from './conformance.testkit.ts'
import { joinConformance } from './join-conformance.testkit.ts'
import { joinStreams } from './join.ts'
import { memoryStreamPair } from './memory-stream.testkit.ts'

describe('sockets joined in JavaScript', () => joinConformance(() => ({})))

describe('joinStreams', () => {
  it('joins streams of any kind', async () => {
    const [user, near] = memoryStreamPair({ chunkBytes: 999 })
    const [far, service] = memoryStreamPair({ windowBytes: 5000 })
    const join = joinStreams(near, far)
    const [reader, other] = [new Reader(user), new Reader(service)]
    reader.resume()
    other.resume()
    reader.send(pieces(1, 700_000))
    other.send(pieces(2, 600_000))
    expect(await join.done).toEqual({ reason: 'ended' })
    expect(other.bytes.equals(Buffer.concat(pieces(1, 700_000)))).toBe(true)
    expect(reader.bytes.equals(Buffer.concat(pieces(2, 600_000)))).toBe(true)
    expect([join.bytesFromFirst, join.bytesFromSecond]).toEqual([700_000, 600_000])
  })

  it('a stream that had closed before is a side that broke', async () => {
    const [user, near] = memoryStreamPair()
    const [far, service] = memoryStreamPair()
    user.destroy(new Error('enough'))
    const join = joinStreams(near, far)
    const { reason, error } = await join.done
    expect(reason).toBe('first-broken')
    expect(error?.message).toBe('connection reset by peer')
    expect(service.error).toBeInstanceOf(Error)
  })

  it('what goes to a stream that closed whole with its end is dropped, for a while', async () => {
    const clock = new ManualClock()
    const near = new ClosingStream()
    const [far, service] = memoryStreamPair({ windowBytes: 1000 })
    const join = joinStreams(near, far, { clock, lingerMs: 100 })
    const reader = new Reader(service)
    near.say(Buffer.alloc(100_000, 1))
    near.close()
    await turns()
    reader.send([Buffer.alloc(100_000, 2)], false)
    reader.resume()
    await reader.ended
    expect(reader.length).toBe(100_000)
    clock.advance(99)
    await turns()
    expect(far.isClosed).toBe(false)
    clock.advance(1)
    expect(await join.done).toEqual({ reason: 'lingered' })
    expect(clock.pending).toBe(0)
  })

  it('a side that waits to be read is read to its end when the other has closed', async () => {
    const clock = new ManualClock()
    const near = new ClosingStream()
    near.isFull = true
    const [far, service] = memoryStreamPair()
    const join = joinStreams(near, far, { clock })
    service.write(Buffer.alloc(1000))
    await turns(1)
    expect(far.isPaused).toBe(true)
    near.close()
    service.end()
    service.resume()
    expect(await join.done).toEqual({ reason: 'ended' })
    expect(clock.pending).toBe(0)
  })

  it('has no timers of its own unless asked', () => {
    const clock = new ManualClock()
    const [[, near], [far]] = [memoryStreamPair(), memoryStreamPair()]
    joinStreams(near, far, { clock })
    expect(clock.pending).toBe(0)
    near.destroy()
  })
})

/** Ends and closes in one, as a WebSocket does. */
class ClosingStream implements ByteStream {
  isFull = false
  #sink: ByteSink | undefined

  attach(sink: ByteSink): void {
    this.#sink = sink
  }

  say(bytes: Uint8Array): void {
    this.#sink?.onBytes(bytes)
  }

  close(): void {
    this.#sink?.onEnd()
    this.#sink?.onClose()
  }

  pause(): void {
    // Gives only what a test says.
  }

  resume(): void {
    // As above.
  }

  unread(): void {
    // Nobody does.
  }

  write(): boolean {
    return !this.isFull
  }

  end(): void {
    // It has closed by then.
  }

  destroy(): void {
    // It has closed by then.
  }
}
