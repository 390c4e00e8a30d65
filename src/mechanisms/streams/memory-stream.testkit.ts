import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import { noSink } from './no-sink.ts'

export interface MemoryStreamOptions {
  /** How many bytes may be on their way in each direction before `write` says `false`. @defaultValue 65,536 */
  readonly windowBytes?: number
  /** The longest piece that is handed over at once. @defaultValue 65,536 */
  readonly chunkBytes?: number
}

/**
 * Two streams in memory, each the peer of the other. Bytes arrive in a later microtask; the end of a side, and a reset as an
 * error with the code ECONNRESET, arrive after them as over TCP.
 */
export function memoryStreamPair(options: MemoryStreamOptions = {}): [MemoryStream, MemoryStream] {
  const { windowBytes = 65_536, chunkBytes = 65_536 } = options
  const [first, second] = [
    new MemoryStream(windowBytes, chunkBytes),
    new MemoryStream(windowBytes, chunkBytes),
  ]
  first.peer = second
  second.peer = first
  return [first, second]
}

/** One side; tests may look at what it has been told. */
export class MemoryStream implements ByteStream {
  peer: MemoryStream = this
  /** Whether this side has ended, and whether the stream is over. */
  isEnded = false
  isClosed = false
  isPaused = true
  /** Bytes that this side was asked to send, and what it was destroyed with. */
  bytesWritten = 0
  error: Error | undefined
  readonly #windowBytes: number
  readonly #chunkBytes: number
  #sink: ByteSink = noSink
  #toldSink: ByteSink | undefined
  /** What has arrived here and was not read. */
  #arrived: Uint8Array[] = []
  #arrivedBytes = 0
  #isTurnPlanned = false
  #hasPeerEnded = false
  #isEndGiven = false
  #owesDrain = false

  constructor(windowBytes: number, chunkBytes: number) {
    this.#windowBytes = windowBytes
    this.#chunkBytes = chunkBytes
  }

  attach(sink: ByteSink): void {
    this.#sink = sink
    if (this.isClosed) this.#plan()
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    if (!this.isPaused) return
    this.isPaused = false
    this.#plan()
  }

  unread(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#arrived.unshift(Uint8Array.from(bytes))
    this.#arrivedBytes += bytes.length
  }

  write(bytes: Uint8Array): boolean {
    if (this.isEnded || this.isClosed) return true
    this.bytesWritten += bytes.length
    this.peer.#arrive(bytes)
    if (this.peer.#arrivedBytes <= this.#windowBytes) return true
    this.#owesDrain = true
    return false
  }

  end(): void {
    if (this.isEnded || this.isClosed) return
    this.isEnded = true
    this.#plan()
    this.peer.#hasPeerEnded = true
    this.peer.#plan()
  }

  destroy(error?: Error): void {
    if (this.isClosed) return
    this.#close(error)
    const { peer } = this
    if (peer.isClosed) return
    if (error !== undefined) {
      peer.#close(Object.assign(new Error('connection reset by peer'), { code: 'ECONNRESET' }))
      return
    }
    peer.#hasPeerEnded = true
    peer.#plan()
  }

  #arrive(bytes: Uint8Array): void {
    if (this.isClosed || bytes.length === 0) return
    for (let at = 0; at < bytes.length; at += this.#chunkBytes) {
      this.#arrived.push(Uint8Array.from(bytes.subarray(at, at + this.#chunkBytes)))
    }
    this.#arrivedBytes += bytes.length
    this.#plan()
  }

  #close(error: Error | undefined): void {
    this.isClosed = true
    this.error = error
    this.#arrived = []
    this.#arrivedBytes = 0
    this.#plan()
  }

  #plan(): void {
    if (this.#isTurnPlanned) return
    this.#isTurnPlanned = true
    queueMicrotask(() => {
      this.#isTurnPlanned = false
      this.#turn()
    })
  }

  /** Gives the sink all that it is owed now. */
  #turn(): void {
    while (!this.isPaused && !this.isClosed) {
      const bytes = this.#arrived.shift()
      if (bytes === undefined) break
      this.#arrivedBytes -= bytes.length
      // What the sink does not keep is overwritten, so that a test sees who reads it later.
      if (this.#sink.onBytes(bytes)) bytes.fill(0xee)
    }
    this.peer.#drain()
    if (this.#hasPeerEnded && this.#arrived.length === 0 && !this.isPaused && !this.isClosed) {
      if (!this.#isEndGiven) {
        this.#isEndGiven = true
        this.#sink.onEnd()
      }
      // Neither side has anything to say any more; or the peer is gone, and nothing can be told to it.
      if (this.isEnded && this.#isEndGiven) this.isClosed = true
    }
    if (this.isClosed && this.#toldSink !== this.#sink) {
      this.#toldSink = this.#sink
      this.#sink.onClose(this.error)
    }
  }

  #drain(): void {
    if (!this.#owesDrain || this.isClosed || this.peer.#arrivedBytes > 0) return
    this.#owesDrain = false
    this.#sink.onDrain()
  }
}
