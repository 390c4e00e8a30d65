import type { Clock } from '../../../../foundation/clock.ts'

export interface ExpiringMapOptions {
  readonly clock: Pick<Clock, 'nowMs'>
  /** How long an entry lives after its last use, in milliseconds. */
  readonly ttlMs: number
  /** Most entries; with one more the one unused for longest goes. */
  readonly maxEntries: number
}

interface Entry<V> {
  value: V
  usedMs: number
}

/**
 * A map that forgets what is not used. Uses are noted to an eighth of the time to live, so that looking the same entries up
 * over and over costs no more than in a plain map.
 */
export class ExpiringMap<V> {
  /** In the order of their last noted use. */
  readonly #entries = new Map<string, Entry<V>>()
  readonly #options: ExpiringMapOptions

  constructor(options: ExpiringMapOptions) {
    this.#options = options
  }

  get size(): number {
    this.#expire(this.#options.clock.nowMs())
    return this.#entries.size
  }

  /** The value, which counts as a use. */
  get(key: string): V | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    const nowMs = this.#options.clock.nowMs()
    if (nowMs - entry.usedMs >= this.#options.ttlMs) {
      this.#expire(nowMs)
      return undefined
    }
    this.#use(key, entry, nowMs)
    return entry.value
  }

  set(key: string, value: V): void {
    const nowMs = this.#options.clock.nowMs()
    const entry = this.#entries.get(key)
    if (entry !== undefined) {
      entry.value = value
      this.#use(key, entry, nowMs)
      return
    }
    this.#expire(nowMs)
    if (this.#entries.size >= this.#options.maxEntries) {
      const [oldest] = this.#entries.keys()
      if (oldest !== undefined) this.#entries.delete(oldest)
    }
    this.#entries.set(key, { value, usedMs: nowMs })
  }

  #use(key: string, entry: Entry<V>, nowMs: number): void {
    if (nowMs - entry.usedMs < this.#options.ttlMs / 8) return
    entry.usedMs = nowMs
    this.#entries.delete(key)
    this.#entries.set(key, entry)
  }

  #expire(nowMs: number): void {
    for (const [key, { usedMs }] of this.#entries) {
      if (nowMs - usedMs < this.#options.ttlMs) return
      this.#entries.delete(key)
    }
  }
}
