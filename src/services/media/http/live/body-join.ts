import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../../../foundation/clock.ts'
import { type BodyFraming, ChunkedBody } from '../../../../protocols/http/index.ts'
import type { BandwidthLimit } from '../../access/index.ts'
import type { HttpErrorCode } from '../errors.ts'
import type { LiveSplice, Seam, Span } from './live-splice.ts'
import type { BodySink, OriginExchange } from './origin-exchange.ts'
import { roomyCopy } from '../read-buffer.ts'

export interface BodyJoinOptions {
  /** The client's socket; the response head was given to it already. It is closed behind the body. */
  readonly client: Socket
  /** Whether the client was told of chunked framing. */
  readonly isChunked: boolean
  /** Follows a body that another one can go on with; absent for others. */
  readonly splice: LiveSplice | undefined
  /** Budgets that the body's bytes are charged to. */
  readonly limits: readonly BandwidthLimit[]
  readonly clock: Clock
  readonly stallMs: number
  readonly idleMs: number
  /**
   * The origin has broken off, in a body that another one can go on with. True: the client is kept until `resume` or
   * `giveUp`.
   */
  readonly onBreak: () => boolean
  /** Called once, when both connections are closed or about to. Undefined: the body came to its end. */
  readonly onOver: (code: HttpErrorCode | undefined) => void
}

const NOTHING = Buffer.alloc(0)
const ZEROS = Buffer.alloc(65_536)
const LAST_CHUNK = Buffer.from('0\r\n\r\n')
const CR = 13
const LF = 10

/**
 * Passes a body on from an origin's socket to the client's, and then from that of another origin. What was read is written at
 * once, out of the buffer it was read into; the origin's framing is taken out there and the client's put around it. While
 * the client's socket still holds some of it, nothing more is read, so that a viewer costs one read buffer however slow
 * it is.
 */
export class BodyJoin implements BodySink {
  readonly #options: BodyJoinOptions
  readonly #client: Socket
  #exchange: OriginExchange | undefined
  #framing: BodyFraming = { kind: 'none' }
  #chunked: ChunkedBody | undefined
  /** Bytes until the end of a body of known length. */
  #left = 0
  readonly #span: Span = { buffer: NOTHING, start: 0, end: 0 }
  #bytesOut = 0
  #state: 'live' | 'waiting' | 'ending' | 'over' = 'live'
  #endCode: HttpErrorCode | undefined
  /** A budget is used up until then. */
  #pause: Timer | undefined
  #seenBytes = 0
  #seenAtMs: number

  constructor(options: BodyJoinOptions) {
    this.#options = options
    this.#client = options.client
    this.#seenAtMs = options.clock.nowMs()
  }

  /** Bytes of the body given to the client's socket, without framing. */
  get bytesOut(): number {
    return this.#bytesOut
  }

  start(exchange: OriginExchange, framing: BodyFraming): void {
    this.#client.once('end', this.#onClientEnd)
    this.#client.once('close', this.#onClientClose)
    this.#deliver(exchange, framing)
  }

  /** Goes on with the body of another exchange. Only while the client is being kept. */
  resume(exchange: OriginExchange, framing: BodyFraming): void {
    if (this.#state !== 'waiting') {
      exchange.destroy()
      return
    }
    this.#state = 'live'
    if (this.#options.splice !== undefined) this.#sew(this.#options.splice.resume())
    this.#deliver(exchange, framing)
  }

  /** Nobody goes on: the client's body ends where the last origin broke off. Only while the client is being kept. */
  giveUp(): void {
    if (this.#state !== 'waiting') return
    if (this.#endCode === undefined) this.#complete()
    else this.#end(this.#endCode)
  }

  /** Leaves an origin that is still there, for another that has the stream now. False when nothing can go on from here. */
  leaveOrigin(): boolean {
    if (this.#state !== 'live' || this.#options.splice?.canResume !== true) return false
    this.#wait('HTTP_ORIGIN_BROKE')
    return true
  }

  bytes(input: Uint8Array): boolean {
    const span = this.#span
    if (span.buffer.buffer !== input.buffer) span.buffer = Buffer.from(input.buffer)
    span.start = input.byteOffset
    span.end = input.byteOffset + input.length
    const { isLast, isBroken } = this.#takeFramingOut(input, span)
    if (isBroken) {
      this.cut('HTTP_ORIGIN_BROKE')
      return false
    }
    if (this.#options.splice?.pass(span) === false) {
      this.cut('HTTP_ORIGIN_OTHER_BODY')
      return false
    }
    this.#write(span)
    if (isLast) {
      this.#complete()
      return false
    }
    if (this.#client.writableLength === 0) return this.#pause === undefined
    // Not 'drain': below the high-water mark there is none.
    this.#client.write(NOTHING, this.#onWritten)
    return false
  }

  ended(error: unknown): void {
    // Other framings end by themselves; the client sees from them that the body is not complete.
    const isComplete = error === undefined && this.#framing.kind === 'until-close'
    const code = isComplete ? undefined : 'HTTP_ORIGIN_BROKE'
    if (this.#options.splice?.canResume === true && this.#options.onBreak()) this.#wait(code)
    else if (isComplete) this.#complete()
    else this.#end(code)
  }

  /** Called now and then: ends the join when nothing has moved for too long. */
  check(nowMs: number): void {
    if (this.#seenBytes !== this.#bytesOut) {
      this.#seenBytes = this.#bytesOut
      this.#seenAtMs = nowMs
      return
    }
    const quietMs = nowMs - this.#seenAtMs
    const waitsForClient = this.#state === 'ending' || this.#client.writableLength > 0
    if (waitsForClient && quietMs >= this.#options.stallMs) this.cut('HTTP_CLIENT_STALLED')
    else if (!waitsForClient && this.#state === 'live' && quietMs >= this.#options.idleMs) {
      this.cut('HTTP_ORIGIN_IDLE')
    }
  }

  /** Closes both connections now. */
  cut(code: HttpErrorCode): void {
    this.#over(code)
    this.#client.destroy()
  }

  #deliver(exchange: OriginExchange, framing: BodyFraming): void {
    this.#exchange = exchange
    this.#framing = framing
    this.#chunked = framing.kind === 'chunked' ? new ChunkedBody() : undefined
    this.#left = framing.kind === 'length' ? framing.bytes : Infinity
    if (this.#left === 0) this.#end()
    else exchange.deliver(this)
  }

  #wait(code: HttpErrorCode | undefined): void {
    this.#state = 'waiting'
    this.#endCode = code
    this.#exchange?.destroy()
    this.#exchange = undefined
  }

  readonly #onWritten = (): void => {
    // Told of an earlier write: what is being sent now is still in the buffer that the next read would go into.
    if (this.#client.writableLength > 0) return
    if (this.#pause === undefined && this.#state === 'live') this.#exchange?.resume()
  }

  #onPauseOver(): void {
    this.#pause = undefined
    this.#onWritten()
  }

  /** A viewer that says it will send no more has left: players do not half-close. */
  readonly #onClientEnd = (): void => {
    if (this.#state !== 'ending') this.cut('HTTP_CLIENT_GONE')
  }

  readonly #onClientClose = (): void => {
    this.#over(this.#state === 'ending' ? this.#endCode : 'HTTP_CLIENT_GONE')
  }

  /** Narrows the span to what of the input is body. */
  #takeFramingOut(input: Uint8Array, span: Span): { readonly isLast: boolean; readonly isBroken: boolean } {
    if (this.#chunked !== undefined) {
      const { start, end, progress } = this.#chunked.decode(input)
      span.end = span.start + end
      span.start += start
      if (progress.kind === 'more') return GOES_ON
      return progress.kind === 'end' ? IS_LAST : IS_BROKEN
    }
    if (input.length < this.#left) {
      this.#left -= input.length
      return GOES_ON
    }
    span.end = span.start + this.#left
    return IS_LAST
  }

  #write({ buffer, start, end }: Span): void {
    const bytes = end - start
    if (bytes <= 0) return
    let from = start
    let to = end
    if (this.#options.isChunked) {
      from = putChunkSize(buffer, start, bytes)
      buffer[to++] = CR
      buffer[to++] = LF
    }
    this.#client.write(buffer.subarray(from, to))
    this.#count(bytes)
  }

  #count(bytes: number): void {
    this.#bytesOut += bytes
    let waitMs = 0
    for (const limit of this.#options.limits) waitMs = Math.max(waitMs, limit.charge(bytes))
    if (waitMs > 0) this.#pause ??= this.#options.clock.after(waitMs, () => this.#onPauseOver())
  }

  /** One chunk, in pieces of one block of zeros: they take no memory however many they are. */
  #sew({ zeros, tail }: Seam): void {
    const bytes = zeros + tail.length
    if (bytes === 0) return
    const client = this.#client
    client.cork()
    if (this.#options.isChunked) client.write(`${bytes.toString(16)}\r\n`)
    for (let left = zeros; left > 0; left -= ZEROS.length) client.write(ZEROS.subarray(0, left))
    client.write(tail)
    if (this.#options.isChunked) client.write('\r\n')
    client.uncork()
    this.#count(bytes)
  }

  /** The body has come to its end, as it should. */
  #complete(): void {
    const held = roomyCopy(this.#options.splice?.takeHeld() ?? NOTHING)
    this.#write({
      buffer: Buffer.from(held.buffer),
      start: held.byteOffset,
      end: held.byteOffset + held.length,
    })
    if (this.#options.isChunked) this.#client.write(LAST_CHUNK)
    this.#end()
  }

  /** The client's socket closes when it has sent what it holds. */
  #end(code?: HttpErrorCode): void {
    if (this.#state === 'over' || this.#state === 'ending') return
    this.#state = 'ending'
    this.#endCode = code
    this.#exchange?.destroy()
    this.#client.destroySoon()
  }

  #over(code: HttpErrorCode | undefined): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#client.off('end', this.#onClientEnd)
    this.#client.off('close', this.#onClientClose)
    this.#pause?.cancel()
    this.#exchange?.destroy()
    this.#options.onOver(code)
  }
}

const GOES_ON = { isLast: false, isBroken: false }
const IS_LAST = { isLast: true, isBroken: false }
const IS_BROKEN = { isLast: false, isBroken: true }

/** Writes the line that begins a chunk before `at`, and gives where it starts. */
function putChunkSize(buffer: Uint8Array, at: number, size: number): number {
  let from = at
  buffer[--from] = LF
  buffer[--from] = CR
  for (let left = size; left > 0; left = Math.floor(left / 16)) {
    buffer[--from] = '0123456789abcdef'.charCodeAt(left % 16)
  }
  return from
}
