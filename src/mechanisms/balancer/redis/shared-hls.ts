import { LRUCache } from 'lru-cache'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { Fleet } from '../../fleet/index.ts'
import type { Redis } from '../../redis/index.ts'
import { LinePace, type Logger, type Registry, registerReadCounter } from '../../telemetry/index.ts'
import type { HlsSession, HlsSessionStore } from '../contract.ts'
import { HlsTable } from '../hls-table.ts'
import type { Random } from '../policy.ts'
import type { StreamKey } from '../stream-key.ts'
import { inBatches } from './in-batches.ts'
import { KEY } from './keys.ts'
import { hlsValue, isHlsId, readHlsValue } from './srs-hls-value.ts'

/** Options of the shared HLS sessions, all bounds and times set. */
export interface SharedHlsOptions {
  readonly redis: Redis
  readonly fleet: Pick<Fleet, 'onReturn'>
  readonly clock: Clock
  readonly random: Random
  /** A session not used for so long is dropped, here and in Redis, in milliseconds. */
  readonly hlsTtlMs: number
  /** Most sessions that this gateway knows. At the bound the one unused for longest is dropped here. */
  readonly maxHlsSessions: number
  readonly logger: Logger
  readonly registry: Registry
}

/** How long an id that nobody knows is not asked for again, in milliseconds. */
const UNKNOWN_MS = 5000
const MAX_UNKNOWN = 10_000
/** New ids that are tried when those before are in use. */
const MAX_TRIES = 4

/**
 * HLS sessions that all gateways know, in a Redis that Go proxies may share. Those are asked for once: what is in use here is
 * in a table of its own, and its keys are renewed in the background well before they expire. A Go proxy gives a stream a new
 * id at every playlist; each of them is known while it is in use.
 */
export class SharedHls implements HlsSessionStore {
  readonly #options: SharedHlsOptions
  readonly #table: HlsTable
  /** Monotonic time at which the keys of a session were written or renewed; absent when that failed. */
  readonly #writtenMs = new WeakMap<HlsSession, number>()
  /** When an id was found to be none. */
  readonly #unknownMs = new LRUCache<string, number>({ max: MAX_UNKNOWN })
  readonly #pace: LinePace
  readonly #events = { found: 0, unknown: 0, write_failed: 0 }
  /** Counts the times that all was said again; a newer one ends those before. */
  #round = 0
  #end: (() => void) | undefined

  constructor(options: SharedHlsOptions) {
    this.#options = options
    this.#table = new HlsTable(options.clock, options.random, options)
    this.#pace = new LinePace(options.clock)
    registerReadCounter(
      options.registry,
      'sluice_shared_hls_total',
      'HLS sessions of other gateways that were looked up (found, unknown), and writes that are made up for later (write_failed).',
      'event',
      () => ({ ...this.#events }),
    )
  }

  /** Hears when Redis is back, until `close`. */
  start(): void {
    this.#end ??= this.#options.fleet.onReturn(() => void this.#sayAll())
  }

  /** What is in Redis stays: others may use it. */
  close(): void {
    this.#round++
    this.#end?.()
    this.#end = undefined
  }

  /** Sessions that this gateway knows. */
  get size(): number {
    return this.#table.size
  }

  /** Asks Redis once for a stream that is not known here. Without it the others hear of the session later. */
  async openHls(key: StreamKey, fullUrl: string): Promise<HlsSession> {
    const known = this.#table.ofStream(key)
    if (known === undefined) return this.#open(key, fullUrl)
    this.#renew(known)
    return known
  }

  /** Fails as a command of Redis does, for an id that is not known here. */
  async findHls(id: string): Promise<HlsSession | undefined> {
    const known = this.#table.find(id)
    if (known !== undefined) {
      this.#renew(known)
      return known
    }
    if (!isHlsId(id) || this.#isUnknown(id)) return undefined
    const session = await this.#read(KEY.hlsId(id))
    if (session?.id !== id) {
      this.#events.unknown++
      this.#unknownMs.set(id, this.#options.clock.nowMs())
      return undefined
    }
    this.#events.found++
    return this.#adopt(session)
  }

  #isUnknown(id: string): boolean {
    const sinceMs = this.#unknownMs.get(id)
    return sinceMs !== undefined && this.#options.clock.nowMs() - sinceMs < UNKNOWN_MS
  }

  /**
   * The session that others have for the stream, or a new one. Its id is in Redis before anybody is told of it: segments are
   * asked for at any gateway, and another stream may have the same id.
   */
  async #open(key: StreamKey, fullUrl: string): Promise<HlsSession> {
    const { redis } = this.#options
    for (let tries = 0; tries < MAX_TRIES && redis.isUp; tries++) {
      const made = this.#table.make(key, fullUrl)
      let theirs: HlsSession | undefined
      let isFree: boolean
      try {
        ;[theirs, isFree] = await Promise.all([this.#read(KEY.hls(key)), this.#reserve(made)])
      } catch (error) {
        this.#complain('HLS session of a stream not asked for', error)
        break
      }
      const opened = this.#table.ofStream(key) ?? this.#adoptOfStream(key, theirs)
      if (opened !== undefined) {
        if (isFree) void this.#inBackground(made, () => this.#unreserve(made))
        return opened
      }
      if (!isFree) continue
      const session = this.#table.adopt(made)
      void this.#inBackground(session, () => this.#set(KEY.hls(key), session))
      return session
    }
    return this.#table.ofStream(key) ?? this.#table.open(key, fullUrl)
  }

  #adoptOfStream(key: StreamKey, theirs: HlsSession | undefined): HlsSession | undefined {
    if (theirs?.streamKey !== key) return undefined
    this.#events.found++
    const session = this.#adopt(theirs)
    return session.streamKey === key ? session : undefined
  }

  /** False when the id is in use. */
  async #reserve(session: HlsSession): Promise<boolean> {
    const { redis, hlsTtlMs } = this.#options
    const key = redis.key(KEY.hlsId(session.id))
    return (await redis.command('SET', key, hlsValue(session), 'PX', hlsTtlMs, 'NX')) === 'OK'
  }

  async #unreserve(session: HlsSession): Promise<void> {
    const { redis } = this.#options
    await redis.command('DEL', redis.key(KEY.hlsId(session.id)))
  }

  /** How much of their time its keys have left is not known, so they are renewed at once. */
  #adopt(read: HlsSession): HlsSession {
    const session = this.#table.adopt(read)
    if (session === read) void this.#keep(session)
    return session
  }

  async #read(name: string): Promise<HlsSession | undefined> {
    const { redis } = this.#options
    const text = await redis.command('GET', redis.key(name))
    return typeof text === 'string' ? readHlsValue(text) : undefined
  }

  /** Renews the keys when two thirds of their time have passed, or when they were not written. */
  #renew(session: HlsSession): void {
    const { clock, redis, hlsTtlMs } = this.#options
    const writtenMs = this.#writtenMs.get(session) ?? -Infinity
    if (redis.isUp && clock.nowMs() - writtenMs >= (hlsTtlMs * 2) / 3) void this.#keep(session)
  }

  /** Renews the keys, or writes them where they are gone. That of the stream may be another session's by now. */
  #keep(session: HlsSession): Promise<void> {
    const { redis, hlsTtlMs } = this.#options
    return this.#inBackground(session, async () => {
      const keep = async (name: string): Promise<void> => {
        if ((await redis.command('PEXPIRE', redis.key(name), hlsTtlMs)) !== 1) await this.#set(name, session)
      }
      await Promise.all([keep(KEY.hls(session.streamKey)), keep(KEY.hlsId(session.id))])
    })
  }

  async #set(name: string, session: HlsSession): Promise<void> {
    const { redis, hlsTtlMs } = this.#options
    await redis.command('SET', redis.key(name), hlsValue(session), 'PX', hlsTtlMs)
  }

  async #inBackground(session: HlsSession, act: () => Promise<void>): Promise<void> {
    this.#writtenMs.set(session, this.#options.clock.nowMs())
    try {
      await act()
    } catch (error) {
      this.#writtenMs.delete(session)
      this.#events.write_failed++
      this.#complain('HLS session not written to Redis', error)
    }
  }

  /** Redis is back, or has lost what it had. */
  async #sayAll(): Promise<void> {
    const round = ++this.#round
    await inBatches(
      this.#table.all(),
      (session) => this.#keep(session),
      () => round === this.#round && this.#options.redis.isUp,
    )
  }

  #complain(message: string, error: unknown): void {
    const due = this.#pace.due(message)
    if (due !== undefined) this.#options.logger.warn({ code: errorCode(error), ...due }, message)
  }
}
