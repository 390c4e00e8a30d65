import { type RawData, WebSocket } from 'ws'
import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import { ReadSide } from './read-side.ts'

/**
 * How `ws` is to be set up, as server and as client: a message is held whole before it is handed on, so its bound is what a
 * stranger can make us hold; frp's programs send some tens of kilobytes at once. Older ones send text that is none.
 */
export const webSocketOptions = {
  maxPayload: 524_288,
  perMessageDeflate: false,
  skipUTF8Validation: true,
} as const

/**
 * An open WebSocket as a stream, which owns it from now on. Each write is a binary message; messages of both kinds are read, and
 * where they begin and end means nothing.
 *
 * A WebSocket cannot be ended on one side only. `end` sends a close after all that was written: what the peer had sent
 * by then is still read, but most peers answer with their own close at once and send nothing more, as this one does. A
 * connection that ends without a close is an error, unless this side had ended: Go's programs do not wait for the answer.
 */
export function webSocketStream(socket: WebSocket): ByteStream {
  return new WebSocketStream(socket)
}

/** Longer pieces are sent as several messages. */
const mostSentBytes = 262_144

class WebSocketStream implements ByteStream {
  readonly #socket: WebSocket
  readonly #reader: ReadSide
  /** Messages that have not all gone. */
  #unsent = 0
  #owesDrain = false
  #isEnded = false
  #error: Error | undefined

  constructor(socket: WebSocket) {
    this.#socket = socket
    this.#reader = new ReadSide({ pause: () => this.#pauseSocket(), resume: () => socket.resume() })
    socket.pause()
    socket.on('message', (data: RawData) => {
      // As the options have it, a message is one buffer, and nobody else's.
      if (data instanceof Uint8Array) this.#reader.deliver(data, true)
      if (this.#reader.isPaused) this.#pauseSocket()
    })
    socket.on('error', (error: Error) => {
      this.#error ??= error
      socket.terminate()
    })
    socket.on('close', (code: number) => this.#onClose(code))
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
    const socket = this.#socket
    if (socket.readyState !== WebSocket.OPEN) return true
    for (let at = 0; at < bytes.length; at += mostSentBytes) {
      const message = bytes.length <= mostSentBytes ? bytes : bytes.subarray(at, at + mostSentBytes)
      this.#unsent++
      socket.send(message, { binary: true, compress: false }, this.#onSent)
    }
    // Nothing is buffered when the system has taken it all at once, though the callback comes later.
    if (socket.bufferedAmount === 0) return true
    this.#owesDrain = true
    return false
  }

  end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.close(NORMAL_CLOSURE)
    this.#socket.resume()
  }

  destroy(error?: Error): void {
    this.#socket.terminate()
    this.#reader.close(error)
  }

  /** After the end the socket is read all the same, for the peer's close: the peer waits for the connection to be closed upon it. */
  #pauseSocket(): void {
    if (!this.#isEnded || this.#reader.heldBytes >= webSocketOptions.maxPayload) this.#socket.pause()
  }

  readonly #onSent = (error?: Error | null): void => {
    this.#unsent--
    // After an error the close tells of it.
    if (this.#unsent > 0 || !this.#owesDrain || error) return
    this.#owesDrain = false
    this.#reader.drain()
  }

  #onClose(code: number): void {
    if (this.#error === undefined && code === ABNORMAL_CLOSURE && !this.#isEnded) {
      this.#error = new Error('the WebSocket ended without a close')
    }
    if (this.#error !== undefined) {
      this.#reader.close(this.#error)
      return
    }
    this.#reader.end()
    this.#reader.finish()
  }
}

/** RFC 6455 §7.4.1 */
const NORMAL_CLOSURE = 1000
const ABNORMAL_CLOSURE = 1006
