import { type Clock, systemClock } from '../../foundation/clock.ts'
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
import type { BalancerStats, PickResult } from './balancer-stats.ts'
import { balancerError } from './errors.ts'
import { FollowTable } from './follow-table.ts'
import { HlsTable } from './hls-table.ts'
import { originIdOf } from './origin-id.ts'
import type { OriginRecord, Slot } from './origin-record.ts'
import { OriginTable } from './origin-table.ts'
import { offers } from './origin-target.ts'
import { PickTable } from './pick-table.ts'
import { PlayerHolds } from './player-holds.ts'
import { choose, type PolicyName, type Random } from './policy.ts'
import { SessionTable } from './session-table.ts'
import type { StreamKey } from './stream-key.ts'

/** Options of the memory store. */
export interface MemoryBalancerStoreOptions {
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
  /** @defaultValue Math.random */
  readonly random?: Random
  /** How a new stream finds its origin among the healthy. @defaultValue `random` */
  readonly policy?: PolicyName
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
  /** Most picks. At the bound the longest idle is dropped; when all are in use, new streams are refused. @defaultValue 100000 */
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
  readonly #origins: OriginTable
  readonly #picks: PickTable
  readonly #follows = new FollowTable()
  readonly #players = new PlayerHolds()
  readonly #sessions: SessionTable
  readonly #hls: HlsTable
  readonly #policy: PolicyName
  readonly #random: Random
  readonly #results: Record<PickResult, number> = {
    kept: 0,
    pinned: 0,
    joined: 0,
    chosen: 0,
    last_resort: 0,
    no_origin: 0,
    protocol_not_offered: 0,
    too_many_streams: 0,
  }

  /** @throws BALANCER_BAD_OPTION */
  constructor(options: MemoryBalancerStoreOptions = {}) {
    const { clock = systemClock, policy = 'random', random = Math.random, ...given } = options
    const numbers = { ...DEFAULTS, ...given }
    for (const [name, value] of Object.entries(numbers)) assertPositiveInteger(name, value)
    if (numbers.forgetAfterMs < numbers.heartbeatTtlMs) {
      throw badOption(
        `forgetAfterMs is ${numbers.forgetAfterMs}, less than heartbeatTtlMs (${numbers.heartbeatTtlMs})`,
      )
    }
    this.#policy = policy
    this.#random = random
    this.#picks = new PickTable(clock, numbers)
    this.#origins = new OriginTable(clock, numbers, (record, successor) => this.#forget(record, successor))
    this.#sessions = new SessionTable(clock, numbers)
    this.#hls = new HlsTable(clock, random, numbers)
  }

  async announce(announcement: OriginAnnouncement): Promise<OriginId> {
    const known = this.#origins.get(originIdOf(announcement))
    if (known !== undefined) this.#dropPicksIfSilent(known)
    return this.#origins.announce(announcement).id
  }

  async list(): Promise<readonly Origin[]> {
    this.#dropSilentPicks()
    return this.#origins.all().map((record) => this.#origins.view(record))
  }

  async findOrigin(id: OriginId): Promise<Origin | undefined> {
    const record = this.#origins.get(id)
    if (record === undefined) return undefined
    this.#dropPicksIfSilent(record)
    return this.#origins.view(record)
  }

  async remove(id: OriginId): Promise<boolean> {
    const record = this.#origins.get(id)
    if (record === undefined) return false
    this.#origins.remove(record)
    return true
  }

  async drain(id: OriginId, draining: boolean): Promise<boolean> {
    const record = this.#origins.get(id)
    if (record === undefined) return false
    record.draining = draining
    return true
  }

  async suspect(id: OriginId): Promise<boolean> {
    const record = this.#origins.get(id)
    if (record === undefined) return false
    record.failsChecks = true
    return true
  }

  async pick(key: StreamKey, need: Need, { role, avoid = [] }: PickOptions): Promise<Claim> {
    return this.#claim(this.#slotFor(key, need, role, avoid), role)
  }

  async clearPick(key: StreamKey): Promise<boolean> {
    const slot = this.#picks.kept(key)
    const wasPinned = this.#picks.unpin(key)
    this.#follows.clear(key)
    this.#picks.drop(slot)
    return slot !== undefined || wasPinned
  }

  async pin(key: StreamKey, id: OriginId): Promise<boolean> {
    const record = this.#origins.get(id)
    if (record === undefined) return false
    this.#pin(key, record)
    return true
  }

  async follow(key: StreamKey, id: OriginId, isLive: boolean): Promise<boolean> {
    const record = this.#origins.get(id)
    if (record === undefined || this.#origins.stateOf(record) === 'silent') return false
    if (!isLive) {
      const hadSaid = this.#follows.delete(key, record)
      this.#settle(key)
      return hadSaid
    }
    if (this.#picks.kept(key) === undefined) this.#picks.assertRoom()
    this.#follows.add(key, record)
    this.#settle(key)
    return this.#picks.kept(key)?.record === record
  }

  async streams(): Promise<readonly Stream[]> {
    this.#dropSilentPicks()
    return this.#picks.streams()
  }

  async addSession(session: RtcSession): Promise<void> {
    this.#sessions.add(session)
  }

  async findSession(username: string): Promise<RtcSession | undefined> {
    return this.#sessions.find(username)
  }

  async findSessions(key: StreamKey): Promise<readonly RtcSession[]> {
    return this.#sessions.ofStream(key)
  }

  async renewSession(username: string): Promise<void> {
    this.#sessions.find(username)
  }

  async removeSession(username: string): Promise<void> {
    this.#sessions.remove(username)
  }

  async openHls(key: StreamKey, fullUrl: string): Promise<HlsSession> {
    return this.#hls.open(key, fullUrl)
  }

  async findHls(id: string): Promise<HlsSession | undefined> {
    return this.#hls.find(id)
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
      streams: this.#picks.size,
      pendingPicks: this.#picks.pendingSize,
      pinned: this.#picks.pinnedSize,
      followed: this.#follows.size,
      sessions: this.#sessions.size,
      hlsSessions: this.#hls.size,
      picks: { ...this.#results },
    }
  }

  #slotFor(key: StreamKey, need: Need, role: Role, avoid: readonly OriginId[]): Slot {
    const kept = this.#picks.kept(key)
    const pending = this.#picks.pending(key)
    const fits = (slot: Slot): boolean => this.#isHealthyFor(slot.record, need, avoid)
    const pinned = this.#picks.pinned(key)
    const isPinFit = pinned !== undefined && this.#isHealthyFor(pinned, need, avoid)
    // Where it is live is where it can be played; a pin only says where it shall be published.
    if (kept !== undefined && this.#isLive(kept, role, avoid) && !(isPinFit && role === 'publish'))
      return this.#slotOfPublisher(kept, need, avoid)
    if (isPinFit) {
      const known = [kept, pending].find((slot) => slot?.record === pinned)
      return this.#counted('pinned', known ?? this.#picks.propose(key, pinned))
    }
    // Nobody is at a drained origin's idle pick, so whoever comes next may as well go elsewhere.
    if (kept !== undefined && fits(kept) && (kept.isInUse || !kept.record.draining))
      return this.#counted('kept', kept)
    if (pending !== undefined && fits(pending)) return this.#counted('joined', pending)

    if (kept === undefined) this.#assertRoom()
    const healthy = choose(this.#origins.healthy(need, avoid), this.#policy, this.#random)
    if (healthy !== undefined) return this.#counted('chosen', this.#picks.propose(key, healthy))
    if (kept !== undefined && fits(kept)) return this.#counted('kept', kept)
    const last = this.#origins.lastResort(need, avoid)
    if (last === undefined) throw this.#noOrigin(key, need, avoid)
    const known = [kept, pending].find((slot) => slot?.record === last)
    return this.#counted('last_resort', known ?? this.#picks.propose(key, last))
  }

  /**
   * Whether the stream is here and nowhere else. What only its origin says holds for players that could reach it; a
   * publisher may go elsewhere.
   */
  #isLive(slot: Slot, role: Role, avoid: readonly OriginId[]): boolean {
    if (slot.publishers > 0) return true
    return slot.isFollowed && role === 'play' && !avoid.includes(slot.record.id)
  }

  /** A stream with a live publisher is nowhere else, whatever is known of that origin. */
  #slotOfPublisher(slot: Slot, need: Need, avoid: readonly OriginId[]): Slot {
    if (avoid.includes(slot.record.id)) throw this.#noOrigin(slot.key, need, avoid)
    if (offers(slot.record.announcement, need)) return this.#counted('kept', slot)
    this.#results.protocol_not_offered++
    throw balancerError('BALANCER_PROTOCOL_NOT_OFFERED', `${slot.key} is live where ${need} is not offered`, {
      side: 'origin',
      retryable: false,
      status: 404,
    })
  }

  #pin(key: StreamKey, record: OriginRecord): void {
    const kept = this.#picks.kept(key)
    if (kept === undefined) this.#picks.assertRoom()
    this.#picks.pin(key, record)
    if (kept === undefined || (kept.publishers === 0 && !kept.isFollowed)) this.#picks.place(key, record)
  }

  /** An origin is gone, or a later run of it has taken its place, and its pins. */
  #forget(record: OriginRecord, successor: OriginRecord | undefined): void {
    const pins = this.#picks.pinsAt(record)
    for (const key of pins) this.#picks.unpin(key)
    this.#takeBackFollows(record)
    this.#picks.dropOrigin(record)
    if (successor !== undefined) for (const key of pins) this.#pin(key, successor)
  }

  #takeBackFollows(record: OriginRecord): void {
    for (const key of this.#follows.dropOrigin(record)) this.#settle(key)
  }

  /** What origins say of a key, or whether a publisher is live, has changed: moves the pick to where the stream is. */
  #settle(key: StreamKey): void {
    const kept = this.#picks.kept(key)
    const said = this.#follows.newest(key)
    const place = kept !== undefined && kept.publishers > 0 ? kept.record : said
    if (place === undefined) {
      if (kept !== undefined) this.#picks.setFollowed(kept, false)
      return
    }
    const slot = this.#picks.place(key, place)
    this.#picks.setFollowed(slot, this.#follows.has(key, place))
    this.#players.tell(key, place)
  }

  #dropSilentPicks(): void {
    for (const record of this.#origins.all()) this.#dropPicksIfSilent(record)
  }

  /** Where the TTL passed, only live publishers still count; a heartbeat that comes later does not bring the rest back. */
  #dropPicksIfSilent(record: OriginRecord): void {
    if (this.#origins.stateOf(record) !== 'silent') return
    this.#takeBackFollows(record)
    for (const slot of record.kept) if (slot.publishers === 0 && !slot.isPinned) this.#picks.drop(slot)
  }

  #isHealthyFor(record: OriginRecord, need: Need, avoid: readonly OriginId[]): boolean {
    return (
      this.#origins.stateOf(record) === 'healthy' &&
      offers(record.announcement, need) &&
      !avoid.includes(record.id)
    )
  }

  #claim(slot: Slot, role: Role): Claim {
    slot.claims++
    let isOpen = true
    const endOnce = (act: () => void): void => {
      if (!isOpen) return
      isOpen = false
      this.#picks.endClaim(slot)
      act()
    }
    return {
      origin: this.#origins.view(slot.record),
      keep: async (onMoved) => {
        let hold: Hold = { end: () => {} }
        endOnce(() => {
          hold = this.#keep(slot, role, onMoved)
        })
        return hold
      },
      release: async () => endOnce(() => {}),
      failed: async (how) => endOnce(() => this.#failed(slot, how)),
    }
  }

  #failed(slot: Slot, how: 'unreachable' | 'silent' | undefined): void {
    if (how === 'silent' && (slot.publishers > 0 || slot.isFollowed)) return
    this.#origins.suspect(slot.record)
    if (slot.publishers > 0) return
    this.#follows.delete(slot.key, slot.record)
    this.#picks.drop(slot)
    this.#settle(slot.key)
  }

  #keep(chosen: Slot, role: Role, onMoved: (() => void) | undefined): Hold {
    const { key, record } = chosen
    let slot = chosen
    // Removed while it answered: what runs there runs, but nothing new is led to it.
    if (this.#origins.has(record)) {
      this.#origins.prove(record)
      slot = this.#picks.keep(chosen, role)
    }
    this.#picks.use(slot, role)
    const forgetPlayer =
      role === 'play' && onMoved !== undefined ? this.#players.add(key, record, onMoved) : undefined
    this.#settle(key)
    let isHeld = true
    return {
      end: () => {
        if (!isHeld) return
        isHeld = false
        forgetPlayer?.()
        this.#picks.endUse(slot, role)
        if (slot.publishers === 0) this.#settle(key)
      },
    }
  }

  #assertRoom(): void {
    try {
      this.#picks.assertRoom()
    } catch (error) {
      this.#results.too_many_streams++
      throw error
    }
  }

  #counted(result: PickResult, slot: Slot): Slot {
    this.#results[result]++
    return slot
  }

  #noOrigin(key: StreamKey, need: Need, avoid: readonly OriginId[]): Error {
    this.#results.no_origin++
    const why = avoid.length > 0 ? `; ${avoid.length} tried` : ''
    return balancerError('BALANCER_NO_ORIGIN', `no origin for ${need} of ${key}${why}`, {
      side: 'origin',
      retryable: true,
      status: 503,
    })
  }
}

function assertPositiveInteger(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value > 0) return
  throw badOption(`${name} is ${value}, and must be a positive integer`)
}

function badOption(message: string): Error {
  return balancerError('BALANCER_BAD_OPTION', message, { side: 'self', retryable: false })
}
