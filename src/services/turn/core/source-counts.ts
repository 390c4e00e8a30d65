import { sourceOf } from '../../../foundation/source-of.ts'

/** How many of something come from each source. */
export class SourceCounts {
  readonly #counts = new Map<string, number>()

  of(address: string): number {
    return this.#counts.get(sourceOf(address)) ?? 0
  }

  add(address: string): void {
    this.#counts.set(sourceOf(address), this.of(address) + 1)
  }

  remove(address: string): void {
    const left = this.of(address) - 1
    if (left > 0) this.#counts.set(sourceOf(address), left)
    else this.#counts.delete(sourceOf(address))
  }
}
