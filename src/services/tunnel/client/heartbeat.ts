import type { Clock, Timer } from '../../../foundation/clock.ts'

export interface HeartbeatOptions {
  /** 0 or less: no heartbeats, and no watch over the answers. */
  readonly intervalSeconds: number
  /** 0 or less: answers may stay away. */
  readonly timeoutSeconds: number
  readonly clock: Clock
  readonly onBeat: () => void
  /** No answer for so long; called once. */
  readonly onTimeout: () => void
}

/** The application's heartbeat on a control connection (reference §7.4): the first at once, then every interval. */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  #beat: Timer | undefined
  #watch: Timer | undefined
  #heardMs = 0

  constructor(options: HeartbeatOptions) {
    this.#options = options
  }

  start(): void {
    const { intervalSeconds, timeoutSeconds, clock } = this.#options
    if (intervalSeconds <= 0) return
    this.#heardMs = clock.nowMs()
    if (timeoutSeconds > 0) this.#watchFor(timeoutSeconds * 1000)
    this.#sendNext()
  }

  /** An answer came. */
  heard(): void {
    this.#heardMs = this.#options.clock.nowMs()
  }

  stop(): void {
    this.#beat?.cancel()
    this.#watch?.cancel()
    this.#beat = undefined
    this.#watch = undefined
  }

  #sendNext(): void {
    const { intervalSeconds, clock, onBeat } = this.#options
    this.#beat = clock.after(intervalSeconds * 1000, () => this.#sendNext())
    onBeat()
  }

  #watchFor(delayMs: number): void {
    const { timeoutSeconds, clock, onTimeout } = this.#options
    this.#watch = clock.after(delayMs, () => {
      const leftMs = this.#heardMs + timeoutSeconds * 1000 - clock.nowMs()
      if (leftMs > 0) {
        this.#watchFor(leftMs)
        return
      }
      this.stop()
      onTimeout()
    })
  }
}
