import type { Clock } from '../../foundation/clock.ts'
import type { BalancerStats, PickResult } from './balancer-stats.ts'
import type { Claim, Hold, Need, OriginId, PickOptions, Role, Stream } from './contract.ts'
import { balancerError } from './errors.ts'
import { FollowTable } from './follow-table.ts'
import { type OriginRecord, Slot } from './origin-record.ts'
import type { OriginTable } from './origin-table.ts'
import { canServe } from './origin-target.ts'
import { PickTable, type PickTableOptions } from './pick-table.ts'
import { PinTable } from './pin-table.ts'
import type { Placement } from './placement.ts'
import { PlayerHolds } from './player-holds.ts'
import type { StreamKey } from './stream-key.ts'

/** A key is kept no more at an origin that was removed, or restarted (`gone`), or is not heard of. */
export type OnDropped = (key: StreamKey, id: OriginId, why: 'gone' | 'silent') => void

/** Where each stream is, and where it goes: what is kept, pinned, followed, and who plays what. */
export class Picker {
  /** May be replaced; what is kept stays where it is. */
  placement: Placement
  onDropped: OnDropped | undefined
  readonly #origins: OriginTable
  readonly #clock: Clock
  readonly #picks: PickTable
  readonly #pins: PinTable
  readonly #follows = new FollowTable()
  readonly #players = new PlayerHolds()
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

  constructor(origins: OriginTable, placement: Placement, clock: Clock, options: PickTableOptions) {
    this.#origins = origins
    this.placement = placement
    this.#clock = clock
    this.#picks = new PickTable(clock, options)
    this.#pins = new PinTable(options.maxPicks)
  }

  get stats(): Pick<BalancerStats, 'streams' | 'pendingPicks' | 'pinned' | 'followed' | 'picks'> {
    return {
      streams: this.#picks.size,
      pendingPicks: this.#picks.pendingSize,
      pinned: this.#pins.size,
      followed: this.#follows.size,
      picks: { ...this.#results },
    }
  }

  /** @throws BALANCER_NO_ORIGIN, BALANCER_PROTOCOL_NOT_OFFERED, BALANCER_TOO_MANY_STREAMS */
  pick(key: StreamKey, need: Need, { role, avoid = [], near }: PickOptions): Claim {
    return this.#claim(this.#slotFor({ key, need, role, avoid, near }), role)
  }

  /** A claim on this origin and no other; undefined when it is not fit for the request. */
  claimAt(record: OriginRecord, key: StreamKey, need: Need, options: PickOptions): Claim | undefined {
    const { role, avoid = [], near } = options
    if (!this.#isFit(record, { key, need, role, avoid, near })) return undefined
    return this.#claim(this.#counted('joined', this.#slotAt(key, record)), role)
  }

  /** What somebody else had picked goes on here. @throws BALANCER_TOO_MANY_STREAMS */
  hold(key: StreamKey, record: OriginRecord, role: Role, onMoved?: () => void): Hold {
    const kept = this.#picks.kept(key)
    return this.#keep(kept?.record === record ? kept : new Slot(key, record), role, onMoved)
  }

  /** Where the key is kept. */
  keptAt(key: StreamKey): OriginRecord | undefined {
    return this.#picks.kept(key)?.record
  }

  unpin(key: StreamKey): void {
    this.#pins.delete(key)
  }

  pinnedAt(key: StreamKey): OriginRecord | undefined {
    return this.#pins.get(key)
  }

  /** Somebody else keeps the key here; a publisher that is live in this process stays where it is. @throws BALANCER_TOO_MANY_STREAMS */
  place(key: StreamKey, record: OriginRecord): void {
    const kept = this.#picks.kept(key)
    if (kept === undefined || kept.publishers === 0) this.#picks.place(key, record)
  }

  /** A publisher is live there through somebody else. @throws BALANCER_TOO_MANY_STREAMS */
  publishElsewhere(key: StreamKey, record: OriginRecord): Hold {
    const slot = this.#picks.keep(this.#slotAt(key, record), 'publish', false)
    this.#picks.use(slot, 'publish')
    this.#settle(key)
    return this.#held(slot, 'publish')
  }

  clear(key: StreamKey): boolean {
    const slot = this.#picks.kept(key)
    const wasPinned = this.#pins.delete(key)
    this.#follows.clear(key)
    this.#picks.drop(slot)
    return slot !== undefined || wasPinned
  }

  /** @throws BALANCER_TOO_MANY_STREAMS */
  pin(key: StreamKey, record: OriginRecord): void {
    this.#pins.set(key, { record, sinceMs: this.#clock.wallMs() })
    const kept = this.#picks.kept(key)
    if (kept !== undefined && kept.record !== record && !kept.isInUse) this.#picks.drop(kept)
  }

  /** @throws BALANCER_TOO_MANY_STREAMS */
  follow(key: StreamKey, record: OriginRecord): boolean {
    if (this.#origins.stateOf(record) === 'silent') return false
    if (this.#picks.kept(key) === undefined) this.#picks.assertRoom()
    this.#follows.add(key, record)
    this.#settle(key)
    return this.#picks.kept(key)?.record === record
  }

  unfollow(key: StreamKey, record: OriginRecord): boolean {
    const hadSaid = this.#follows.delete(key, record)
    if (hadSaid) this.#settle(key)
    return hadSaid
  }

  streams(): readonly Stream[] {
    const streams: Stream[] = []
    for (const slot of this.#picks.all()) {
      const { key, record, publishers, players, isFollowed, keptSinceWallMs: sinceMs } = slot
      const isPinned = this.#pins.get(key) === record
      streams.push({ key, originId: record.id, publishers, players, sinceMs, isPinned, isFollowed })
    }
    for (const [key, { record, sinceMs }] of this.#pins.all()) {
      if (this.#picks.kept(key) !== undefined) continue
      const nobody = { publishers: 0, players: 0, isPinned: true, isFollowed: false }
      streams.push({ key, originId: record.id, sinceMs, ...nobody })
    }
    return streams
  }

  /** An origin is gone, or a later run of it has taken its place, and its pins. */
  forget(record: OriginRecord, successor: OriginRecord | undefined): void {
    this.#pins.moveAll(record, successor)
    this.#takeBackFollows(record)
    const keys = this.onDropped === undefined ? [] : Array.from(record.kept, ({ key }) => key)
    this.#picks.dropOrigin(record)
    for (const key of keys) this.onDropped?.(key, record.id, 'gone')
  }

  /** Where the TTL passed, only live publishers still count; a heartbeat that comes later does not bring the rest back. */
  dropIfSilent(record: OriginRecord): void {
    if (this.#origins.stateOf(record) !== 'silent') return
    this.#takeBackFollows(record)
    for (const slot of record.kept) {
      if (slot.publishers > 0) continue
      this.#picks.drop(slot)
      this.onDropped?.(slot.key, record.id, 'silent')
    }
  }

  #slotFor(request: PickRequest): Slot {
    const { key, need, role, avoid, near } = request
    const before = this.#picks.kept(key)
    if (before !== undefined) this.dropIfSilent(before.record)
    const kept = this.#picks.kept(key)
    const pinned = this.#fitPin(request)
    // Where it is live is where it can be played; a pin says where it shall be published.
    if (kept !== undefined && isLive(kept, request) && !(role === 'publish' && pinned !== undefined))
      return this.#slotOfPublisher(kept, request)
    const pending = this.#picks.pending(key)
    if (pinned !== undefined) return this.#counted('pinned', this.#slotAt(key, pinned))
    // Nobody is at an idle pick, so whoever comes next may as well leave an origin that drains or is a backup.
    if (kept?.isInUse === true && this.#isFit(kept.record, request)) return this.#counted('kept', kept)
    if (kept !== undefined && this.#isWellAt(kept, request)) return this.#counted('kept', kept)
    if (pending !== undefined && this.#isWellAt(pending, request)) return this.#counted('joined', pending)

    const candidates = this.#origins
      .fit(key, need, role, avoid)
      .filter(({ announcement }) => this.placement.allows(key, announcement))
    const healthy = candidates.filter((record) => this.#origins.stateOf(record) === 'healthy')
    const preferred = this.placement.preferred(key, healthy)
    // With none but backups left, it may stay at one.
    if (kept !== undefined && preferred.includes(kept.record)) return this.#counted('kept', kept)
    if (pending !== undefined && preferred.includes(pending.record)) return this.#counted('joined', pending)
    if (kept === undefined) this.#assertRoom()
    const neighbour = near === undefined ? undefined : this.#picks.kept(near)?.record
    const chosen = preferred.find((record) => record === neighbour) ?? this.placement.choose(key, preferred)
    if (chosen !== undefined) return this.#counted('chosen', this.#picks.propose(key, chosen))
    if (kept !== undefined && this.#mayDrainTo(kept.record, request)) return this.#counted('kept', kept)
    const last = newestBeat(candidates)
    if (last === undefined) throw this.#noOrigin(request)
    return this.#counted('last_resort', this.#slotAt(key, last))
  }

  #slotAt(key: StreamKey, record: OriginRecord): Slot {
    const known = [this.#picks.kept(key), this.#picks.pending(key)]
    return known.find((slot) => slot?.record === record) ?? this.#picks.propose(key, record)
  }

  #fitPin(request: PickRequest): OriginRecord | undefined {
    const pinned = this.#pins.get(request.key)
    return pinned !== undefined && this.#isFit(pinned, request) ? pinned : undefined
  }

  #isFit(record: OriginRecord, { key, need, role, avoid }: PickRequest): boolean {
    return (
      this.#origins.stateOf(record) === 'healthy' &&
      canServe(record.announcement, need, key, role) &&
      !avoid.includes(record.id)
    )
  }

  /** Whether a choice is as good as a new one could be. */
  #isWellAt({ record }: Slot, request: PickRequest): boolean {
    if (record.draining || !this.#isFit(record, request)) return false
    const { announcement } = record
    return (
      this.placement.allows(request.key, announcement) && !this.placement.isBackup(request.key, announcement)
    )
  }

  /** With nowhere else to go, what a draining origin still knows comes back to it. */
  #mayDrainTo(record: OriginRecord, request: PickRequest): boolean {
    return this.#isFit(record, request) && this.placement.allows(request.key, record.announcement)
  }

  /** A stream with a live publisher is nowhere else, whatever is known of that origin. */
  #slotOfPublisher(slot: Slot, request: PickRequest): Slot {
    if (request.avoid.includes(slot.record.id)) throw this.#noOrigin(request)
    const { key, need, role } = request
    if (canServe(slot.record.announcement, need, key, role)) return this.#counted('kept', slot)
    this.#results.protocol_not_offered++
    throw balancerError('BALANCER_PROTOCOL_NOT_OFFERED', `${key} is live where ${need} is not offered`, {
      side: 'origin',
      retryable: false,
      status: 404,
    })
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

  #failed(claimed: Slot, how: 'unreachable' | 'silent' | undefined): void {
    const { key, record } = claimed
    const kept = this.#picks.kept(key)
    const slot = kept?.record === record ? kept : claimed
    if (how === 'silent' && (slot.publishers > 0 || slot.isFollowed)) return
    this.#origins.suspect(record)
    if (slot.publishers > 0) return
    this.#follows.delete(key, record)
    this.#picks.drop(claimed)
    this.#picks.drop(slot)
    this.#settle(key)
  }

  #keep(claimed: Slot, role: Role, onMoved: (() => void) | undefined): Hold {
    const { key, record } = claimed
    let slot = claimed
    // Removed while it answered: what runs there runs, but nothing new is led to it.
    if (this.#origins.has(record)) {
      this.#origins.prove(record)
      slot = this.#picks.keep(claimed, role, this.#pins.get(key) === record)
    }
    this.#picks.use(slot, role)
    const isWaiting = role === 'play' && onMoved !== undefined
    const forgetPlayer = isWaiting ? this.#players.add(key, record, onMoved) : undefined
    // A player changes nothing, but the stream may be elsewhere already.
    if (role === 'publish' || this.#picks.kept(key) !== slot) this.#settle(key)
    return this.#held(slot, role, forgetPlayer)
  }

  #held(slot: Slot, role: Role, forgetPlayer?: () => void): Hold {
    const { key } = slot
    let isHeld = true
    return {
      end: () => {
        if (!isHeld) return
        isHeld = false
        forgetPlayer?.()
        this.#picks.endUse(slot, role)
        if (role === 'publish' && slot.publishers === 0) this.#settle(key)
      },
    }
  }

  #takeBackFollows(record: OriginRecord): void {
    for (const key of this.#follows.dropOrigin(record)) this.#settle(key)
  }

  /** What origins say of a key, or whether a publisher is live, has changed: moves the pick to where the stream is. */
  #settle(key: StreamKey): void {
    const kept = this.#picks.kept(key)
    const place = kept !== undefined && kept.publishers > 0 ? kept.record : this.#follows.newest(key)
    if (place === undefined) {
      if (kept !== undefined) this.#picks.setFollowed(kept, false)
      return
    }
    const slot = this.#picks.place(key, place)
    this.#picks.setFollowed(slot, this.#follows.has(key, place))
    this.#players.tell(key, place)
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

  #noOrigin({ key, need, avoid }: PickRequest): Error {
    this.#results.no_origin++
    const why = avoid.length > 0 ? `; ${avoid.length} tried` : ''
    return balancerError('BALANCER_NO_ORIGIN', `no origin for ${need} of ${key}${why}`, {
      side: 'origin',
      retryable: true,
      status: 503,
    })
  }
}

interface PickRequest {
  readonly key: StreamKey
  readonly need: Need
  readonly role: Role
  readonly avoid: readonly OriginId[]
  readonly near: StreamKey | undefined
}

/**
 * Whether the stream is here and nowhere else. What only its origin says holds for players that could reach it; a
 * publisher may go elsewhere.
 */
function isLive(slot: Slot, { role, avoid }: PickRequest): boolean {
  if (slot.publishers > 0) return true
  return slot.isFollowed && role === 'play' && !avoid.includes(slot.record.id)
}

function newestBeat(records: readonly OriginRecord[]): OriginRecord | undefined {
  return records.reduce<OriginRecord | undefined>(
    (newest, record) => (newest === undefined || record.lastBeatMs > newest.lastBeatMs ? record : newest),
    undefined,
  )
}
