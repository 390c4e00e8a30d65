import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import { ReadSide } from './read-side.ts'

/** Changes bytes on their way, both ways: a cipher, a compression. What it answers is never memory of its own or its input. */
export interface StreamCodec {
  encode(bytes: Uint8Array): Uint8Array
  /** Empty when more has to come. Throws when it cannot be. */
  decode(bytes: Uint8Array): Uint8Array
}

/**
 * A layer upon a stream: what is written goes through `encode`, what arrives through `decode`. Ends and closes pass. When the
 * codec throws, the stream is destroyed with that error, both ways.
 */
export function codecStream(inner: ByteStream, codec: StreamCodec): ByteStream {
  return new CodecStream(inner, codec)
}

class CodecStream implements ByteStream, ByteSink {
  readonly #inner: ByteStream
  readonly #codec: StreamCodec
  readonly #reader: ReadSide
  #isEnded = false
  /** Destroyed or closed. */
  #isOver = false

  constructor(inner: ByteStream, codec: StreamCodec) {
    this.#inner = inner
    this.#codec = codec
    this.#reader = new ReadSide(inner)
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
    if (this.#isEnded || this.#isOver) return true
    let encoded: Uint8Array
    try {
      encoded = this.#codec.encode(bytes)
    } catch (error) {
      this.#fail(error)
      return true
    }
    return encoded.length === 0 || this.#inner.write(encoded)
  }

  end(): void {
    this.#isEnded = true
    this.#inner.end()
  }

  destroy(error?: Error): void {
    if (!this.#isOver) this.#inner.destroy(error)
    this.#isOver = true
    this.#reader.close(error)
  }

  onBytes(bytes: Uint8Array): boolean {
    if (this.#isOver) return true
    let decoded: Uint8Array
    try {
      decoded = this.#codec.decode(bytes)
    } catch (error) {
      this.#fail(error)
      return true
    }
    this.#reader.deliver(decoded, true)
    return true
  }

  onEnd(): void {
    this.#reader.end()
  }

  onDrain(): void {
    this.#reader.drain()
  }

  onClose(error?: Error): void {
    this.#isOver = true
    if (error === undefined) this.#reader.finish()
    else this.#reader.close(error)
  }

  #fail(error: unknown): void {
    this.destroy(error instanceof Error ? error : new Error(String(error)))
  }
}
