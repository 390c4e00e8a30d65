import type { Clock, Timer } from '../../../foundation/clock.ts'

/** What an `IdleTable` holds; whoever uses it sets `lastMs` to the clock's time. */
export interface Idleable {
  lastMs: number
}

export interface IdleTableOptions<Value> {
  /** For one more, the one that was idle longest goes. */
  readonly maxEntries: number
  readonly idleMs: number
  readonly clock: Clock
  /** Told of each that goes, by `close` too. */
  readonly onGone: (value: Value) => void
}

/** Values that go when nobody has used them for a while. They may stay up to a sixth longer than `idleMs`. */
export class IdleTable<Value extends Idleable> {
  readonly #options: IdleTableOptions<Value>
  readonly #values = new Map<string, Value>()
  #timer: Timer | undefined

  constructor(options: IdleTableOptions<Value>) {
    this.#options = options
  }

  get size(): number {
    return this.#values.size
  }

  get(key: string): Value | undefined {
    return this.#values.get(key)
  }

  /** Adds a value under a key that is not there yet. */
  add(key: string, value: Value): void {
    if (this.#values.size >= this.#options.maxEntries) this.#dropOldest()
    this.#values.set(key, value)
    this.#timer ??= this.#options.clock.after(this.#options.idleMs / 6, () => this.#sweep())
  }

  delete(key: string): void {
    const value = this.#values.get(key)
    if (value === undefined) return
    this.#values.delete(key)
    this.#options.onGone(value)
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    for (const key of [...this.#values.keys()]) this.delete(key)
  }

  #sweep(): void {
    this.#timer = undefined
    const oldestMs = this.#options.clock.nowMs() - this.#options.idleMs
    for (const [key, value] of this.#values) if (value.lastMs <= oldestMs) this.delete(key)
    if (this.#values.size > 0) {
      this.#timer = this.#options.clock.after(this.#options.idleMs / 6, () => this.#sweep())
    }
  }

  #dropOldest(): void {
    let oldestKey: string | undefined
    let oldestMs = Number.POSITIVE_INFINITY
    for (const [key, { lastMs }] of this.#values) {
      if (lastMs >= oldestMs) continue
      oldestMs = lastMs
      oldestKey = key
    }
    if (oldestKey !== undefined) this.delete(oldestKey)
  }
}
