import type { Socket } from 'node:net'
import { systemClock } from '../../foundation/clock.ts'
import type { Clock, Timer } from '../../foundation/clock.ts'
import { readByOnread } from './onread-socket.ts'

/** Takes bytes that are valid until the read they come from is over. */
export type Sink = (bytes: Uint8Array) => void

/** What is done with the bytes of each side; a throw ends the pipe. */
export interface PipeTransform {
  readonly fromFirst: Sink
  readonly fromSecond: Sink
}

/** How two sockets are joined. */
export interface PipeOptions {
  /**
   * Makes the transform; it is given the sinks towards the sides, which may be used at any time, also within
   * this call. @defaultValue bytes go across as they are
   */
  readonly transform?: (toFirst: Sink, toSecond: Sink) => PipeTransform
  /** Size of each side's read buffer. 16 KB suits media, 64 KB bulk. @defaultValue 16,384 */
  readonly bufferBytes?: number
  /**
   * The pipe ends when no byte came from either side, or one side took none of what it was sent, for so long; up to
   * a quarter later. In milliseconds. @defaultValue 60,000
   */
  readonly idleTimeoutMs?: number
  /** How long one side may go on after the other has ended its own, in milliseconds. @defaultValue unlimited */
  readonly lingerMs?: number
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
}

/**
 * Why a pipe ended: both sides said their end; one side broke (`error` has why, if known); the transform threw
 * (`error`); a timeout; one side went on longer than `lingerMs`; or `destroy` was called (`error` as given).
 */
export interface PipeEnd {
  readonly reason:
    | 'ended'
    | 'first-broken'
    | 'second-broken'
    | 'transform-failed'
    | 'idle'
    | 'stalled'
    | 'lingered'
    | 'destroyed'
  readonly error?: unknown
}

const DEFAULTS = { bufferBytes: 16_384, idleTimeoutMs: 60_000, clock: systemClock } as const
const CHECKS_PER_TIMEOUT = 4

/**
 * Two sockets joined, with backpressure: while one side has not taken all that it was sent, the other is not
 * read, so that a pipe holds its two read buffers and what the transform made of one read. The end of one side is
 * passed on to the other; when one breaks, both are destroyed. Both must have been in ordinary stream mode, without
 * listeners for their data, and belong to the pipe from now on.
 */
export class SocketPipe {
  readonly #first: Direction
  readonly #second: Direction
  readonly #clock: Clock
  readonly #idleTimeoutMs: number
  readonly #lingerMs: number | undefined
  #timer: Timer | undefined
  #lingerTimer: Timer | undefined
  #bytesAtCheck = 0
  #idleChecks = 0
  #openSockets = 2
  #end: PipeEnd | undefined
  #settle: (end: PipeEnd) => void = () => undefined
  /** Resolves, never rejects, when both sockets are closed. */
  readonly done: Promise<PipeEnd>

  constructor(first: Socket, second: Socket, options: PipeOptions = {}) {
    const bufferBytes = options.bufferBytes ?? DEFAULTS.bufferBytes
    this.#idleTimeoutMs = options.idleTimeoutMs ?? DEFAULTS.idleTimeoutMs
    this.#lingerMs = options.lingerMs
    this.#clock = options.clock ?? DEFAULTS.clock
    this.done = new Promise((resolve) => {
      this.#settle = resolve
    })
    const fail = (error: unknown): void => this.#finish({ reason: 'transform-failed', error })
    this.#first = new Direction(first, bufferBytes, fail)
    this.#second = new Direction(second, bufferBytes, fail)
    this.#watch(this.#first.source, 'first-broken')
    this.#watch(this.#second.source, 'second-broken')
    this.#checkLater()
    this.#begin(options.transform)
  }

  /** Bytes read from the first socket since the join. */
  get bytesFromFirst(): number {
    return this.#first.bytes
  }

  /** Bytes read from the second socket since the join. */
  get bytesFromSecond(): number {
    return this.#second.bytes
  }

  /** Bytes that the first socket has taken since the join. */
  get bytesTakenByFirst(): number {
    return this.#first.bytesTaken
  }

  /** Bytes that the second socket has taken since the join. */
  get bytesTakenBySecond(): number {
    return this.#second.bytesTaken
  }

  /** Ends the pipe now; what is on its way is lost. */
  destroy(error?: unknown): void {
    this.#finish(error === undefined ? { reason: 'destroyed' } : { reason: 'destroyed', error })
  }

  #begin(transform: PipeOptions['transform']): void {
    const [first, second] = [this.#first, this.#second]
    first.aim(second.source)
    second.aim(first.source)
    try {
      if (transform !== undefined) {
        const { fromFirst, fromSecond } = transform(second.output, first.output)
        first.transform = fromFirst
        second.transform = fromSecond
      }
    } catch (error) {
      this.#finish({ reason: 'transform-failed', error })
      return
    }
    first.begin(() => this.#linger())
    second.begin(() => this.#linger())
  }

  #watch(socket: Socket, broken: PipeEnd['reason']): void {
    const closed = (): void => {
      if (!socket.readableEnded || !socket.writableFinished) this.#finish({ reason: broken })
      if (--this.#openSockets > 0) return
      this.#finish({ reason: 'ended' })
      this.#settle(this.#end ?? { reason: 'ended' })
    }
    socket.on('error', (error) => this.#finish({ reason: broken, error }))
    // It may have closed before the pipe was made; then there is no further event.
    if (socket.closed) queueMicrotask(closed)
    else socket.once('close', closed)
  }

  #linger(): void {
    if (this.#lingerMs === undefined || this.#end !== undefined) return
    this.#lingerTimer ??= this.#clock.after(this.#lingerMs, () => this.#finish({ reason: 'lingered' }))
  }

  #checkLater(): void {
    this.#timer = this.#clock.after(this.#idleTimeoutMs / CHECKS_PER_TIMEOUT, () => this.#check())
  }

  #check(): void {
    const bytes = this.#first.bytes + this.#second.bytes
    this.#idleChecks = bytes === this.#bytesAtCheck ? this.#idleChecks + 1 : 0
    this.#bytesAtCheck = bytes
    if (Math.max(this.#first.checkStall(), this.#second.checkStall()) > CHECKS_PER_TIMEOUT) {
      this.#finish({ reason: 'stalled' })
    } else if (this.#idleChecks >= CHECKS_PER_TIMEOUT) {
      this.#finish({ reason: 'idle' })
    } else {
      this.#checkLater()
    }
  }

  #finish(end: PipeEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#timer?.cancel()
    this.#lingerTimer?.cancel()
    this.#first.source.destroy()
    this.#second.source.destroy()
  }
}

/** What is read from one socket and written to its target. */
class Direction {
  readonly source: Socket
  transform: Sink
  bytes = 0
  #target: Socket
  readonly #leftover: Uint8Array
  readonly #writtenBefore: number
  readonly #fail: (error: unknown) => void
  /** While a read is forwarded: its latest slice, held back to see whether several can go out in one writev. */
  #held: Uint8Array | undefined
  #isForwarding = false
  #isCorked = false
  #isPaused = false
  #takenAtCheck = 0
  #stalledChecks = 0

  constructor(source: Socket, bufferBytes: number, fail: (error: unknown) => void) {
    const reading = readByOnread(source, bufferBytes, (bytes) => this.#forward(bytes))
    this.source = reading.socket
    this.#target = reading.socket
    this.#leftover = reading.leftover
    this.#writtenBefore = reading.socket.bytesWritten
    this.#fail = fail
    this.transform = this.output
  }

  /** What the other direction has sent to the source and the source has taken. */
  get bytesTaken(): number {
    return this.source.bytesWritten - this.source.writableLength - this.#writtenBefore
  }

  aim(target: Socket): void {
    this.#target = target
    target.on('drain', this.#resume)
  }

  begin(onEnd: () => void): void {
    const ended = (): void => {
      this.#target.end()
      onEnd()
    }
    if (this.#leftover.length > 0) this.#forward(this.#leftover)
    if (this.source.readableEnded) ended()
    else this.source.once('end', ended)
    if (!this.#isPaused) this.source.resume()
  }

  /**
   * Checks in a row, this one included, that found the target not to have taken anything of what it was sent. That may
   * come from the other direction too, whose source is not paused for it.
   */
  checkStall(): number {
    const { bytesWritten, writableLength } = this.#target
    const taken = bytesWritten - writableLength
    if (writableLength === 0) this.#stalledChecks = 0
    else this.#stalledChecks = taken === this.#takenAtCheck ? this.#stalledChecks + 1 : 1
    this.#takenAtCheck = taken
    return this.#stalledChecks
  }

  /** Writes to the target; within a read of this direction several slices become one writev. */
  readonly output: Sink = (bytes) => {
    const target = this.#target
    if (!target.writable) return
    if (!this.#isForwarding) {
      target.write(bytes)
      return
    }
    if (this.#held !== undefined) {
      if (!this.#isCorked) target.cork()
      this.#isCorked = true
      target.write(this.#held)
    }
    this.#held = bytes
  }

  #forward(bytes: Uint8Array): void {
    this.bytes += bytes.length
    this.#isForwarding = true
    try {
      this.transform(bytes)
    } catch (error) {
      this.#fail(error)
    }
    this.#isForwarding = false
    this.#flush()
    // The read buffer is used again by the next read, so that must wait until the target has let go of it.
    if (this.#target.writableLength > 0 && !this.#isPaused) this.#pause()
  }

  #flush(): void {
    const target = this.#target
    if (this.#held !== undefined && target.writable) target.write(this.#held)
    this.#held = undefined
    if (this.#isCorked) target.uncork()
    this.#isCorked = false
  }

  #pause(): void {
    this.#isPaused = true
    this.source.pause()
    this.#resumeLater()
  }

  /** A socket says `drain` only after much; after less an empty write tells when the rest has gone. */
  #resumeLater(): void {
    if (!this.#target.writableNeedDrain && this.#target.writable) this.#target.write(EMPTY, this.#resume)
  }

  readonly #resume = (): void => {
    if (!this.#isPaused) return
    if (this.#target.writableLength > 0) {
      this.#resumeLater()
      return
    }
    this.#isPaused = false
    this.source.resume()
  }
}

const EMPTY = new Uint8Array(0)
