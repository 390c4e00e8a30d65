import type { Role } from '../contract.ts'

/** Where a stream is, as a script answered. */
export interface StreamPlace {
  /** Server key; undefined: nowhere. */
  readonly place: string | undefined
  readonly word: string
  /** By gateway id, or `@` and an origin id for what an origin says itself. */
  readonly uses: ReadonlyMap<string, StreamUse>
}

/** Somebody publishes or plays a stream at a place. */
export interface StreamUse {
  readonly role: Role
  /** Server key. */
  readonly place: string
}

/** Most uses of a stream that are looked at. */
const MAX_USES = 10_000

/** What a script of `stream-scripts.ts` answered; undefined when it is none of that. */
export function streamPlaceOf(reply: unknown): StreamPlace | undefined {
  if (!Array.isArray(reply)) return undefined
  const [place, word, uses] = reply as readonly unknown[]
  if (typeof place !== 'string' || typeof word !== 'string' || !Array.isArray(uses)) return undefined
  return { place: place || undefined, word, uses: usesOf(uses) }
}

/** Uses as HGETALL gives them; what is none is passed over. */
export function usesOf(flat: readonly unknown[]): ReadonlyMap<string, StreamUse> {
  const uses = new Map<string, StreamUse>()
  for (let at = 0; at + 1 < flat.length && uses.size < MAX_USES; at += 2) {
    const [who, text] = [flat[at], flat[at + 1]]
    if (typeof who !== 'string' || typeof text !== 'string') continue
    const [role, place] = [text.slice(0, text.indexOf(' ')), text.slice(text.indexOf(' ') + 1)]
    if (role === 'publish' || role === 'play') uses.set(who, { role, place })
  }
  return uses
}
