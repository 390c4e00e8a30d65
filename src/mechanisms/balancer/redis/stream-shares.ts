import type { Clock } from '../../../foundation/clock.ts'
import type { OriginId } from '../contract.ts'
import type { StreamKey } from '../stream-key.ts'
import { StreamShare } from './stream-share.ts'

/** Times of the tables, in milliseconds. */
export interface StreamSharesOptions {
  readonly clock: Clock
  /** How long a stream stays where it is after its last use. */
  readonly pickIdleMs: number
}

/**
 * How long the place of a stream that nobody uses here is trusted, in milliseconds: others may move it without a word. And how
 * often what is due is looked for. Less where streams are forgotten soon.
 */
const FRESH_MS = 5000
const FRESH = 1 / 12
/** What is used is renewed within this part of the time after which it would be forgotten, and not before half of that. */
const RENEWAL = 1 / 3

/** The streams that this gateway has to do with: those that are used here, and those that were heard of lately. */
export class StreamShares {
  readonly freshMs: number
  readonly #clock: Clock
  readonly #pickIdleMs: number
  /** Each in the order in which they were heard of. */
  readonly #held = new Map<StreamKey, StreamShare>()
  readonly #idle = new Map<StreamKey, StreamShare>()

  constructor({ clock, pickIdleMs }: StreamSharesOptions) {
    this.#clock = clock
    this.#pickIdleMs = pickIdleMs
    this.freshMs = Math.min(FRESH_MS, pickIdleMs * FRESH)
  }

  /** How many are used here. */
  get heldSize(): number {
    return this.#held.size
  }

  held(key: StreamKey): StreamShare | undefined {
    return this.#held.get(key)
  }

  allHeld(): readonly StreamShare[] {
    return [...this.#held.values()]
  }

  *all(): IterableIterator<StreamShare> {
    yield* this.#held.values()
    yield* this.#idle.values()
  }

  /** Whether a stream is known to be at this origin for all gateways. */
  isConfirmed(key: StreamKey, id: OriginId): boolean {
    const held = this.#held.get(key)
    if (held !== undefined) return held.place === id && held.said !== undefined && held.said === held.role
    const idle = this.#idle.get(key)
    return idle?.place === id && this.#clock.nowMs() - idle.confirmedMs < this.freshMs
  }

  /** The share of a stream, made if there is none. */
  of(key: StreamKey): StreamShare {
    const known = this.#held.get(key) ?? this.#idle.get(key)
    if (known !== undefined) return known
    const share = new StreamShare(key)
    share.confirmedMs = this.#clock.nowMs()
    this.#idle.set(key, share)
    return share
  }

  /** Puts it where its state says; what is there already keeps its turn, however often it is used. */
  file(share: StreamShare): void {
    if (share.isForgotten) return
    const [to, from] = share.isHeld ? [this.#held, this.#idle] : [this.#idle, this.#held]
    from.delete(share.key)
    if (!to.has(share.key)) to.set(share.key, share)
  }

  /** The same, and last in line to be renewed. */
  fileLast(share: StreamShare): void {
    this.#held.delete(share.key)
    this.#idle.delete(share.key)
    this.file(share)
  }

  /** Nothing is known of it any more. What runs goes on apart, and its share comes back. */
  forget(key: StreamKey): StreamShare | undefined {
    const share = this.#held.get(key) ?? this.#idle.get(key)
    this.#held.delete(key)
    this.#idle.delete(key)
    share?.forget()
    return share
  }

  /** Whether it is to be said again. */
  isDue(share: StreamShare): boolean {
    return this.#clock.nowMs() - share.confirmedMs >= (this.#pickIdleMs * RENEWAL) / 2
  }

  /** Those of nobody that were not heard of for long. */
  stale(): readonly StreamShare[] {
    const staleMs = this.#clock.nowMs() - this.freshMs
    const stale: StreamShare[] = []
    for (const share of this.#idle.values()) {
      if (share.confirmedMs > staleMs) break
      if (share.claims === 0) stale.push(share)
    }
    return stale
  }

  /** The oldest, and so many that all are renewed in time: what was said at one moment is not renewed at one moment. */
  due(): readonly StreamShare[] {
    const most = Math.ceil((this.#held.size * this.freshMs) / (this.#pickIdleMs * RENEWAL))
    const due: StreamShare[] = []
    for (const share of this.#held.values()) {
      if (!this.isDue(share) || due.length >= most) break
      due.push(share)
    }
    return due
  }
}
