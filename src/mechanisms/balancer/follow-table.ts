import type { OriginRecord } from './origin-record.ts'
import type { StreamKey } from './stream-key.ts'

/**
 * Which origins say of which stream that it is published there. Several may, when a publisher changed its origin and the
 * earlier one did not notice yet: whoever said so last is right, and saying it again is nothing new.
 */
export class FollowTable {
  /** In the order in which they said so. */
  readonly #origins = new Map<StreamKey, Set<OriginRecord>>()
  readonly #keys = new Map<OriginRecord, Set<StreamKey>>()

  get size(): number {
    return this.#origins.size
  }

  has(key: StreamKey, record: OriginRecord): boolean {
    return this.#keys.get(record)?.has(key) === true
  }

  /** The origin that said so last. */
  newest(key: StreamKey): OriginRecord | undefined {
    return [...(this.#origins.get(key) ?? [])].at(-1)
  }

  add(key: StreamKey, record: OriginRecord): void {
    addTo(this.#origins, key, record)
    addTo(this.#keys, record, key)
  }

  /** False when it had not said so. */
  delete(key: StreamKey, record: OriginRecord): boolean {
    deleteFrom(this.#keys, record, key)
    return deleteFrom(this.#origins, key, record)
  }

  clear(key: StreamKey): void {
    for (const record of this.#origins.get(key) ?? []) this.delete(key, record)
  }

  /** Takes back all that an origin said; those keys come back. */
  dropOrigin(record: OriginRecord): readonly StreamKey[] {
    const keys = [...(this.#keys.get(record) ?? [])]
    for (const key of keys) this.delete(key, record)
    return keys
  }
}

function addTo<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key)
  if (set === undefined) sets.set(key, new Set([value]))
  else set.add(value)
}

function deleteFrom<K, V>(sets: Map<K, Set<V>>, key: K, value: V): boolean {
  const set = sets.get(key)
  if (set === undefined || !set.delete(value)) return false
  if (set.size === 0) sets.delete(key)
  return true
}
