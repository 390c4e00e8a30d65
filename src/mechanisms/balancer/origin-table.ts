import type { Clock } from '../../foundation/clock.ts'
import type { Need, Origin, OriginAnnouncement, OriginId, OriginState, Role } from './contract.ts'
import { balancerError } from './errors.ts'
import { originIdOf } from './origin-id.ts'
import { OriginRecord } from './origin-record.ts'
import { canServe } from './origin-target.ts'
import type { StreamKey } from './stream-key.ts'

/** Bounds and times of the origin table, all set. */
export interface OriginTableOptions {
  readonly heartbeatTtlMs: number
  readonly forgetAfterMs: number
  readonly suspectMs: number
  readonly maxOrigins: number
}

/** Ages are told by others, and not to the millisecond. */
const AGE_MARGIN_MS = 500

/** `successor`: the later run of the same server that takes its place. */
export type OnOriginRemoved = (record: OriginRecord, successor: OriginRecord | undefined) => void

/** The origins that announced themselves, with what is known of their health. */
export class OriginTable {
  readonly #records = new Map<OriginId, OriginRecord>()
  readonly #clock: Clock
  readonly #options: OriginTableOptions
  readonly #onRemoved: OnOriginRemoved

  constructor(clock: Clock, options: OriginTableOptions, onRemoved: OnOriginRemoved) {
    this.#clock = clock
    this.#options = options
    this.#onRemoved = onRemoved
  }

  get size(): number {
    return this.#records.size
  }

  /** @throws BALANCER_TOO_MANY_ORIGINS when the table is full and nobody in it is silent and unused */
  announce(announcement: OriginAnnouncement): OriginRecord {
    const id = originIdOf(announcement)
    const known = this.#records.get(id)
    const record = known ?? this.#add(id, announcement, this.#otherRuns(announcement))
    this.#note(record, announcement, 0)
    return record
  }

  /**
   * What an origin said `ageMs` ago to somebody else. What is older than what is known changes nothing; undefined when a
   * later run of the origin is known. @throws as `announce`
   */
  hear(announcement: OriginAnnouncement, ageMs: number): OriginRecord | undefined {
    const id = originIdOf(announcement)
    const beatMs = this.#clock.nowMs() - ageMs
    const known = this.#records.get(id)
    if (known !== undefined && known.lastBeatMs + AGE_MARGIN_MS >= beatMs) return known
    const others = known === undefined ? this.#otherRuns(announcement) : []
    if (others.some(({ lastBeatMs }) => lastBeatMs > beatMs)) return undefined
    const record = known ?? this.#add(id, announcement, others)
    this.#note(record, announcement, ageMs)
    return record
  }

  #add(id: OriginId, announcement: OriginAnnouncement, earlier: readonly OriginRecord[]): OriginRecord {
    this.#makeRoom(earlier.length)
    const record = new OriginRecord(id, announcement)
    this.#records.set(id, record)
    for (const run of earlier) this.remove(run, record)
    return record
  }

  #note(record: OriginRecord, announcement: OriginAnnouncement, ageMs: number): void {
    record.announcement = announcement
    record.failsChecks = false
    record.streamsAtBeat = record.streams
    record.lastBeatMs = this.#clock.nowMs() - ageMs
    record.lastBeatWallMs = this.#clock.wallMs() - ageMs
    this.prove(record)
  }

  get(id: OriginId): OriginRecord | undefined {
    return this.#records.get(id)
  }

  has(record: OriginRecord): boolean {
    return this.#records.get(record.id) === record
  }

  /** All that are remembered; those silent for too long are forgotten on the way. */
  all(): readonly OriginRecord[] {
    const forgetBeforeMs = this.#clock.nowMs() - this.#options.forgetAfterMs
    for (const record of this.#records.values()) {
      if (record.lastBeatMs <= forgetBeforeMs && !record.isInUse) this.remove(record)
    }
    return [...this.#records.values()]
  }

  remove(record: OriginRecord, successor?: OriginRecord): void {
    if (this.#records.delete(record.id)) this.#onRemoved(record, successor)
  }

  stateOf(record: OriginRecord): OriginState {
    const now = this.#clock.nowMs()
    if (now - record.lastBeatMs >= this.#options.heartbeatTtlMs) return 'silent'
    return record.failsChecks || now < record.suspectUntilMs ? 'suspect' : 'healthy'
  }

  /**
   * A connection failed. It counts until the next heartbeat or accepted request, or for `suspectMs`, doubled with each
   * failure: an origin that was killed sends no heartbeat, and is tried ever less until it falls silent. What fails
   * while it is suspect already, as many requests may at one moment, adds nothing.
   */
  suspect(record: OriginRecord): void {
    const { suspectMs, heartbeatTtlMs } = this.#options
    if (this.#clock.nowMs() < record.suspectUntilMs) return
    const forMs = Math.min(
      suspectMs * 2 ** Math.min(record.failures, 30),
      Math.max(suspectMs, heartbeatTtlMs),
    )
    record.failures++
    record.suspectUntilMs = this.#clock.nowMs() + forMs
  }

  /** It was heard of, or accepted a request. */
  prove(record: OriginRecord): void {
    record.failures = 0
    record.suspectUntilMs = 0
  }

  /** Origins that take new streams and have what is needed for this one, whatever their state. */
  fit(key: StreamKey, need: Need, role: Role, avoid: readonly OriginId[]): readonly OriginRecord[] {
    return this.all().filter(
      ({ id, draining, announcement }) =>
        !draining && !avoid.includes(id) && canServe(announcement, need, key, role),
    )
  }

  view(record: OriginRecord): Origin {
    return {
      ...record.announcement,
      id: record.id,
      state: this.stateOf(record),
      draining: record.draining,
      lastHeartbeatMs: record.lastBeatWallMs,
      streams: record.kept.size,
    }
  }

  /** A server that listens where another run of it did has replaced that run, or was replaced by it. */
  #otherRuns(announcement: OriginAnnouncement): readonly OriginRecord[] {
    return [...this.#records.values()].filter(({ announcement: other }) => {
      const isSameServer = other.server === announcement.server && other.ip === announcement.ip
      return isSameServer && sharesPort(other, announcement)
    })
  }

  #makeRoom(leaving: number): void {
    const isFull = (): boolean => this.#records.size - leaving >= this.#options.maxOrigins
    if (!isFull()) return
    const [oldest] = this.all()
      .filter((record) => this.stateOf(record) === 'silent' && !record.isInUse)
      .sort((a, b) => a.lastBeatMs - b.lastBeatMs)
    if (oldest !== undefined) this.remove(oldest)
    if (!isFull()) return
    throw balancerError(
      'BALANCER_TOO_MANY_ORIGINS',
      `${this.#records.size} origins are registered, which is the limit`,
      {
        side: 'self',
        retryable: true,
        status: 503,
      },
    )
  }
}

/** Two live origins may share a copied server id; they cannot share a port. */
function sharesPort(a: OriginAnnouncement, b: OriginAnnouncement): boolean {
  return (['rtmp', 'http', 'api'] as const).some((list) => a[list].some((port) => b[list].includes(port)))
}
