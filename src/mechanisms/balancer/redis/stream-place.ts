/** Where a stream is, as a script answered. */
export interface StreamPlace {
  /** Server key; undefined: nowhere. */
  readonly place: string | undefined
  readonly word: string
  /** Where it is published, by gateway id, or `@` and an origin id for what an origin says itself: server keys. */
  readonly publishers: ReadonlyMap<string, string>
}

/** Most entries of a hash that are looked at. */
const MAX_ENTRIES = 10_000

/** What a script of `stream-scripts.ts` answered; undefined when it is none of that. */
export function streamPlaceOf(reply: unknown): StreamPlace | undefined {
  if (!Array.isArray(reply)) return undefined
  const [place, word, publishers] = reply as readonly unknown[]
  if (typeof place !== 'string' || typeof word !== 'string') return undefined
  return { place: place || undefined, word, publishers: textsOf(publishers) }
}

/** A hash as HGETALL gives it; what is none is empty. */
export function textsOf(flat: unknown): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  if (!Array.isArray(flat)) return texts
  for (let at = 0; at + 1 < flat.length && texts.size < MAX_ENTRIES; at += 2) {
    const [name, value] = [flat[at], flat[at + 1]] as readonly unknown[]
    if (typeof name === 'string' && typeof value === 'string') texts.set(name, value)
  }
  return texts
}
