/** How a new stream finds its origin among those that are equally fit. */
export type PolicyName = 'random' | 'least-streams'

/** What a policy may weigh. */
export interface Candidate {
  /** Streams that are kept at the origin, or about to be. */
  readonly load: number
}

/** A number in [0, 1), as Math.random gives it. */
export type Random = () => number

/**
 * One of the candidates, of which there is at least one. `random` is uniform; `least-streams` is uniform among those
 * with the fewest streams.
 */
export function choose<T extends Candidate>(
  candidates: readonly T[],
  policy: PolicyName,
  random: Random,
): T | undefined {
  switch (policy) {
    case 'random':
      return oneOf(candidates, random)
    case 'least-streams': {
      const least = candidates.reduce((fewest, { load }) => Math.min(fewest, load), Infinity)
      return oneOf(
        candidates.filter(({ load }) => load === least),
        random,
      )
    }
    default:
      return policy satisfies never
  }
}

function oneOf<T>(items: readonly T[], random: Random): T | undefined {
  return items[Math.floor(random() * items.length)]
}
