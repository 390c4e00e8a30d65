/** How many sessions there are of each thing that is bounded. Knows nothing of what has none. */
export class SessionCounts {
  readonly #counts = new Map<string, number>()

  get size(): number {
    return this.#counts.size
  }

  /**
   * Counts one more of each. Gives the name of the first that has no room, and then counts nothing. A bound of 0 is none;
   * those are counted, too, since a reload may bring one.
   */
  take(wanted: readonly { readonly name: string; readonly max: number }[]): string | undefined {
    for (const { name, max } of wanted) if (max > 0 && (this.#counts.get(name) ?? 0) >= max) return name
    this.add(wanted.map(({ name }) => name))
    return undefined
  }

  /** Counts one more of each, whether there is room or not. */
  add(names: readonly string[]): void {
    for (const name of names) this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  give(names: readonly string[]): void {
    for (const name of names) {
      const left = (this.#counts.get(name) ?? 0) - 1
      if (left > 0) this.#counts.set(name, left)
      else this.#counts.delete(name)
    }
  }
}
