import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../../../foundation/clock.ts'
import type { BandwidthLimit } from '../../access/index.ts'
import type { HttpErrorCode } from '../errors.ts'
import type { BodyReader, OriginAnswer } from './origin-connection.ts'

export interface ClientBodyOptions {
  readonly answer: OriginAnswer
  /** Its head is written; the connection is kept for the next request. */
  readonly response: ServerResponse
  readonly limits: readonly BandwidthLimit[]
  readonly clock: Clock
  readonly stallMs: number
  /** Called once. Undefined: the body came to its end. */
  readonly onOver: (code: HttpErrorCode | undefined) => void
}

const NOTHING = Buffer.alloc(0)

/**
 * Passes the body of an origin's answer on to a client and keeps both connections. A body of known length goes to the
 * client's socket past node's response, which knows where it ends all the same; others get their framing from node. While the
 * client's socket holds some of it, or a limit says to wait, nothing more is read.
 */
export class ClientBody implements BodyReader {
  readonly #options: ClientBodyOptions
  readonly #response: ServerResponse
  /** Undefined: node frames the body. */
  readonly #socket: Socket | undefined
  #bytesOut = 0
  #waits = 0
  #timer: Timer | undefined
  #hasEnded = false
  #isOver = false
  #seenBytes = 0
  #seenAtMs: number

  constructor(options: ClientBodyOptions) {
    this.#options = options
    this.#response = options.response
    this.#socket =
      options.answer.framing.kind === 'length' ? (options.response.socket ?? undefined) : undefined
    this.#seenAtMs = options.clock.nowMs()
  }

  /** Bytes given to the client. */
  get bytesOut(): number {
    return this.#bytesOut
  }

  start(): void {
    this.#response.once('close', this.#onClose)
    this.#options.answer.deliver(this)
  }

  bytes(bytes: Uint8Array): boolean {
    this.#bytesOut += bytes.length
    const waitMs = this.#options.limits.reduce((ms, limit) => Math.max(ms, limit.charge(bytes.length)), 0)
    if (waitMs > 0) {
      this.#waits++
      this.#timer = this.#options.clock.after(waitMs, this.#onWaited)
    }
    const socket = this.#socket
    if (socket === undefined) {
      // Node holds it until the next turn of its loop, so the bytes must stay.
      this.#waits++
      this.#response.write(bytes, this.#onWaited)
      return false
    }
    socket.write(bytes)
    if (socket.writableLength > 0) {
      this.#waits++
      // Not 'drain': below the high-water mark there is none.
      socket.write(NOTHING, this.#onWaited)
    }
    return this.#waits === 0
  }

  ended(error: unknown): void {
    if (this.#isOver) return
    this.#hasEnded = true
    if (error === undefined) {
      this.#response.end()
      return
    }
    // A body that is not complete shows in how its connection ends.
    this.#over('HTTP_ORIGIN_BROKE')
    this.#response.destroy()
  }

  /** Called now and then: ends what does not move. */
  check(nowMs: number): void {
    if (this.#seenBytes !== this.#bytesOut) {
      this.#seenBytes = this.#bytesOut
      this.#seenAtMs = nowMs
    } else if (nowMs - this.#seenAtMs >= this.#options.stallMs) {
      this.cut(this.#waits > 0 || this.#hasEnded ? 'HTTP_CLIENT_STALLED' : 'HTTP_ORIGIN_IDLE')
    }
  }

  /** Closes the client's connection now. */
  cut(code: HttpErrorCode): void {
    this.#over(code)
    this.#response.destroy()
  }

  readonly #onWaited = (): void => {
    if (--this.#waits === 0 && !this.#isOver) this.#options.answer.resume()
  }

  readonly #onClose = (): void => {
    this.#over(this.#hasEnded && this.#response.writableFinished ? undefined : 'HTTP_CLIENT_GONE')
  }

  #over(code: HttpErrorCode | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer?.cancel()
    this.#response.off('close', this.#onClose)
    this.#options.answer.destroy()
    this.#options.onOver(code)
  }
}
