import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import type { Clock } from '../../../foundation/clock.ts'
import { headerPairs, type RawHeaders } from './raw-headers.ts'
import type { UserAnswer } from './user-exchange.ts'

/** How long a user may go on sending a request that has been answered already. */
const REST_OF_REQUEST_MS = 5000

/** The answer to a user in HTTP/1.1 or 1.0. */
export class Http1Answer implements UserAnswer {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #clock: Clock
  readonly #onStatus: (status: number) => void
  #isBegun = false

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    clock: Clock,
    onStatus: (status: number) => void,
  ) {
    this.#request = request
    this.#response = response
    this.#clock = clock
    this.#onStatus = onStatus
    // Late failures of a connection show in its 'close'; without a listener they would end the process.
    response.on('error', () => undefined)
  }

  get isBegun(): boolean {
    return this.#isBegun
  }

  interim(status: number, headers: RawHeaders): void {
    const response = this.#response
    if (this.#isBegun || response.destroyed || this.#request.httpVersion === '1.0') return
    if (status === 100) response.writeContinue()
    else if (status === 102) response.writeProcessing()
    else if (status === 103) this.#hint(headers)
  }

  begin(status: number, reason: string, headers: RawHeaders, hasTrailers: boolean): Writable {
    const response = this.#response
    const canHaveTrailers = hasTrailers && this.#request.httpVersion !== '1.0'
    const kept = headerPairs(headers).filter(([name]) => {
      const lower = name.toLowerCase()
      // RFC 9110 §8.6; and trailers cannot be announced where there can be none.
      return lower === 'content-length' ? status !== 204 : lower !== 'trailer' || canHaveTrailers
    })
    response.writeHead(status, reason, kept.flat())
    this.#isBegun = true
    this.#onStatus(status)
    if (status === 101) {
      response.flushHeaders()
      // What is written to it now is of another protocol.
      response.detachSocket(this.#request.socket)
    }
    return response
  }

  finish(trailers: RawHeaders): void {
    const response = this.#response
    if (trailers.length > 0) response.addTrailers(headerPairs(trailers))
    response.end()
    const request = this.#request
    if (request.complete) return
    // The rest must be read before the next request can be; but not for ever.
    const { socket } = request
    const timer = this.#clock.after(REST_OF_REQUEST_MS, () => socket.destroy())
    const over = (): void => {
      timer.cancel()
      request.off('close', over)
      socket.off('close', over)
    }
    request.once('close', over)
    // A request whose body was never asked for does not tell its end.
    socket.once('close', over)
    request.resume()
  }

  cut(): void {
    this.#request.socket.destroy()
  }

  onGone(callback: () => void): void {
    this.#response.once('close', () => {
      if (!this.#response.writableFinished) callback()
    })
  }

  #hint(headers: RawHeaders): void {
    const hints: Record<string, string | string[]> = {}
    for (const [name, value] of headerPairs(headers)) {
      const lower = name.toLowerCase()
      const before = hints[lower]
      if (before === undefined) hints[lower] = lower === 'link' ? [value] : value
      else if (Array.isArray(before)) before.push(value)
    }
    try {
      this.#response.writeEarlyHints(hints)
    } catch {
      // A link that node:http does not take; a hint may be left out.
    }
  }
}
