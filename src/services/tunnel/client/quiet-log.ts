import type { Clock } from '../../../foundation/clock.ts'

const quietMs = 1000

/**
 * For lines that a peer or a user can cause a thousand times a second: writes at most one a second, with how many were left
 * out since the one before.
 */
export class QuietLog {
  readonly #clock: Clock
  readonly #write: (fields: Readonly<Record<string, unknown>>, message: string) => void
  #lastMs = Number.NEGATIVE_INFINITY
  #leftOut = 0

  constructor(clock: Clock, write: (fields: Readonly<Record<string, unknown>>, message: string) => void) {
    this.#clock = clock
    this.#write = write
  }

  note(fields: Readonly<Record<string, unknown>>, message: string): void {
    const nowMs = this.#clock.nowMs()
    if (nowMs - this.#lastMs < quietMs) {
      this.#leftOut++
      return
    }
    this.#lastMs = nowMs
    const leftOut = this.#leftOut
    this.#leftOut = 0
    this.#write(leftOut > 0 ? { ...fields, leftOut } : fields, message)
  }
}
