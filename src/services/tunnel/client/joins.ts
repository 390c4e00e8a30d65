import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import { joinStreams, type StreamJoin, type TcpJoiner } from '../../../mechanisms/streams/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'

/** Most connections at a time: what a server asks for is not without end. */
const maxJoins = 10_000

/** All pairs of streams that the client joins or is about to, so that a close can wait for them. */
export class Joins {
  readonly #clock: Clock
  readonly #engine: TcpJoiner | undefined
  readonly #joins = new Set<StreamJoin>()
  #held = 0
  #isCut = false
  #onIdle: (() => void) | undefined

  constructor(clock: Clock, engine: TcpJoiner | undefined) {
    this.#clock = clock
    this.#engine = engine
  }

  /** Those that run or are about to be. */
  get size(): number {
    return this.#joins.size + this.#held
  }

  /** There are as many as may be. */
  get isFull(): boolean {
    return this.size >= maxJoins
  }

  /** Counts a join that is about to be, until the function that is returned is called. */
  hold(): () => void {
    this.#held++
    let isHeld = true
    return () => {
      if (isHeld) this.#held--
      isHeld = false
      this.#checkIdle()
    }
  }

  /** Joins two streams. */
  add(first: ByteStream, second: ByteStream, halfClose: boolean): void {
    const join = joinStreams(first, second, { halfClose, clock: this.#clock, engine: this.#engine })
    this.#joins.add(join)
    void join.done.then(() => {
      this.#joins.delete(join)
      this.#checkIdle()
    })
    if (this.#isCut) join.destroy(cut())
  }

  /** Waits up to `graceMs` for those that run, then cuts them: what is not whole must not look so. */
  async close(graceMs: number): Promise<void> {
    if (graceMs > 0 && this.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#clock.after(graceMs, resolve)
        this.#onIdle = () => {
          timer.cancel()
          resolve()
        }
      })
    }
    this.#isCut = true
    for (const join of this.#joins) join.destroy(cut())
    await Promise.all([...this.#joins].map((join) => join.done))
  }

  #checkIdle(): void {
    if (this.size === 0) this.#onIdle?.()
  }
}

function cut(): TunnelError {
  return new TunnelError(TunnelErrorCode.closed, 'the client was closed', { side: 'self', retryable: true })
}
