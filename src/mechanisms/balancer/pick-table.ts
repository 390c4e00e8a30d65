import type { Clock } from '../../foundation/clock.ts'
import type { Role } from './contract.ts'
import { tooManyStreams } from './errors.ts'
import { type OriginRecord, Slot } from './origin-record.ts'
import type { StreamKey } from './stream-key.ts'

/** Bounds and times of the pick table, all set. */
export interface PickTableOptions {
  readonly pickIdleMs: number
  readonly maxPicks: number
  readonly maxPending: number
}

/**
 * Where each key is kept, and, apart from that, where it is about to be. A choice enters the second table only, so
 * that what an origin refuses leaves nothing behind and disturbs nothing that is kept.
 */
export class PickTable {
  readonly #kept = new Map<StreamKey, Slot>()
  /** Kept slots that nobody uses, longest idle first. */
  readonly #idle = new Set<Slot>()
  /** Chosen, waiting for the origin; oldest first. */
  readonly #pending = new Map<StreamKey, Slot>()
  readonly #clock: Clock
  readonly #options: PickTableOptions

  constructor(clock: Clock, options: PickTableOptions) {
    this.#clock = clock
    this.#options = options
  }

  get size(): number {
    this.#expire()
    return this.#kept.size
  }

  get pendingSize(): number {
    return this.#pending.size
  }

  kept(key: StreamKey): Slot | undefined {
    this.#expire()
    return this.#kept.get(key)
  }

  pending(key: StreamKey): Slot | undefined {
    return this.#pending.get(key)
  }

  all(): Iterable<Slot> {
    this.#expire()
    return this.#kept.values()
  }

  /** @throws BALANCER_TOO_MANY_STREAMS when one more key could not be kept */
  assertRoom(): void {
    if (this.#kept.size < this.#options.maxPicks || this.#idle.size > 0) return
    throw tooManyStreams(`${this.#kept.size} streams are in use`)
  }

  /** A fresh choice for a key; it takes the place of an earlier one that waits. */
  propose(key: StreamKey, record: OriginRecord): Slot {
    this.#dropPending(this.#pending.get(key))
    if (this.#pending.size >= this.#options.maxPending) this.#dropPending(first(this.#pending.values()))
    const slot = new Slot(key, record)
    this.#pending.set(key, slot)
    record.pending++
    return slot
  }

  /** Ends one claim on a slot; a choice that nobody waits for any more is forgotten. */
  endClaim(slot: Slot): void {
    slot.claims--
    if (slot.claims === 0) this.#dropPending(slot)
  }

  /**
   * The origin accepted: keeps the slot, unless the key is kept where a publisher is live; `isWanted`, by an operator, a
   * publisher moves it even then. The slot to count uses at comes back, which is the kept one when that is at the same
   * origin. @throws BALANCER_TOO_MANY_STREAMS
   */
  keep(slot: Slot, role: Role, isWanted: boolean): Slot {
    const current = this.#kept.get(slot.key)
    if (current?.record === slot.record) return current
    if (current !== undefined && !givesWay(current, role, isWanted)) return slot
    this.#put(slot, current)
    return slot
  }

  /** Keeps the key at an origin that nobody asked yet. @throws BALANCER_TOO_MANY_STREAMS */
  place(key: StreamKey, record: OriginRecord): Slot {
    const current = this.#kept.get(key)
    if (current?.record === record) return current
    const slot = new Slot(key, record)
    this.#put(slot, current)
    this.#noteUse(slot)
    return slot
  }

  use(slot: Slot, role: Role): void {
    slot.count(role, 1)
    this.#noteUse(slot)
  }

  endUse(slot: Slot, role: Role): void {
    slot.count(role, -1)
    this.#noteUse(slot)
  }

  setFollowed(slot: Slot, isFollowed: boolean): void {
    slot.isFollowed = isFollowed
    this.#noteUse(slot)
  }

  /** Forgets that a key is kept, or about to be kept, here. Those who use it go on. */
  drop(slot: Slot | undefined): void {
    if (slot === undefined) return
    this.#dropPending(slot)
    if (this.#kept.get(slot.key) !== slot) return
    this.#kept.delete(slot.key)
    this.#idle.delete(slot)
    slot.record.kept.delete(slot)
  }

  /** Forgets all that hangs on an origin. */
  dropOrigin(record: OriginRecord): void {
    for (const slot of record.kept) this.drop(slot)
    if (record.pending === 0) return
    for (const slot of this.#pending.values()) if (slot.record === record) this.#dropPending(slot)
  }

  #put(slot: Slot, current: Slot | undefined): void {
    if (current === undefined) {
      this.assertRoom()
      if (this.#kept.size >= this.#options.maxPicks) this.drop(first(this.#idle))
    }
    this.drop(current)
    this.#dropPending(slot)
    slot.keptSinceWallMs = this.#clock.wallMs()
    this.#kept.set(slot.key, slot)
    slot.record.kept.add(slot)
  }

  /** Time runs against a kept slot from when nothing holds it. */
  #noteUse(slot: Slot): void {
    if (this.#kept.get(slot.key) !== slot) return
    if (slot.isInUse) this.#idle.delete(slot)
    else if (!this.#idle.has(slot)) {
      slot.idleSinceMs = this.#clock.nowMs()
      this.#idle.add(slot)
    }
  }

  #dropPending(slot: Slot | undefined): void {
    if (slot === undefined || this.#pending.get(slot.key) !== slot) return
    this.#pending.delete(slot.key)
    slot.record.pending--
  }

  #expire(): void {
    const idleBeforeMs = this.#clock.nowMs() - this.#options.pickIdleMs
    for (const slot of this.#idle) {
      if (slot.idleSinceMs > idleBeforeMs) return
      this.drop(slot)
    }
  }
}

/** Whether a slot is left for another one that was accepted elsewhere. */
function givesWay(current: Slot, role: Role, isWanted: boolean): boolean {
  if (role === 'play') return current.publishers === 0 && !current.isFollowed
  return current.publishers === 0 || isWanted
}

function first<T>(items: Iterable<T>): T | undefined {
  for (const item of items) return item
  return undefined
}
