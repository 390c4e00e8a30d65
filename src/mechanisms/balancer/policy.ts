import { createHash } from 'node:crypto'

/** How a new stream finds its origin among those that are equally fit. */
export type PolicyName = (typeof POLICIES)[number]

export const POLICIES = ['random', 'least-streams', 'least-load', 'consistent-hash'] as const

/** What a policy may weigh. */
export interface Candidate {
  readonly id: string
  /** Kept over restarts of the origin. */
  readonly server: string
  /** Share of new streams beside candidates of weight 1. At 0 it gets none while another one has more. */
  readonly weight: number
  /** Streams that are kept at the origin, or about to be. */
  readonly streams: number
  /** How busy it says it is, 0 to 1. */
  readonly load: number | undefined
  /** Streams it got since it said so. */
  readonly newStreams: number
}

/** A number in [0, 1), as Math.random gives it. */
export type Random = () => number

/**
 * What one stream adds to the load of an origin until that speaks again. Without it all that comes between two heartbeats
 * would go to one origin.
 */
const LOAD_PER_NEW_STREAM = 0.01
/** Loads so near to one another are the same: they are samples of the past. */
const LOAD_MARGIN = 0.1

/**
 * One of the candidates; undefined when there is none. Weights count in each policy.
 *
 * `random`: by chance. `least-streams`: by chance among those with the fewest streams for their weight. `least-load`: by
 * chance among those whose load is at most a tenth over the least; when one of them does not say how busy it is, by
 * streams. `consistent-hash`: each key has its place, which does not depend on who asks nor when, and an origin that comes
 * or goes moves its own share of the keys only.
 */
export function choose<T extends Candidate>(
  candidates: readonly T[],
  policy: PolicyName,
  random: Random,
  key: string,
): T | undefined {
  switch (policy) {
    case 'random':
      return byWeight(candidates, random)
    case 'least-streams':
      return byWeight(fewestStreams(candidates), random)
    case 'least-load':
      return byWeight(leastLoad(candidates) ?? fewestStreams(candidates), random)
    case 'consistent-hash':
      return byHash(candidates, key)
    default:
      return policy satisfies never
  }
}

function byWeight<T extends Candidate>(candidates: readonly T[], random: Random): T | undefined {
  const total = candidates.reduce((sum, { weight }) => sum + weight, 0)
  if (total <= 0) return candidates[Math.floor(random() * candidates.length)]
  let left = random() * total
  for (const candidate of candidates) {
    left -= candidate.weight
    if (left < 0) return candidate
  }
  // Rounding may leave a trace behind the last one.
  return candidates.findLast(({ weight }) => weight > 0)
}

function fewestStreams<T extends Candidate>(candidates: readonly T[]): readonly T[] {
  return least(candidates, ({ streams, weight }) => (streams + 1) / weight, 0)
}

/** Undefined when one does not say how busy it is, so that they cannot be compared. */
function leastLoad<T extends Candidate>(candidates: readonly T[]): readonly T[] | undefined {
  if (candidates.some(({ load }) => load === undefined)) return undefined
  const loadNow = ({ load = 0, newStreams }: T): number => load + newStreams * LOAD_PER_NEW_STREAM
  const willing = candidates.filter(({ weight }) => weight > 0)
  return least(willing.length > 0 ? willing : candidates, loadNow, LOAD_MARGIN)
}

function least<T>(items: readonly T[], of: (item: T) => number, margin: number): readonly T[] {
  const values = items.map(of)
  const bound = Math.min(...values) + margin
  return items.filter((_, index) => (values[index] ?? Infinity) <= bound)
}

/** Rendezvous hashing with weights: the highest -weight / ln(hash). The server id outlives restarts; two may share one. */
function byHash<T extends Candidate>(candidates: readonly T[], key: string): T | undefined {
  const isAnyWilling = candidates.some(({ weight }) => weight > 0)
  let best: { readonly candidate: T; readonly score: number; readonly tie: string } | undefined
  for (const candidate of candidates) {
    const weight = isAnyWilling ? candidate.weight : 1
    const score = weight === 0 ? 0 : -weight / Math.log(unit(`${candidate.server}\n${key}`))
    const tie = candidate.id
    if (best === undefined || score > best.score || (score === best.score && tie < best.tie)) {
      best = { candidate, score, tie }
    }
  }
  return best?.candidate
}

/** A number in (0, 1) that hangs on the text alone. */
function unit(text: string): number {
  return (createHash('sha256').update(text).digest().readUIntBE(0, 6) + 0.5) / 2 ** 48
}
