import type { Socket } from 'node:net'
import { type BodyFraming, ChunkedBody } from '../../../protocols/http/index.ts'
import type { HttpErrorCode } from './errors.ts'
import type { BodySink, OriginExchange } from './origin-exchange.ts'

export interface BodyJoinOptions {
  readonly exchange: OriginExchange
  /** The client's socket; the response head was given to it already. It is closed behind the body. */
  readonly client: Socket
  readonly framing: BodyFraming
  /** Whether chunked framing is taken out, for a client that cannot read it. */
  readonly takesFramingOut: boolean
  readonly stallMs: number
  readonly idleMs: number
  readonly nowMs: number
  /** Called once, when both connections are closed or about to. Undefined: the body came to its end. */
  readonly onOver: (code: HttpErrorCode | undefined) => void
}

const NOTHING = Buffer.alloc(0)

/**
 * Passes a body on from the origin's socket to the client's with its framing as it is. What was read is written at
 * once; while the client's socket still holds some of it, nothing more is read, so that a viewer costs one read
 * buffer however slow it is.
 */
export class BodyJoin implements BodySink {
  readonly #options: BodyJoinOptions
  readonly #client: Socket
  readonly #chunked: ChunkedBody | undefined
  /** Bytes until the end of a body of known length. */
  #left: number
  #bytesOut = 0
  /** The origin has no more; what the client's socket holds is on its way. */
  #isEnding = false
  #endCode: HttpErrorCode | undefined
  #isOver = false
  #seenBytes = 0
  #seenAtMs: number

  constructor(options: BodyJoinOptions) {
    this.#options = options
    this.#client = options.client
    this.#chunked = options.framing.kind === 'chunked' ? new ChunkedBody() : undefined
    this.#left = options.framing.kind === 'length' ? options.framing.bytes : Infinity
    this.#seenAtMs = options.nowMs
  }

  /** Bytes given to the client's socket, framing included. */
  get bytesOut(): number {
    return this.#bytesOut
  }

  start(): void {
    this.#client.once('end', this.#onClientEnd)
    this.#client.once('close', this.#onClientClose)
    if (this.#left === 0) this.#end()
    else this.#options.exchange.deliver(this)
  }

  bytes(input: Uint8Array): boolean {
    const { bytes, isLast, isBroken } = this.#take(input)
    if (isBroken) {
      this.cut('HTTP_ORIGIN_BROKE')
      return false
    }
    const client = this.#client
    this.#bytesOut += bytes.length
    if (bytes.length > 0) client.write(bytes)
    if (isLast) {
      this.#end()
      return false
    }
    if (client.writableLength === 0) return true
    // Not 'drain': below the high-water mark there is none.
    client.write(NOTHING, this.#onWritten)
    return false
  }

  ended(error: unknown): void {
    // Other framings end by themselves; the client sees from them that the body is not complete.
    const isComplete = error === undefined && this.#options.framing.kind === 'until-close'
    this.#end(isComplete ? undefined : 'HTTP_ORIGIN_BROKE')
  }

  /** Called now and then: ends the join when nothing has moved for too long. */
  check(nowMs: number): void {
    if (this.#seenBytes !== this.#bytesOut) {
      this.#seenBytes = this.#bytesOut
      this.#seenAtMs = nowMs
      return
    }
    const quietMs = nowMs - this.#seenAtMs
    const waitsForClient = this.#isEnding || this.#client.writableLength > 0
    if (waitsForClient && quietMs >= this.#options.stallMs) this.cut('HTTP_CLIENT_STALLED')
    else if (!waitsForClient && quietMs >= this.#options.idleMs) this.cut('HTTP_ORIGIN_IDLE')
  }

  /** Closes both connections now. */
  cut(code: HttpErrorCode): void {
    this.#over(code)
    this.#client.destroy()
  }

  readonly #onWritten = (): void => {
    if (!this.#isOver && !this.#isEnding) this.#options.exchange.resume()
  }

  /** A viewer that says it will send no more has left: players do not half-close. */
  readonly #onClientEnd = (): void => {
    if (!this.#isEnding) this.cut('HTTP_CLIENT_GONE')
  }

  readonly #onClientClose = (): void => {
    this.#over(this.#isEnding ? this.#endCode : 'HTTP_CLIENT_GONE')
  }

  /** What of the input goes to the client. */
  #take(input: Uint8Array): {
    readonly bytes: Uint8Array
    readonly isLast: boolean
    readonly isBroken: boolean
  } {
    if (this.#chunked !== undefined) return this.#takeChunked(this.#chunked, input)
    if (input.length < this.#left) {
      this.#left -= input.length
      return { bytes: input, isLast: false, isBroken: false }
    }
    return { bytes: input.subarray(0, this.#left), isLast: true, isBroken: false }
  }

  #takeChunked(
    chunked: ChunkedBody,
    input: Uint8Array,
  ): { readonly bytes: Uint8Array; readonly isLast: boolean; readonly isBroken: boolean } {
    if (this.#options.takesFramingOut) {
      const { dataBytes, progress } = chunked.decode(input)
      const bytes = input.subarray(0, dataBytes)
      return { bytes, isLast: progress.kind === 'end', isBroken: progress.kind === 'bad' }
    }
    const progress = chunked.scan(input)
    const bytes = progress.kind === 'end' ? input.subarray(0, progress.consumed) : input
    return { bytes, isLast: progress.kind === 'end', isBroken: progress.kind === 'bad' }
  }

  /** The origin has no more: the client's socket closes when it has sent what it holds. */
  #end(code?: HttpErrorCode): void {
    if (this.#isOver || this.#isEnding) return
    this.#isEnding = true
    this.#endCode = code
    this.#options.exchange.destroy()
    this.#client.destroySoon()
  }

  #over(code: HttpErrorCode | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#client.off('end', this.#onClientEnd)
    this.#client.off('close', this.#onClientClose)
    this.#options.exchange.destroy()
    this.#options.onOver(code)
  }
}
