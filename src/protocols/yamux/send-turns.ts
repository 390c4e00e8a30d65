import type { Outbox } from './outbox.ts'

/** A writer that waits for its turn. */
export interface TurnTaker {
  /** Bytes of its next frame, 0 when it has nothing that may be sent. */
  readonly nextFrameBytes: number
  /** Sends that frame, and joins again for the next one. */
  takeTurn(): void
}

/** Up to this a frame is small: it goes ahead of large ones, and also while the carrier is busy. */
const smallBytes = 4096

/**
 * Whose write goes next: one frame each, in turn. Small frames are served before every large one, so that messages do not wait
 * behind bulk; at most a gathering of them, so that bulk goes on too.
 */
export class SendTurns {
  readonly #outbox: Outbox
  readonly #small = new Queue<TurnTaker>()
  readonly #large = new Queue<TurnTaker>()
  #isServing = false

  constructor(outbox: Outbox) {
    this.#outbox = outbox
  }

  /** Whether a frame of so many bytes may be sent at once, past nobody who waits. */
  isFree(bytes: number): boolean {
    if (bytes <= smallBytes) return this.#small.length === 0 && this.#outbox.hasRoom(bytes)
    return !this.#outbox.isBusy && this.#large.length === 0
  }

  join(taker: TurnTaker): void {
    if (taker.nextFrameBytes <= smallBytes) this.#small.push(taker)
    else this.#large.push(taker)
  }

  /** Serves those who wait, as far as the carrier takes it. */
  serve(): void {
    if (this.#isServing) return
    this.#isServing = true
    while (!this.#outbox.isBusy) {
      this.#serveSmall()
      if (this.#outbox.isBusy) break
      const taker = this.#large.shift()
      if (taker === undefined) break
      if (taker.nextFrameBytes > 0) taker.takeTurn()
    }
    this.#isServing = false
  }

  #serveSmall(): void {
    for (let left = this.#small.length; left > 0; left--) {
      const taker = this.#small.first
      if (taker === undefined) return
      const bytes = taker.nextFrameBytes
      // Its window may have grown meanwhile.
      const isSmall = bytes <= smallBytes
      if (isSmall && bytes > 0 && !this.#outbox.hasRoom(bytes)) return
      this.#small.shift()
      if (!isSmall) this.#large.push(taker)
      else if (bytes > 0) taker.takeTurn()
    }
  }
}

/** First in, first out, without moving the rest at each step. */
class Queue<T> {
  #items: T[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  get first(): T | undefined {
    return this.#items[this.#head]
  }

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    const item = this.#items[this.#head]
    if (item === undefined) return undefined
    this.#head++
    if (this.#head === this.#items.length) {
      this.#items = []
      this.#head = 0
    } else if (this.#head >= 64 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}
