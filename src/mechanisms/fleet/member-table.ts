import { LRUCache } from 'lru-cache'
import type { GatewayId } from './contract.ts'
import type { MemberEntry } from './member-entry.ts'

/** How many that said goodbye are remembered. */
const MAX_LEFT = 1024

/** The other gateways, as this one knows them. */
export class MemberTable {
  #members = new Map<GatewayId, MemberEntry>()
  /** Runs that said goodbye: an answer of Redis that was under way then may still have them. */
  readonly #left = new LRUCache<string, true>({ max: MAX_LEFT })

  get size(): number {
    return this.#members.size
  }

  has(id: GatewayId): boolean {
    return this.#members.has(id)
  }

  list(): readonly MemberEntry[] {
    return [...this.#members.values()]
  }

  /** Takes what Redis has, and gives those that have gone; nobody has, with `keepsMissing`. */
  replace(found: readonly MemberEntry[], keepsMissing: boolean): readonly GatewayId[] {
    const before = this.#members
    this.#members = new Map(
      found.flatMap((entry) => (this.#left.has(entry.instance) ? [] : [[entry.id, entry]])),
    )
    const missing = [...before].filter(([id]) => !this.#members.has(id))
    if (!keepsMissing) return missing.map(([id]) => id)
    for (const [id, entry] of missing) this.#members.set(id, entry)
    return []
  }

  /** One that is known has something new to say of itself. */
  update(entry: MemberEntry): void {
    if (this.#members.get(entry.id)?.instance === entry.instance) this.#members.set(entry.id, entry)
  }

  /** It said goodbye. False when it was not here, or another run of it is. */
  leave(id: GatewayId, instance: string): boolean {
    this.#left.set(instance, true)
    return this.#members.get(id)?.instance === instance && this.#members.delete(id)
  }
}
