import { constants, type ServerHttp2Stream } from 'node:http2'
import type { Writable } from 'node:stream'
import { headerObject, type RawHeaders } from './raw-headers.ts'
import type { UserAnswer } from './user-exchange.ts'

/** The answer to a user in HTTP/2. */
export class Http2Answer implements UserAnswer {
  readonly #stream: ServerHttp2Stream
  readonly #onStatus: (status: number) => void
  #isBegun = false
  #isFinished = false
  #trailers: RawHeaders = []

  readonly #hasBody: boolean

  /** @param hasBody whether the request has one */
  constructor(stream: ServerHttp2Stream, hasBody: boolean, onStatus: (status: number) => void) {
    this.#stream = stream
    this.#hasBody = hasBody
    this.#onStatus = onStatus
    stream.on('error', () => undefined)
  }

  get isBegun(): boolean {
    return this.#isBegun
  }

  interim(status: number, headers: RawHeaders): void {
    if (this.#isBegun || this.#stream.destroyed || this.#stream.closed) return
    try {
      this.#stream.additionalHeaders({ ...headerObject(headers), ':status': status })
    } catch {
      // A header that HTTP/2 does not take; an interim answer may be left out.
    }
  }

  begin(status: number, _reason: string, headers: RawHeaders): Writable {
    const stream = this.#stream
    if (stream.destroyed || stream.closed) return stream
    stream.respond({ ...headerObject(headers), ':status': status }, { waitForTrailers: true })
    stream.once('wantTrailers', () => this.#sendTrailers())
    this.#isBegun = true
    this.#onStatus(status)
    return stream
  }

  finish(trailers: RawHeaders): void {
    this.#trailers = trailers
    this.#isFinished = true
    this.#stream.end()
  }

  cut(): void {
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  onGone(callback: () => void): void {
    this.#stream.once('close', () => {
      if (!this.#isFinished) callback()
    })
  }

  #sendTrailers(): void {
    try {
      this.#stream.sendTrailers(headerObject(this.#trailers))
    } catch {
      this.cut()
      return
    }
    // RFC 9113 §8.1: what is left of the request need not be sent.
    if (this.#hasBody && !this.#stream.readableEnded) this.#stream.close(constants.NGHTTP2_NO_ERROR)
  }
}
