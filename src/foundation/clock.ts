/** A timer that was armed; cancelling it twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void
}

/**
 * Time as the rest of the code sees it, so that tests can move it by hand.
 */
export interface Clock {
  /** Monotonic time in milliseconds, from an arbitrary origin. For durations and deadlines. */
  nowMs(): number
  /** Wall time in milliseconds since the Unix epoch. For what is shown or stored. */
  wallMs(): number
  /** Calls `callback` once after `delayMs`. A pending timer does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer
}

/** The clock of the machine. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

/**
 * A clock that stands still until `advance` moves it; timers that fall due on the way are called in
 * order, with the clock showing their time.
 */
export class ManualClock implements Clock {
  #nowMs = 0
  readonly #startWallMs: number
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>()

  constructor(startWallMs: number = Date.UTC(2026, 0, 1)) {
    this.#startWallMs = startWallMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#startWallMs + this.#nowMs
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), callback }
    this.#timers.add(timer)
    return { cancel: () => this.#timers.delete(timer) }
  }

  /** Timers that wait; a closed component leaves none. */
  get pending(): number {
    return this.#timers.size
  }

  /** Time until the next timer, in milliseconds; undefined when none waits. */
  get dueInMs(): number | undefined {
    let nextMs: number | undefined
    for (const { atMs } of this.#timers) if (nextMs === undefined || atMs < nextMs) nextMs = atMs
    return nextMs === undefined ? undefined : nextMs - this.#nowMs
  }

  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs
    for (;;) {
      let next: { readonly atMs: number; readonly callback: () => void } | undefined
      for (const timer of this.#timers) {
        if (timer.atMs <= untilMs && (next === undefined || timer.atMs < next.atMs)) next = timer
      }
      if (next === undefined) break
      this.#timers.delete(next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.callback()
    }
    this.#nowMs = untilMs
  }
}
