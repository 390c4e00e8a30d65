import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { TunnelError } from '../errors.ts'

export interface WorkPoolOptions {
  /** Connections to keep ready. */
  readonly size: number
  /** How long somebody waits for one, in milliseconds; may change. */
  readonly waitMs: () => number
  readonly clock: Clock
  /** Asks the client for one more connection (ReqWorkConn). */
  readonly request: () => void
}

/** Beyond its size the pool takes so many that came unasked, as frp does. */
const slack = 10
/** Most who wait at a time; one more is refused at once. */
const maxWaiting = 1024
/** A connection that was asked for and did not come in so many milliseconds is not coming. */
const comingMs = 5000

/** Takes a work connection, or says why there is none; may be told within the call that asks. */
export type WorkTaker = (work: ByteStream | undefined, error: TunnelError | undefined) => void

interface Waiting {
  readonly take: WorkTaker
  readonly untilMs: number
}

/**
 * The work connections of one client that nobody uses yet, and those who wait for one. Asks for as many as are wanted and not
 * coming already, so that a client is not made to open connections which are then thrown away.
 */
export class WorkPool {
  readonly #options: WorkPoolOptions
  readonly #idle = new Set<ByteStream>()
  /** In order of their deadlines. */
  readonly #waiting = new Set<Waiting>()
  /** Until when each that was asked for counts as coming, in order. */
  #coming: number[] = []
  #timer: Timer | undefined
  #isClosed = false

  constructor(options: WorkPoolOptions) {
    this.#options = options
  }

  get idle(): number {
    return this.#idle.size
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Whether one more connection is of no use. */
  get isFull(): boolean {
    return this.#isClosed || (this.#waiting.size === 0 && this.#idle.size >= this.#options.size + slack)
  }

  /** Asks for the first connections. */
  fill(): void {
    this.#ask()
  }

  /** A connection came; it is closed when the pool `isFull`. */
  offer(work: ByteStream): void {
    this.#coming.shift()
    if (this.isFull) {
      work.destroy()
      return
    }
    const [first] = this.#waiting
    if (first !== undefined) {
      this.#waiting.delete(first)
      first.take(work, undefined)
      this.#ask()
      return
    }
    this.#idle.add(work)
    this.#watch(work)
  }

  /**
   * Gives a connection to `take`, now or when one comes. The function that is returned stops the waiting; then `take` is not
   * called any more.
   */
  take(take: WorkTaker): () => void {
    if (this.#isClosed) {
      take(undefined, noBackend('control is already closed'))
      return nothing
    }
    const [work] = this.#idle
    if (work !== undefined) {
      this.#idle.delete(work)
      work.pause()
      take(work, undefined)
      this.#ask()
      return nothing
    }
    if (this.#waiting.size >= maxWaiting) {
      take(undefined, noBackend(`${maxWaiting} connections wait for a work connection`))
      return nothing
    }
    const waiting: Waiting = { take, untilMs: this.#options.clock.nowMs() + this.#options.waitMs() }
    this.#waiting.add(waiting)
    this.#ask()
    this.#arm()
    return () => this.#waiting.delete(waiting)
  }

  /** Closes what is idle and refuses those who wait. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#timer?.cancel()
    for (const work of this.#idle) work.destroy()
    this.#idle.clear()
    for (const { take } of this.#waiting) take(undefined, noBackend('control is already closed'))
    this.#waiting.clear()
  }

  #ask(): void {
    if (this.#isClosed) return
    const nowMs = this.#options.clock.nowMs()
    this.#coming = this.#coming.filter((untilMs) => untilMs > nowMs)
    const missing = this.#options.size + this.#waiting.size - this.#idle.size - this.#coming.length
    for (let count = 0; count < missing; count++) {
      this.#coming.push(nowMs + comingMs)
      this.#options.request()
    }
  }

  /** Sees an idle connection break, or its client speak out of turn. */
  #watch(work: ByteStream): void {
    const lost = (): void => {
      if (this.#idle.delete(work)) this.#ask()
    }
    const cut = (): boolean => {
      lost()
      work.destroy()
      return true
    }
    work.attach({ onBytes: cut, onEnd: cut, onDrain: nothing, onClose: lost })
    work.resume()
  }

  /** While somebody waits: refuses those who have waited too long, and asks again for what did not come. */
  #arm(): void {
    if (this.#timer !== undefined) return
    const { clock } = this.#options
    const [first] = this.#waiting
    if (first === undefined) return
    const delayMs = Math.min(first.untilMs - clock.nowMs(), comingMs)
    this.#timer = clock.after(Math.max(1, delayMs), () => {
      this.#timer = undefined
      const nowMs = clock.nowMs()
      for (const waiting of this.#waiting) {
        if (waiting.untilMs > nowMs) continue
        this.#waiting.delete(waiting)
        waiting.take(
          undefined,
          new TunnelError('TUNNEL_TIMEOUT', 'timeout trying to get work connection', {
            side: 'origin',
            retryable: true,
          }),
        )
      }
      this.#ask()
      this.#arm()
    })
  }
}

function noBackend(message: string): TunnelError {
  return new TunnelError('TUNNEL_NO_BACKEND', message, { side: 'origin', retryable: true })
}

function nothing(): void {}
