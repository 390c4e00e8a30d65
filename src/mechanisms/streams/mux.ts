import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import type { Clock, Timer } from '../../foundation/clock.ts'
import {
  YamuxError,
  YamuxErrorCode,
  type YamuxLimits,
  YamuxSession,
  type YamuxStream,
} from '../../protocols/yamux/index.ts'

export interface MuxOptions extends Partial<YamuxLimits> {
  /** The client opens streams with odd ids, the server with even ones. */
  readonly role: 'client' | 'server'
  readonly clock: Clock
  /** Told of each stream that the peer opens; without it they are refused. */
  readonly onStream?: (stream: ByteStream) => void
}

/** How long the last frames may take to leave after the session has failed. */
const lastFramesMs = 1000

interface Opener {
  resolve(stream: ByteStream): void
  reject(error: unknown): void
}

/** A yamux session upon a carrier, which it owns. Streams end with `YAMUX_CLOSED`, or with what ended the session. */
export class Mux {
  readonly #carrier: ByteStream
  readonly #clock: Clock
  readonly #session: YamuxSession
  readonly #openers: Opener[] = []
  readonly #closeCallbacks: ((error?: Error) => void)[] = []
  #isScheduled = false
  #timer: Timer | undefined
  #timerAtMs = Number.POSITIVE_INFINITY
  #isEnding = false
  #isClosed = false
  #error: Error | undefined

  /** Throws `YAMUX_BAD_OPTION`. */
  constructor(carrier: ByteStream, options: MuxOptions) {
    const { role, clock, onStream, ...limits } = options
    this.#carrier = carrier
    this.#clock = clock
    this.#session = new YamuxSession({
      role,
      carrier,
      limits,
      nowMs: clock.nowMs(),
      schedule: () => this.#schedule(),
      ...(onStream === undefined ? {} : { onStream: (stream: YamuxStream) => onStream(stream) }),
      onOpenable: () => this.#serveOpeners(),
      onOver: (error) => this.#over(error),
    })
    const sink: ByteSink = {
      onBytes: (bytes) => this.#session.receive(bytes, this.#clock.nowMs()),
      onEnd: () => this.#end(undefined),
      onDrain: () => this.#session.drained(this.#clock.nowMs()),
      onClose: (error) => this.#end(error),
    }
    carrier.attach(sink)
    // Not within the constructor: `onStream` may want the session that it is told by.
    queueMicrotask(() => carrier.resume())
    this.#arm()
  }

  /** Streams that are not over on both sides. */
  get streamCount(): number {
    return this.#session.streamCount
  }

  /**
   * Opens a stream, which can be written to at once; waits only while the peer has 256 others to acknowledge. Rejects with
   * `YAMUX_CLOSED`, `YAMUX_GONE_AWAY` or `YAMUX_TOO_MANY_STREAMS`.
   */
  open(): Promise<ByteStream> {
    return new Promise((resolve, reject) => {
      this.#openers.push({ resolve, reject })
      if (this.#openers.length === 1) this.#serveOpeners()
    })
  }

  /** Told once that the session is over, with the reason unless the carrier ended in order or `destroy` had none. */
  onClose(callback: (error?: Error) => void): void {
    if (this.#isClosed) queueMicrotask(() => callback(this.#error))
    else this.#closeCallbacks.push(callback)
  }

  /** Ends the session and its streams now, and destroys the carrier. */
  destroy(error?: Error): void {
    this.#end(error)
  }

  #serveOpeners(): void {
    while (this.#openers.length > 0) {
      try {
        const stream = this.#session.open(this.#clock.nowMs())
        if (stream === undefined) return
        this.#openers.shift()?.resolve(stream)
      } catch (error) {
        this.#openers.shift()?.reject(error)
      }
    }
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    this.#isScheduled = false
    this.#session.turn(this.#clock.nowMs())
    this.#arm()
  }

  /** A timer that fires too early does no harm, so it is moved only when the deadline has come nearer. */
  #arm(): void {
    const atMs = this.#session.nextDeadlineMs
    if (atMs >= this.#timerAtMs) return
    this.#timer?.cancel()
    this.#timerAtMs = atMs
    this.#timer = this.#clock.after(Math.max(0, Math.ceil(atMs - this.#clock.nowMs())), () => {
      this.#timer = undefined
      this.#timerAtMs = Number.POSITIVE_INFINITY
      this.#session.tick(this.#clock.nowMs())
      this.#arm()
    })
  }

  /** The carrier is over, or is to be. */
  #end(error: Error | undefined): void {
    if (this.#session.error === undefined) {
      this.#error = error
      this.#isEnding = true
      const message = error === undefined ? 'the session is over' : `the session is over: ${error.message}`
      const options = { side: this.#session.peerSide, retryable: true, cause: error }
      this.#session.end(new YamuxError(YamuxErrorCode.closed, message, options))
    }
    this.#disarm()
    this.#carrier.destroy(error)
  }

  #over(error: YamuxError): void {
    this.#disarm()
    this.#isClosed = true
    for (const opener of this.#openers.splice(0)) opener.reject(error)
    queueMicrotask(() => {
      for (const callback of this.#closeCallbacks.splice(0)) callback(this.#error)
    })
    if (this.#isEnding) return
    this.#error = error
    // The peer is to read why.
    this.#carrier.end()
    this.#timer = this.#clock.after(lastFramesMs, () => this.#carrier.destroy(error))
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}
