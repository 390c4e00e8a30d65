import type { OriginAnnouncement, OriginId, Role } from './contract.ts'
import type { PlacementCandidate } from './placement.ts'
import type { StreamKey } from './stream-key.ts'

/** One registered origin, and what hangs on it. */
export class OriginRecord implements PlacementCandidate {
  readonly id: OriginId
  announcement: OriginAnnouncement
  lastBeatMs = 0
  lastBeatWallMs = 0
  draining = false
  /** While a failed connection counts against it; 0 when none does. */
  suspectUntilMs = 0
  /** Failed connections since it last proved itself. */
  failures = 0
  /** A check of its health failed; only its next announcement ends that. */
  failsChecks = false
  /** Picks that are kept here. */
  readonly kept: Set<Slot> = new Set()
  /** Choices of this origin that wait for its answer. */
  pending = 0
  /** Streams it had when it was last heard of. */
  streamsAtBeat = 0

  constructor(id: OriginId, announcement: OriginAnnouncement) {
    this.id = id
    this.announcement = announcement
  }

  get server(): string {
    return this.announcement.server
  }

  get weight(): number {
    return this.announcement.weight ?? 1
  }

  get load(): number | undefined {
    return this.announcement.load
  }

  get streams(): number {
    return this.kept.size + this.pending
  }

  get newStreams(): number {
    return Math.max(0, this.streams - this.streamsAtBeat)
  }

  get isInUse(): boolean {
    for (const slot of this.kept) if (slot.isInUse) return true
    return false
  }
}

/** A key at an origin: chosen (`claims` wait for the origin's answer), kept, or neither any more. */
export class Slot {
  readonly key: StreamKey
  readonly record: OriginRecord
  claims = 0
  publishers = 0
  players = 0
  /** Its origin says that the stream is published there. */
  isFollowed = false
  keptSinceWallMs = 0
  idleSinceMs = 0

  constructor(key: StreamKey, record: OriginRecord) {
    this.key = key
    this.record = record
  }

  get isInUse(): boolean {
    return this.isFollowed || this.publishers + this.players > 0
  }

  count(role: Role, by: 1 | -1): void {
    if (role === 'publish') this.publishers += by
    else this.players += by
  }
}
