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

/** Makes the transform; it is given the sinks towards the sides, which may be used at any time, also within this call. */
export type MakeTransform = (toFirst: Sink, toSecond: Sink) => PipeTransform

/** Told of bytes that were read, it says for how many milliseconds nothing more is to be read; 0: go on. */
export type Throttle = (bytes: number) => number

/** How two sockets are joined. */
export interface PipeOptions {
  /** @defaultValue bytes go across as they are */
  readonly transform?: MakeTransform
  /** Bounds on what is read of each side. @defaultValue none */
  readonly throttle?: { readonly fromFirst?: Throttle; readonly fromSecond?: Throttle }
  /**
   * Asked when the second side has ended or broken before the first has. True: the first goes on, what it sends is dropped,
   * and the pipe waits for `resume`. @defaultValue the pipe ends
   */
  readonly onSecondGone?: (error: unknown) => boolean
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
  #second: Direction
  /** The second side is gone, and another has not come yet. */
  #isWaiting = false
  /** Of second sides that are gone. */
  #bytesFromGone = 0
  #bytesTakenByGone = 0
  readonly #options: PipeOptions
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
    this.#options = options
    this.#idleTimeoutMs = options.idleTimeoutMs ?? DEFAULTS.idleTimeoutMs
    this.#lingerMs = options.lingerMs
    this.#clock = options.clock ?? DEFAULTS.clock
    this.done = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.#first = this.#direction(first, options.throttle?.fromFirst)
    this.#second = this.#direction(second, options.throttle?.fromSecond)
    this.#watch(this.#first.source, 'first-broken')
    this.#watch(this.#second.source, 'second-broken')
    this.#checkLater()
    if (this.#aim(options.transform)) {
      this.#first.begin((target) => this.#ended(target))
      this.#second.begin((target) => this.#ended(target))
    }
  }

  /** Bytes read from the first socket since the join. */
  get bytesFromFirst(): number {
    return this.#first.bytes
  }

  /** Bytes read from the second socket since the join. */
  get bytesFromSecond(): number {
    return this.#bytesFromGone + this.#second.bytes
  }

  /** Bytes that the first socket has taken since the join. */
  get bytesTakenByFirst(): number {
    return this.#first.bytesTaken
  }

  /** Bytes that the second socket has taken since the join. */
  get bytesTakenBySecond(): number {
    return this.#bytesTakenByGone + this.#second.bytesTaken
  }

  /** Whether a new second side is waited for. */
  get isWaiting(): boolean {
    return this.#isWaiting
  }

  /** Joins another second side, with another transform; only while the pipe waits for one. */
  resume(second: Socket, transform: MakeTransform): void {
    if (!this.#isWaiting || this.#end !== undefined) {
      second.destroy()
      return
    }
    this.#bytesFromGone += this.#second.bytes
    this.#bytesTakenByGone += this.#second.bytesTaken
    this.#isWaiting = false
    this.#idleChecks = 0
    this.#openSockets++
    this.#second = this.#direction(second, this.#options.throttle?.fromSecond)
    this.#watch(this.#second.source, 'second-broken')
    if (this.#aim(transform)) this.#second.begin((target) => this.#ended(target))
  }

  /** Ends the second side as if it had broken. */
  dropSecond(): void {
    if (!this.#isWaiting) this.#second.source.destroy()
  }

  /** Ends the pipe now; what is on its way is lost. */
  destroy(error?: unknown): void {
    this.#finish(error === undefined ? { reason: 'destroyed' } : { reason: 'destroyed', error })
  }

  #direction(source: Socket, throttle: Throttle | undefined): Direction {
    const bufferBytes = this.#options.bufferBytes ?? DEFAULTS.bufferBytes
    const fail = (error: unknown): void => this.#finish({ reason: 'transform-failed', error })
    return new Direction(source, bufferBytes, fail, throttle, this.#clock)
  }

  /** Leads each side to the other. False when the transform could not be made. */
  #aim(transform: MakeTransform | undefined): boolean {
    const [first, second] = [this.#first, this.#second]
    first.aim(second.source)
    second.aim(first.source)
    first.transform = first.output
    try {
      if (transform !== undefined) {
        const { fromFirst, fromSecond } = transform(second.output, first.output)
        first.transform = fromFirst
        second.transform = fromSecond
      }
      return true
    } catch (error) {
      this.#finish({ reason: 'transform-failed', error })
      return false
    }
  }

  #watch(socket: Socket, broken: PipeEnd['reason']): void {
    const closed = (): void => {
      if (this.#isGone(socket)) return
      if (!socket.readableEnded || !socket.writableFinished) {
        if (this.#leave(socket, undefined)) return
        this.#finish({ reason: broken })
      }
      if (--this.#openSockets > 0) return
      this.#finish({ reason: 'ended' })
      this.#settle(this.#end ?? { reason: 'ended' })
    }
    socket.on('error', (error) => {
      if (!this.#isGone(socket) && !this.#leave(socket, error)) this.#finish({ reason: broken, error })
    })
    // It may have closed before the pipe was made; then there is no further event.
    if (socket.closed) queueMicrotask(closed)
    else socket.once('close', closed)
  }

  #ended(source: Socket): void {
    if (this.#isGone(source) || this.#leave(source, undefined)) return
    if (this.#isWaiting) {
      this.#finish({ reason: 'ended' })
      return
    }
    const target = source === this.#first.source ? this.#second.source : this.#first.source
    target.end()
    this.#linger()
  }

  /** Whether this is a second side that has been left. */
  #isGone(socket: Socket): boolean {
    return socket !== this.#first.source && (this.#isWaiting || socket !== this.#second.source)
  }

  /** Goes on without the second side, where it is that and the owner wants it. */
  #leave(socket: Socket, error: unknown): boolean {
    const first = this.#first.source
    if (socket === first || this.#end !== undefined || first.destroyed || first.readableEnded) return false
    if (this.#options.onSecondGone?.(error) !== true) return false
    this.#isWaiting = true
    this.#openSockets--
    this.#second.leave()
    this.#first.go()
    return true
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
    this.#idleChecks = bytes === this.#bytesAtCheck && !this.#isWaiting ? this.#idleChecks + 1 : 0
    this.#bytesAtCheck = bytes
    const stalledChecks = Math.max(this.#first.checkStall(), this.#second.checkStall())
    if (stalledChecks > CHECKS_PER_TIMEOUT && !this.#isWaiting) {
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
    this.#first.leave()
    this.#second.leave()
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
  readonly #throttle: Throttle | undefined
  readonly #clock: Clock
  /** Nothing is read until it is over. */
  #throttled: Timer | undefined
  /** While a read is forwarded: its latest slice, held back to see whether several can go out in one writev. */
  #held: Uint8Array | undefined
  #isForwarding = false
  #isCorked = false
  #isPaused = false
  #takenAtCheck = 0
  #stalledChecks = 0

  constructor(
    source: Socket,
    bufferBytes: number,
    fail: (error: unknown) => void,
    throttle: Throttle | undefined,
    clock: Clock,
  ) {
    const reading = readByOnread(source, bufferBytes, (bytes) => this.#forward(bytes))
    this.source = reading.socket
    this.#target = reading.socket
    this.#leftover = reading.leftover
    this.#writtenBefore = reading.socket.bytesWritten
    this.#fail = fail
    this.#throttle = throttle
    this.#clock = clock
    this.transform = this.output
  }

  /** What the other direction has sent to the source and the source has taken. */
  get bytesTaken(): number {
    return this.source.bytesWritten - this.source.writableLength - this.#writtenBefore
  }

  aim(target: Socket): void {
    this.#target = target
    this.#stalledChecks = 0
    target.on('drain', this.go)
    this.go()
  }

  /** Ends it: the source is destroyed. */
  leave(): void {
    this.#throttled?.cancel()
    this.#target.off('drain', this.go)
    this.source.destroy()
  }

  begin(onEnd: (source: Socket) => void): void {
    const ended = (): void => onEnd(this.source)
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
    if (this.#throttle !== undefined) this.#wait(this.#throttle(bytes.length))
  }

  #wait(forMs: number): void {
    if (forMs <= 0 || this.source.destroyed) return
    this.#isPaused = true
    this.source.pause()
    this.#throttled?.cancel()
    this.#throttled = this.#clock.after(forMs, () => {
      this.#throttled = undefined
      this.go()
    })
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
    const { writable, writableNeedDrain } = this.#target
    if (!writableNeedDrain && writable) this.#target.write(EMPTY, this.go)
  }

  /** Reads on, where nothing speaks against it any more. */
  readonly go = (): void => {
    if (!this.#isPaused || this.#throttled !== undefined) return
    if (this.#target.writableLength > 0 && !this.#target.destroyed) {
      this.#resumeLater()
      return
    }
    this.#isPaused = false
    this.source.resume()
  }
}

const EMPTY = new Uint8Array(0)
