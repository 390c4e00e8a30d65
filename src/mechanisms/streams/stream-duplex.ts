import { Duplex } from 'node:stream'
import type { ByteStream } from '../../foundation/byte-stream.ts'
import { systemClock } from '../../foundation/clock.ts'
import type { Clock, Timer } from '../../foundation/clock.ts'

/** What a socket would say of itself. */
export interface StreamDuplexOptions {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
  readonly localAddress?: string | undefined
  readonly localPort?: number | undefined
  /** For `setTimeout`. @defaultValue `systemClock` */
  readonly clock?: Clock
}

type Callback = (error?: Error | null) => void

/** Pieces that Node writes at once become one, up to so many bytes. */
const gatherBytes = 65_536

/**
 * A `ByteStream` as one of Node's, for node:http, node:tls and WebSockets; it owns the stream from now on. What these ask of a
 * socket is there: addresses, `setTimeout` with its event, and calls that have no meaning here and do nothing.
 */
export class StreamDuplex extends Duplex {
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  readonly #stream: ByteStream
  readonly #clock: Clock
  #pendingWrite: Callback | undefined
  #hasPeerEnded = false
  #isClosed = false
  #whenClosed: (() => void) | undefined
  #timeoutMs = 0
  #timer: Timer | undefined
  #activeAtMs = 0

  constructor(stream: ByteStream, options: StreamDuplexOptions = {}) {
    super({ allowHalfOpen: true, highWaterMark: 65_536 })
    this.#stream = stream
    this.#clock = options.clock ?? systemClock
    this.remoteAddress = options.remoteAddress
    this.remotePort = options.remotePort
    this.localAddress = options.localAddress
    this.localPort = options.localPort
    stream.attach({
      onBytes: (bytes) => {
        this.#noteActivity()
        // Copied, as nobody says when a reader of Node's is done with it.
        if (!this.push(Buffer.from(bytes))) stream.pause()
        return true
      },
      onEnd: () => {
        this.#hasPeerEnded = true
        this.push(null)
        // Whoever reads nothing still gets to know the end, as with a socket.
        this.read(0)
      },
      onDrain: () => this.#onDrain(),
      onClose: (error) => this.#onClose(error),
    })
  }

  /** As of a socket: after so long without bytes either way the event `timeout`; 0 never. In milliseconds. */
  setTimeout(timeoutMs: number, onTimeout?: () => void): this {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timeoutMs = timeoutMs
    if (timeoutMs > 0) {
      this.#noteActivity()
      if (onTimeout !== undefined) this.once('timeout', onTimeout)
      this.#checkTimeoutAfter(timeoutMs)
    } else if (onTimeout !== undefined) {
      this.off('timeout', onTimeout)
    }
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  override _read(): void {
    this.#stream.resume()
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    this.#noteActivity()
    if (this.#stream.write(bytes)) callback()
    else this.#pendingWrite = callback
  }

  override _writev(chunks: { chunk: Buffer }[], callback: Callback): void {
    this.#noteActivity()
    const pieces = chunks.map(({ chunk }) => chunk)
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    const gathered = bytes <= gatherBytes ? [Buffer.concat(pieces, bytes)] : pieces
    let isTaken = true
    for (const piece of gathered) isTaken = this.#stream.write(piece) && isTaken
    if (isTaken) callback()
    else this.#pendingWrite = callback
  }

  override _final(callback: Callback): void {
    this.#stream.end()
    callback()
  }

  override _destroy(error: Error | null, callback: Callback): void {
    this.#timer?.cancel()
    if (this.#isClosed) {
      callback(error)
      return
    }
    this.#whenClosed = () => callback(error)
    // One that ended in order closes by itself; what was written last may still be on its way.
    const hasEnded = error === null && this.readableEnded && this.writableFinished
    if (!hasEnded) this.#stream.destroy(error ?? undefined)
  }

  #onDrain(): void {
    const callback = this.#pendingWrite
    this.#pendingWrite = undefined
    callback?.()
  }

  #onClose(error: Error | undefined): void {
    this.#isClosed = true
    if (this.#whenClosed !== undefined) {
      this.#whenClosed()
      return
    }
    // What came before its end may still be read.
    if (error === undefined && this.#hasPeerEnded) this.#onDrain()
    else this.destroy(error)
  }

  #noteActivity(): void {
    if (this.#timeoutMs > 0) this.#activeAtMs = this.#clock.nowMs()
  }

  #checkTimeoutAfter(delayMs: number): void {
    this.#timer = this.#clock.after(delayMs, () => {
      const leftMs = this.#activeAtMs + this.#timeoutMs - this.#clock.nowMs()
      if (leftMs <= 0) this.emit('timeout')
      else this.#checkTimeoutAfter(leftMs)
    })
  }
}
