import type { Clock, Timer } from '../../foundation/clock.ts'

/** Somebody who waits for bytes; serving him takes a portion and puts him at the end of the queue, by a new `wait`. */
interface Waiter {
  readonly wantedBytes: number
  readonly onGrant: (bytes: number) => void
}

/** Nobody's turn is longer than this part of a second. */
const TURNS_PER_SECOND = 20
const MAX_TURN_BYTES = 65_536

/**
 * How many bytes may pass in a second, shared by all who take from it. One second's worth may pass at once after a
 * pause. Who has to wait is served in turns of a twentieth of a second or 64 KiB, the less of both, so that none of
 * them starves the others.
 */
export class ByteBucket {
  readonly #bytesPerSecond: number
  readonly #burstBytes: number
  readonly #turnBytes: number
  readonly #clock: Clock
  #bytes: number
  #filledAtMs: number
  readonly #waiters = new Set<Waiter>()
  #timer: Timer | undefined
  #isServing = false

  /** @throws RangeError when the rate is not a positive number */
  constructor(bytesPerSecond: number, clock: Clock) {
    if (!(bytesPerSecond > 0) || !Number.isFinite(bytesPerSecond)) {
      throw new RangeError(`bytesPerSecond must be above 0, not ${bytesPerSecond}`)
    }
    this.#bytesPerSecond = bytesPerSecond
    this.#burstBytes = Math.max(1, bytesPerSecond)
    this.#turnBytes = Math.min(MAX_TURN_BYTES, Math.max(1, Math.floor(bytesPerSecond / TURNS_PER_SECOND)))
    this.#clock = clock
    this.#bytes = this.#burstBytes
    this.#filledAtMs = clock.nowMs()
  }

  /** Who waits now. */
  get waiting(): number {
    return this.#waiters.size
  }

  /** Takes all of it at once, when there is enough and nobody waits. */
  tryTake(bytes: number): boolean {
    if (this.#waiters.size > 0) return false
    this.#fill()
    if (bytes > this.#bytes) return false
    this.#bytes -= bytes
    return true
  }

  /**
   * Calls `onGrant` once, later, with how many of the bytes wanted may pass: at least one. Who is cancelled before that
   * has taken nothing.
   */
  wait(wantedBytes: number, onGrant: (bytes: number) => void): Timer {
    const waiter: Waiter = { wantedBytes, onGrant }
    this.#waiters.add(waiter)
    this.#arm()
    return {
      cancel: () => {
        this.#waiters.delete(waiter)
        if (this.#waiters.size === 0) this.#disarm()
      },
    }
  }

  #fill(): void {
    const nowMs = this.#clock.nowMs()
    const grownBytes = ((nowMs - this.#filledAtMs) * this.#bytesPerSecond) / 1000
    this.#bytes = Math.min(this.#burstBytes, this.#bytes + grownBytes)
    this.#filledAtMs = nowMs
  }

  /** For the first in the queue. */
  #arm(): void {
    if (this.#timer !== undefined || this.#isServing) return
    const [first] = this.#waiters
    if (first === undefined) return
    this.#fill()
    const missingBytes = this.#turnOf(first) - this.#bytes
    const delayMs = Math.ceil(Math.max(0, (missingBytes * 1000) / this.#bytesPerSecond))
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = undefined
      this.#serve()
    })
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #serve(): void {
    this.#isServing = true
    this.#fill()
    for (const waiter of this.#waiters) {
      const bytes = this.#turnOf(waiter)
      if (bytes > this.#bytes) break
      this.#bytes -= bytes
      this.#waiters.delete(waiter)
      waiter.onGrant(bytes)
    }
    this.#isServing = false
    this.#arm()
  }

  #turnOf({ wantedBytes }: Waiter): number {
    return Math.min(wantedBytes, this.#turnBytes)
  }
}
