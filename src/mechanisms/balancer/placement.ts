import type { OriginAnnouncement } from './contract.ts'
import { badOption } from './errors.ts'
import { type Candidate, choose, type PolicyName, type Random } from './policy.ts'
import { streamKeyParts } from './stream-key-parts.ts'
import type { StreamKey } from './stream-key.ts'

/** Where new streams go. */
export interface PlacementOptions {
  /** How a new stream finds its origin among those that are equally fit. @defaultValue `random` */
  readonly policy?: PolicyName
  /** Where this gateway stands: origins of the same zone come first. @defaultValue none, zones do not count */
  readonly zone?: string
  /** Which origins carry which app. An app without a rule, and without one for `*`, may be at any. @defaultValue none */
  readonly apps?: readonly AppRule[]
}

/** Which origins carry the streams of an app. */
export interface AppRule {
  /** Or `*`, for every app that has no rule of its own. */
  readonly app: string
  /** `server` or `deviceId` of those that may. @defaultValue every origin */
  readonly origins?: readonly string[]
  /** The same, of those that get new streams only when none of the others is fit. @defaultValue those that say so themselves */
  readonly backups?: readonly string[]
}

/** What placement looks at; stores make it of what they know. */
export interface PlacementCandidate extends Candidate {
  readonly announcement: OriginAnnouncement
}

const ANY_APP = '*'

/** Which of the fit origins gets a stream: rules of its app first, then backups, zones, and the policy. */
export class Placement {
  readonly #policy: PolicyName
  readonly #zone: string | undefined
  readonly #rules: ReadonlyMap<string, AppRule>
  readonly #random: Random

  /** @throws BALANCER_BAD_OPTION when an app has two rules, or a rule that lets no origin carry it */
  constructor({ policy = 'random', zone, apps = [] }: PlacementOptions, random: Random) {
    this.#policy = policy
    this.#zone = zone
    this.#rules = new Map(apps.map((rule) => [rule.app, rule]))
    this.#random = random
    if (this.#rules.size < apps.length) throw badOption('apps: an app has two rules')
    for (const { app, origins, backups = [] } of apps) {
      if (origins?.length === 0 && backups.length === 0) throw badOption(`apps: no origin may carry ${app}`)
    }
  }

  /** Whether a rule lets the origin carry the stream. */
  allows(key: StreamKey, announcement: OriginAnnouncement): boolean {
    const rule = this.#ruleOf(key)
    if (rule?.origins === undefined) return true
    return names(rule.origins, announcement) || names(rule.backups, announcement)
  }

  /** Whether the origin shall carry the stream only when no other can. */
  isBackup(key: StreamKey, announcement: OriginAnnouncement): boolean {
    const rule = this.#ruleOf(key)
    if (names(rule?.backups, announcement)) return true
    return announcement.isBackup === true && !names(rule?.origins, announcement)
  }

  /** Those of the allowed and fit that come first for the stream, all of them equally good. */
  preferred<T extends PlacementCandidate>(key: StreamKey, fit: readonly T[]): readonly T[] {
    const main = orAll(fit, ({ announcement }) => !this.isBackup(key, announcement))
    return this.#zone === undefined
      ? main
      : orAll(main, ({ announcement }) => announcement.zone === this.#zone)
  }

  /** One of the preferred, by the policy; undefined when there is none. */
  choose<T extends PlacementCandidate>(key: StreamKey, preferred: readonly T[]): T | undefined {
    return choose(preferred, this.#policy, this.#random, key)
  }

  #ruleOf(key: StreamKey): AppRule | undefined {
    if (this.#rules.size === 0) return undefined
    return this.#rules.get(streamKeyParts(key).app) ?? this.#rules.get(ANY_APP)
  }
}

function names(origins: readonly string[] | undefined, { server, deviceId }: OriginAnnouncement): boolean {
  if (origins === undefined) return false
  return origins.includes(server) || (deviceId !== undefined && origins.includes(deviceId))
}

/** The items that match, or all when none does. */
function orAll<T>(items: readonly T[], matches: (item: T) => boolean): readonly T[] {
  const matching = items.filter(matches)
  return matching.length > 0 ? matching : items
}
