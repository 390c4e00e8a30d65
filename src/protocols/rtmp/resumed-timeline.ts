/** What runs ahead of its own begin by more than this no longer needs to be held back, in milliseconds. */
const HELD_BACK_MS = 60_000

/**
 * Times of a stream that goes on from another source, as its receiver is to see them: the first frame 1 ms behind the
 * latest of before, the others as far from it as they were, and none before that latest. Times are u32 that wrap.
 */
export class ResumedTimeline {
  #floor: number | undefined
  #offset: number | undefined

  /** @param latest Time that the receiver saw last; undefined when it saw none, and then times stay as they are. */
  constructor(latest: number | undefined) {
    this.#floor = latest
    if (latest === undefined) this.#offset = 0
  }

  /** Whether the first frame has come; before it every message gets the latest time. */
  get isSettled(): boolean {
    return this.#offset !== undefined
  }

  /** Takes the time of the first frame. */
  settle(firstFrame: number): void {
    this.#offset ??= ((this.#floor ?? 0) + 1 - firstFrame) >>> 0
  }

  at(timestamp: number): number {
    if (this.#offset === undefined) return this.#floor ?? timestamp
    const shifted = (timestamp + this.#offset) >>> 0
    if (this.#floor === undefined) return shifted
    const aheadMs = (shifted - this.#floor) | 0
    if (aheadMs < 0) return this.#floor
    if (aheadMs > HELD_BACK_MS) this.#floor = undefined
    return shifted
  }

  /** Whether `at` gives a time that is as far from others as its own was. */
  isExact(timestamp: number): boolean {
    return this.#offset !== undefined && this.at(timestamp) === (timestamp + this.#offset) >>> 0
  }
}
