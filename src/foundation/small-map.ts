/**
 * A map for few entries: an allocation has one permission or two, and a `Map` of one entry takes 300 bytes. Looks through a
 * list while it is short; with more than `mostListed` entries it is a `Map` inside.
 */
export class SmallMap<K, V> {
  /** Keys and values by turns. */
  #list: (K | V)[] | undefined
  #map: Map<K, V> | undefined

  get size(): number {
    return this.#map?.size ?? (this.#list?.length ?? 0) / 2
  }

  get(key: K): V | undefined {
    if (this.#map !== undefined) return this.#map.get(key)
    const at = this.#find(key)
    return at < 0 ? undefined : (this.#list?.[at + 1] as V)
  }

  has(key: K): boolean {
    return this.#map?.has(key) ?? this.#find(key) >= 0
  }

  set(key: K, value: V): void {
    if (this.#map !== undefined) {
      this.#map.set(key, value)
      return
    }
    const at = this.#find(key)
    const list = this.#list ?? []
    if (at >= 0) list[at + 1] = value
    else if (list.length < 2 * mostListed) {
      // Just as long as it has to be: `push` makes room for sixteen.
      this.#list = list.concat([key, value])
    } else {
      this.#map = new Map([...this.entries(), [key, value]])
      this.#list = undefined
    }
  }

  delete(key: K): void {
    if (this.#map !== undefined) {
      this.#map.delete(key)
      return
    }
    const at = this.#find(key)
    if (at >= 0) this.#list?.splice(at, 2)
  }

  /** The keys at present; they may be changed meanwhile. */
  keys(): readonly K[] {
    return this.entries().map(([key]) => key)
  }

  /** The values at present. */
  values(): readonly V[] {
    return this.entries().map(([, value]) => value)
  }

  entries(): readonly (readonly [K, V])[] {
    if (this.#map !== undefined) return [...this.#map]
    const list = this.#list ?? []
    return Array.from(
      { length: list.length / 2 },
      (_, i) => [list[2 * i] as K, list[2 * i + 1] as V] as const,
    )
  }

  #find(key: K): number {
    const list = this.#list
    if (list === undefined) return -1
    for (let i = 0; i < list.length; i += 2) if (list[i] === key) return i
    return -1
  }
}

const mostListed = 8
