import type { ByteSink, ByteStream } from '../../../foundation/byte-stream.ts'
import type { TrafficCounter } from '../statistics/contract.ts'

/** A stream to a service whose bytes are counted, and whose end is told. */
export class CountedStream implements ByteStream, TrafficCounter {
  readonly #inner: ByteStream
  readonly #onClose: () => void
  bytesIn = 0
  bytesOut = 0

  constructor(inner: ByteStream, onClose: () => void) {
    this.#inner = inner
    this.#onClose = onClose
    // Until there is a reader its end is to be known all the same.
    inner.attach({
      onBytes: () => true,
      onEnd: nothing,
      onDrain: nothing,
      onClose,
    })
  }

  attach(sink: ByteSink): void {
    this.#inner.attach({
      onBytes: (bytes) => {
        this.bytesOut += bytes.length
        return sink.onBytes(bytes)
      },
      onEnd: () => sink.onEnd(),
      onDrain: () => sink.onDrain(),
      onClose: (error) => {
        this.#onClose()
        sink.onClose(error)
      },
    })
  }

  pause(): void {
    this.#inner.pause()
  }

  resume(): void {
    this.#inner.resume()
  }

  unread(bytes: Uint8Array): void {
    this.bytesOut -= bytes.length
    this.#inner.unread(bytes)
  }

  write(bytes: Uint8Array): boolean {
    this.bytesIn += bytes.length
    return this.#inner.write(bytes)
  }

  end(): void {
    this.#inner.end()
  }

  destroy(error?: Error): void {
    this.#inner.destroy(error)
  }
}

function nothing(): void {}
