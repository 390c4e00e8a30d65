import type { Duplex } from 'node:stream'
import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import { noSink } from './no-sink.ts'

/** Any of Node's byte streams as a `ByteStream`, which owns it from now on. For sockets `socketStream` is faster. */
export function duplexStream(duplex: Duplex): ByteStream {
  return new DuplexByteStream(duplex)
}

class DuplexByteStream implements ByteStream {
  readonly #duplex: Duplex
  #sink: ByteSink = noSink
  #toldSink: ByteSink | undefined
  #isPaused = true
  readonly #held: Uint8Array[] = []
  #owesDrain = false
  #isEnding = false
  #hasPeerEnded: boolean
  #isEndGiven = false
  #isDestroyed = false
  #isClosed: boolean
  #error: Error | undefined

  constructor(duplex: Duplex) {
    this.#duplex = duplex
    duplex.pause()
    this.#hasPeerEnded = duplex.readableEnded
    this.#isClosed = duplex.closed
    this.#error = duplex.errored ?? undefined
    duplex.allowHalfOpen = true
    duplex.on('data', (bytes: Uint8Array) => this.#onBytes(bytes))
    duplex.on('end', () => this.#onEnd())
    duplex.on('error', (error) => {
      this.#error ??= error
    })
    duplex.on('close', () => {
      this.#isClosed = true
      this.#tellClosed()
    })
  }

  attach(sink: ByteSink): void {
    this.#sink = sink
    if (this.#isClosed) queueMicrotask(() => this.#tellClosed())
  }

  pause(): void {
    this.#isPaused = true
    this.#duplex.pause()
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    while (!this.#isPaused) {
      const bytes = this.#held.shift()
      if (bytes === undefined) break
      this.#sink.onBytes(bytes)
    }
    if (this.#isPaused || this.#isDestroyed) return
    if (this.#hasPeerEnded) this.#giveEnd()
    else this.#duplex.resume()
  }

  unread(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#held.unshift(Uint8Array.from(bytes))
  }

  write(bytes: Uint8Array): boolean {
    const duplex = this.#duplex
    if (this.#isEnding || !duplex.writable) return true
    // Copied, as whoever is beneath may hand them on by reference and say that they are done.
    duplex.write(Buffer.from(bytes), this.#onWritten)
    if (duplex.writableLength === 0) return true
    this.#owesDrain = true
    return false
  }

  end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.#duplex.end()
  }

  destroy(error?: Error): void {
    if (this.#isDestroyed || this.#isClosed) return
    this.#isDestroyed = true
    this.#held.length = 0
    this.#error ??= error
    this.#duplex.destroy(error)
  }

  #onBytes(bytes: Uint8Array): void {
    if (this.#isDestroyed) return
    if (this.#isPaused) this.#held.push(bytes)
    else this.#sink.onBytes(bytes)
  }

  #onEnd(): void {
    this.#hasPeerEnded = true
    if (!this.#isPaused && this.#held.length === 0) this.#giveEnd()
  }

  #giveEnd(): void {
    if (this.#isEndGiven || this.#isDestroyed) return
    this.#isEndGiven = true
    this.#sink.onEnd()
    if (this.#isClosed) queueMicrotask(() => this.#tellClosed())
  }

  readonly #onWritten = (): void => {
    if (!this.#owesDrain || this.#duplex.destroyed || this.#duplex.writableLength > 0) return
    this.#owesDrain = false
    this.#sink.onDrain()
  }

  /** Unless it has closed in order, and the sink has not been given all that had come before. */
  #tellClosed(): void {
    if (this.#error === undefined && !this.#isDestroyed && this.#hasPeerEnded && !this.#isEndGiven) return
    if (this.#toldSink === this.#sink) return
    this.#toldSink = this.#sink
    this.#sink.onClose(this.#error)
  }
}
