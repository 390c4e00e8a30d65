import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import type { Timer } from '../../foundation/clock.ts'
import type { ByteBucket } from './byte-bucket.ts'
import { ReadSide } from './read-side.ts'

/**
 * A layer upon a stream that takes from the bucket whatever is read and written, before it passes. What was read waits in
 * memory while the stream is paused, one piece as it came; what is written waits in the writer's memory. An end waits for what
 * was written before it; a close waits for nothing.
 */
export function limitedStream(inner: ByteStream, bucket: ByteBucket): ByteStream {
  return new LimitedStream(inner, bucket)
}

class LimitedStream implements ByteStream, ByteSink {
  readonly #inner: ByteStream
  readonly #bucket: ByteBucket
  readonly #reader: ReadSide
  /** What arrived and has not been paid for; ours. While there is any, the inner stream is paused. */
  #arrived: Uint8Array | undefined
  #readWait: Timer | undefined
  /** What was written and has not been paid for; the writer's. */
  readonly #written: Uint8Array[] = []
  #writeWait: Timer | undefined
  /** The inner stream keeps bytes until its drain. */
  #isBlocked = false
  #isEnded = false
  /** Destroyed or closed. */
  #isOver = false

  constructor(inner: ByteStream, bucket: ByteBucket) {
    this.#inner = inner
    this.#bucket = bucket
    this.#reader = new ReadSide({ pause: () => this.#pauseReading(), resume: () => this.#goOnReading() })
    inner.attach(this)
  }

  attach(sink: ByteSink): void {
    this.#reader.attach(sink)
  }

  pause(): void {
    this.#reader.pause()
  }

  resume(): void {
    this.#reader.resume()
  }

  unread(bytes: Uint8Array): void {
    this.#reader.unread(bytes)
  }

  write(bytes: Uint8Array): boolean {
    if (this.#isEnded || this.#isOver || bytes.length === 0) return true
    if (!this.#isBlocked && this.#written.length === 0 && this.#bucket.tryTake(bytes.length)) {
      this.#isBlocked = !this.#inner.write(bytes)
      return !this.#isBlocked
    }
    this.#written.push(bytes)
    this.#goOnWriting()
    return false
  }

  end(): void {
    if (this.#isEnded || this.#isOver) return
    this.#isEnded = true
    if (this.#written.length === 0) this.#inner.end()
  }

  destroy(error?: Error): void {
    if (!this.#isOver) {
      this.#forget()
      this.#inner.destroy(error)
    }
    this.#reader.close(error)
  }

  onBytes(bytes: Uint8Array): boolean {
    if (this.#isOver) return true
    if (this.#bucket.tryTake(bytes.length)) return this.#reader.deliver(bytes, false)
    this.#inner.pause()
    this.#arrived = Buffer.from(bytes)
    this.#goOnReading()
    return true
  }

  onEnd(): void {
    this.#reader.end()
  }

  onDrain(): void {
    this.#isBlocked = false
    if (this.#written.length > 0) this.#goOnWriting()
    else this.#reader.drain()
  }

  onClose(error?: Error): void {
    this.#forget()
    if (error === undefined) this.#reader.finish()
    else this.#reader.close(error)
  }

  #pauseReading(): void {
    this.#readWait?.cancel()
    this.#readWait = undefined
    this.#inner.pause()
  }

  #goOnReading(): void {
    if (this.#isOver || this.#reader.isPaused || this.#readWait !== undefined) return
    if (this.#arrived === undefined) this.#inner.resume()
    else this.#readWait = this.#bucket.wait(this.#arrived.length, (granted) => this.#read(granted))
  }

  #read(granted: number): void {
    this.#readWait = undefined
    const arrived = this.#arrived
    if (arrived === undefined) return
    this.#arrived = granted < arrived.length ? arrived.subarray(granted) : undefined
    this.#reader.deliver(arrived.subarray(0, granted), true)
    this.#goOnReading()
  }

  #goOnWriting(): void {
    const [first] = this.#written
    if (first === undefined || this.#isBlocked || this.#writeWait !== undefined) return
    this.#writeWait = this.#bucket.wait(first.length, (granted) => this.#write(granted))
  }

  #write(granted: number): void {
    this.#writeWait = undefined
    const [first] = this.#written
    if (first === undefined) return
    if (granted < first.length) this.#written[0] = first.subarray(granted)
    else this.#written.shift()
    this.#isBlocked = !this.#inner.write(first.subarray(0, granted))
    if (this.#written.length > 0) {
      this.#goOnWriting()
      return
    }
    if (this.#isEnded) this.#inner.end()
    if (!this.#isBlocked) this.#reader.drain()
  }

  /** Nothing waits any more. */
  #forget(): void {
    this.#isOver = true
    this.#readWait?.cancel()
    this.#writeWait?.cancel()
    this.#arrived = undefined
    this.#written.length = 0
  }
}
