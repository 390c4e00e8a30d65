import { sourceOf } from '../../../foundation/source-of.ts'
/** How many connections that have not shown whose they are may be open. */
export interface StrangerLimits {
  readonly maxUnauthenticated: number
  readonly maxUnauthenticatedPerAddress: number
}

/** A connection that counts against the bounds. */
export interface Stranger {
  /** It is known now, or gone. */
  remove(): void
}

interface Entry {
  readonly address: string
  readonly cut: () => void
}

/**
 * Connections that have not logged in yet, in bounded number, in all and per address. When there are too many, the one
 * that has waited longest is cut, of the same address where that has too many: an honest client is done in a few round
 * trips, so that those who leave connections lying push out one another first.
 */
export class Strangers {
  readonly #limits: StrangerLimits
  /** The oldest first, as in the sets. */
  readonly #entries = new Set<Entry>()
  readonly #byAddress = new Map<string, Set<Entry>>()
  #displaced = 0

  constructor(limits: StrangerLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#entries.size
  }

  /** Connections that were cut for newer ones, ever. */
  get displaced(): number {
    return this.#displaced
  }

  /** Counts a connection until it is removed; `cut` is called when another one needs its place. */
  add(remoteAddress: string, cut: () => void): Stranger {
    const address = sourceOf(remoteAddress)
    const ofAddress = this.#byAddress.get(address)
    if (ofAddress !== undefined && ofAddress.size >= this.#limits.maxUnauthenticatedPerAddress) {
      this.#displaceOldest(ofAddress)
    } else if (this.#entries.size >= this.#limits.maxUnauthenticated) {
      this.#displaceOldest(this.#entries)
    }
    const entry = { address, cut }
    this.#entries.add(entry)
    const group = this.#byAddress.get(address) ?? new Set()
    this.#byAddress.set(address, group.add(entry))
    return { remove: () => this.#remove(entry) }
  }

  #displaceOldest(entries: ReadonlySet<Entry>): void {
    const [oldest] = entries
    if (oldest === undefined) return
    this.#displaced++
    this.#remove(oldest)
    oldest.cut()
  }

  #remove(entry: Entry): void {
    if (!this.#entries.delete(entry)) return
    const group = this.#byAddress.get(entry.address)
    group?.delete(entry)
    if (group?.size === 0) this.#byAddress.delete(entry.address)
  }
}
