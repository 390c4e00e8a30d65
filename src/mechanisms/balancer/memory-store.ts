import { type Clock, systemClock } from '../../foundation/clock.ts'
import type { BalancerStats } from './balancer-stats.ts'
import type {
  BalancerStore,
  Claim,
  HlsSession,
  Hold,
  Need,
  Origin,
  OriginAnnouncement,
  OriginId,
  PickOptions,
  Role,
  RtcSession,
  Stream,
} from './contract.ts'
import { badOption } from './errors.ts'
import { HlsTable } from './hls-table.ts'
import { originIdOf } from './origin-id.ts'
import type { OriginRecord } from './origin-record.ts'
import { OriginTable } from './origin-table.ts'
import { type OnDropped, Picker } from './picker.ts'
import { Placement, type PlacementOptions } from './placement.ts'
import type { Random } from './policy.ts'
import { SessionTable } from './session-table.ts'
import type { StreamKey } from './stream-key.ts'

/** Options of the memory store. */
export interface MemoryBalancerStoreOptions extends PlacementOptions {
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
  /** @defaultValue Math.random */
  readonly random?: Random
  /** An origin not heard of for so long is silent, in milliseconds. @defaultValue 300000 */
  readonly heartbeatTtlMs?: number
  /**
   * An origin not heard of for so long is forgotten unless it is in use, in milliseconds; at least `heartbeatTtlMs`.
   * @defaultValue 86400000
   */
  readonly forgetAfterMs?: number
  /**
   * How long a failed connection counts against an origin that sends no heartbeat meanwhile, in milliseconds. Doubled with
   * each further failure, up to `heartbeatTtlMs`. @defaultValue 10000
   */
  readonly suspectMs?: number
  /** Most origins. At the bound a silent one is forgotten, else registration is refused. @defaultValue 1000 */
  readonly maxOrigins?: number
  /** A pick that nobody uses is dropped after so long, in milliseconds. @defaultValue 600000 */
  readonly pickIdleMs?: number
  /** Most picks, and most pins. At the bound the longest idle is dropped; when all are in use, new streams are refused. @defaultValue 100000 */
  readonly maxPicks?: number
  /**
   * Most keys that wait for an origin's answer. At the bound the oldest is forgotten: requests for it that come later may
   * choose another origin. @defaultValue 10000
   */
  readonly maxPending?: number
  /** A WebRTC session not looked up or renewed for so long is dropped, in milliseconds. @defaultValue 120000 */
  readonly sessionTtlMs?: number
  /** Most WebRTC sessions; further ones are refused. @defaultValue 100000 */
  readonly maxSessions?: number
  /** An HLS session not used for so long is dropped, in milliseconds. @defaultValue 120000 */
  readonly hlsTtlMs?: number
  /** Most HLS sessions. At the bound the one unused for longest is dropped. @defaultValue 100000 */
  readonly maxHlsSessions?: number
}

const DEFAULTS = {
  heartbeatTtlMs: 300_000,
  forgetAfterMs: 86_400_000,
  suspectMs: 10_000,
  maxOrigins: 1000,
  pickIdleMs: 600_000,
  maxPicks: 100_000,
  maxPending: 10_000,
  sessionTtlMs: 120_000,
  maxSessions: 100_000,
  hlsTtlMs: 120_000,
  maxHlsSessions: 100_000,
} as const

/** Keeps origins, picks and sessions of one gateway. It has no timers: what expired goes at the next use. */
export class MemoryBalancerStore implements BalancerStore {
  readonly isShared = false
  readonly #origins: OriginTable
  readonly #picker: Picker
  readonly #sessions: SessionTable
  readonly #hls: HlsTable
  readonly #random: Random

  /** @throws BALANCER_BAD_OPTION */
  constructor(options: MemoryBalancerStoreOptions = {}) {
    const { clock = systemClock, random = Math.random, policy, zone, apps, ...given } = options
    const numbers = { ...DEFAULTS, ...given }
    for (const [name, value] of Object.entries(numbers)) assertPositiveInteger(name, value)
    if (numbers.forgetAfterMs < numbers.heartbeatTtlMs) {
      throw badOption(
        `forgetAfterMs is ${numbers.forgetAfterMs}, less than heartbeatTtlMs (${numbers.heartbeatTtlMs})`,
      )
    }
    this.#random = random
    this.#origins = new OriginTable(clock, numbers, (record, successor) =>
      this.#picker.forget(record, successor),
    )
    const placement = {
      ...(policy && { policy }),
      ...(zone !== undefined && { zone }),
      ...(apps && { apps }),
    }
    this.#picker = new Picker(this.#origins, new Placement(placement, random), clock, numbers)
    this.#sessions = new SessionTable(clock, numbers)
    this.#hls = new HlsTable(clock, random, numbers)
  }

  /** Other rules for new streams; what is kept stays where it is. @throws BALANCER_BAD_OPTION */
  setPlacement(options: PlacementOptions): void {
    this.#picker.placement = new Placement(options, this.#random)
  }

  async announce(announcement: OriginAnnouncement): Promise<OriginId> {
    const known = this.#origins.get(originIdOf(announcement))
    if (known !== undefined) this.#picker.dropIfSilent(known)
    return this.#origins.announce(announcement).id
  }

  async list(): Promise<readonly Origin[]> {
    this.#dropSilentPicks()
    return this.#origins.all().map((record) => this.#origins.view(record))
  }

  async findOrigin(id: OriginId): Promise<Origin | undefined> {
    const record = this.#origins.get(id)
    if (record === undefined) return undefined
    this.#picker.dropIfSilent(record)
    return this.#origins.view(record)
  }

  async remove(id: OriginId): Promise<boolean> {
    return this.#with(id, (record) => {
      this.#origins.remove(record)
      return true
    })
  }

  async drain(id: OriginId, draining: boolean): Promise<boolean> {
    return this.#with(id, (record) => {
      record.draining = draining
      return true
    })
  }

  async suspect(id: OriginId): Promise<boolean> {
    return this.#with(id, (record) => {
      record.failsChecks = true
      return true
    })
  }

  async pick(key: StreamKey, need: Need, options: PickOptions): Promise<Claim> {
    return this.#picker.pick(key, need, options)
  }

  async hold(key: StreamKey, id: OriginId, role: Role, onMoved?: () => void): Promise<Hold | undefined> {
    const record = this.#origins.get(id)
    return record === undefined ? undefined : this.#picker.hold(key, record, role, onMoved)
  }

  async clearPick(key: StreamKey): Promise<boolean> {
    return this.#picker.clear(key)
  }

  async pin(key: StreamKey, id: OriginId): Promise<boolean> {
    return this.#with(id, (record) => {
      this.#picker.pin(key, record)
      return true
    })
  }

  async follow(key: StreamKey, id: OriginId, isLive: boolean): Promise<boolean> {
    return this.#with(id, (record) =>
      isLive ? this.#picker.follow(key, record) : this.#picker.unfollow(key, record),
    )
  }

  async streams(): Promise<readonly Stream[]> {
    this.#dropSilentPicks()
    return this.#picker.streams()
  }

  async addSession(session: RtcSession): Promise<void> {
    this.#sessions.add(session)
  }

  async findSession(username: string): Promise<RtcSession | undefined> {
    return this.#sessions.find(username)
  }

  async findSessionOfToken(tokenHash: string): Promise<RtcSession | undefined> {
    return this.#sessions.ofToken(tokenHash)
  }

  async renewSession(username: string): Promise<void> {
    this.#sessions.find(username)
  }

  async servesSession(): Promise<boolean> {
    return true
  }

  /** There is nobody else. */
  async takeSession(username: string): Promise<boolean> {
    return this.#sessions.find(username) !== undefined
  }

  async removeSession(username: string): Promise<void> {
    this.#sessions.remove(username)
  }

  onSessionLost(): () => void {
    return () => {}
  }

  async openHls(key: StreamKey, fullUrl: string): Promise<HlsSession> {
    return this.#hls.open(key, fullUrl)
  }

  async findHls(id: string): Promise<HlsSession | undefined> {
    return this.#hls.find(id)
  }

  // What a store that is shared needs of its local copy.

  /**
   * What an origin said to another gateway, `ageMs` ago. What is older than what is known changes nothing; false when a later
   * run of it is known. @throws BALANCER_TOO_MANY_ORIGINS
   */
  hear(announcement: OriginAnnouncement, ageMs: number): boolean {
    const known = this.#origins.get(originIdOf(announcement))
    if (known !== undefined) this.#picker.dropIfSilent(known)
    return this.#origins.hear(announcement, ageMs) !== undefined
  }

  /** Called for each key that is kept no more since its origin is gone or silent. */
  watchDrops(onDropped: OnDropped): void {
    this.#picker.onDropped = onDropped
  }

  /** A claim on this origin and no other; undefined when it is not there or not fit. */
  claimAt(id: OriginId, key: StreamKey, need: Need, options: PickOptions): Claim | undefined {
    const record = this.#origins.get(id)
    return record === undefined ? undefined : this.#picker.claimAt(record, key, need, options)
  }

  /** Where a key is kept. */
  keptAt(key: StreamKey): OriginId | undefined {
    return this.#picker.keptAt(key)?.id
  }

  /** Where a key is pinned. */
  pinnedAt(key: StreamKey): OriginId | undefined {
    return this.#picker.pinnedAt(key)?.id
  }

  /** The pin of a key goes, and nothing else. */
  unpin(key: StreamKey): void {
    this.#picker.unpin(key)
  }

  /** Another gateway keeps the key at this origin. False when there is no such origin. @throws BALANCER_TOO_MANY_STREAMS */
  place(key: StreamKey, id: OriginId): boolean {
    return this.#with(id, (record) => {
      this.#picker.place(key, record)
      return true
    })
  }

  /** A publisher is live there through another gateway; undefined when there is no such origin. @throws BALANCER_TOO_MANY_STREAMS */
  publishElsewhere(key: StreamKey, id: OriginId): Hold | undefined {
    const record = this.#origins.get(id)
    return record === undefined ? undefined : this.#picker.publishElsewhere(key, record)
  }

  /** Counts for metrics and for leak tests; costs one look at each origin. */
  stats(): BalancerStats {
    this.#dropSilentPicks()
    const origins = { healthy: 0, suspect: 0, silent: 0 }
    let draining = 0
    for (const record of this.#origins.all()) {
      origins[this.#origins.stateOf(record)]++
      if (record.draining) draining++
    }
    return {
      origins,
      draining,
      ...this.#picker.stats,
      sessions: this.#sessions.size,
      hlsSessions: this.#hls.size,
    }
  }

  #dropSilentPicks(): void {
    for (const record of this.#origins.all()) this.#picker.dropIfSilent(record)
  }

  /** False when there is no such origin. */
  #with(id: OriginId, act: (record: OriginRecord) => boolean): boolean {
    const record = this.#origins.get(id)
    return record !== undefined && act(record)
  }
}

function assertPositiveInteger(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value > 0) return
  throw badOption(`${name} is ${value}, and must be a positive integer`)
}
