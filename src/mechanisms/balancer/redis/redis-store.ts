import { isIP } from 'node:net'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { Lifecycle } from '../../../foundation/lifecycle.ts'
import type { Fleet } from '../../fleet/index.ts'
import type { Redis } from '../../redis/index.ts'
import type { Logger, Registry } from '../../telemetry/index.ts'
import type { BalancerStats } from '../balancer-stats.ts'
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
  SessionLoss,
  Stream,
} from '../contract.ts'
import type { MemoryBalancerStore } from '../memory-store.ts'
import type { PlacementOptions } from '../placement.ts'
import type { StreamKey } from '../stream-key.ts'
import { SharedHls } from './shared-hls.ts'
import { SharedOrders } from './shared-orders.ts'
import { SharedOrigins } from './shared-origins.ts'
import { SharedPicks, type SharedPicksStats } from './shared-picks.ts'
import { SharedSessions } from './shared-sessions.ts'
import { sharedStreams } from './shared-streams.ts'

/** What a shared store stands on. Times in milliseconds. */
export interface RedisBalancerStoreOptions {
  readonly redis: Redis
  readonly fleet: Fleet
  /** The copy of this gateway, with its bounds, and its rules for new streams. */
  readonly local: MemoryBalancerStore
  readonly logger: Logger
  readonly registry: Registry
  /** Seals what only gateways may read. @defaultValue none, and nothing of that is stored */
  readonly secret?: string
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
  /** @defaultValue Math.random */
  readonly random?: () => number
  /** As of the local copy. @defaultValue 300000 */
  readonly heartbeatTtlMs?: number
  /** How long an origin's own word on its streams is kept. @defaultValue 86400000 */
  readonly followTtlMs?: number
  /** As of the local copy. @defaultValue 600000 */
  readonly pickIdleMs?: number
  /** @defaultValue 120000, that of the SRS proxy */
  readonly sessionTtlMs?: number
  /** WebRTC sessions of this gateway. @defaultValue 100000 */
  readonly maxSessions?: number
  /** @defaultValue 120000, that of the SRS proxy */
  readonly hlsTtlMs?: number
  /** @defaultValue 100000 */
  readonly maxHlsSessions?: number
}

/**
 * Keeps origins, picks and sessions for many gateways, in a Redis whose keys and values are those of the SRS proxy. Decisions
 * are made in a local copy, which goes on alone while Redis is away; what differs then is settled when it is back.
 */
export class RedisBalancerStore implements BalancerStore, Lifecycle {
  readonly isShared = true
  readonly #fleet: Fleet
  #listing: Promise<readonly Stream[]> | undefined
  readonly #redis: Redis
  readonly #local: MemoryBalancerStore
  readonly #origins: SharedOrigins
  readonly #picks: SharedPicks
  readonly #orders: SharedOrders
  readonly #sessions: SharedSessions
  readonly #hls: SharedHls

  constructor(options: RedisBalancerStoreOptions) {
    const { redis, fleet, local, logger, registry, clock = systemClock, random = Math.random } = options
    const common = { redis, fleet, local, clock, random, logger: logger.child({ component: 'redis-store' }) }
    this.#fleet = fleet
    this.#redis = redis
    this.#local = local
    this.#origins = new SharedOrigins({ ...common, heartbeatTtlMs: options.heartbeatTtlMs ?? 300_000 })
    const origins = this.#origins
    this.#orders = new SharedOrders({ ...common, origins })
    this.#picks = new SharedPicks({
      ...common,
      origins,
      pickIdleMs: options.pickIdleMs ?? 600_000,
      followTtlMs: options.followTtlMs ?? 86_400_000,
    })
    this.#sessions = new SharedSessions({
      ...common,
      registry,
      ...(options.secret !== undefined && { secret: options.secret }),
      sessionTtlMs: options.sessionTtlMs ?? 120_000,
      maxSessions: options.maxSessions ?? 100_000,
      originOf: async (key) => {
        const id = await this.#picks.placeOf(key)
        const origin = id === undefined ? undefined : await this.findOrigin(id)
        const port = origin?.rtc[0]
        return origin === undefined || !port || isIP(origin.ip) === 0
          ? undefined
          : { originId: origin.id, address: origin.ip, rtcPort: port }
      },
    })
    this.#hls = new SharedHls({
      ...common,
      registry,
      hlsTtlMs: options.hlsTtlMs ?? 120_000,
      maxHlsSessions: options.maxHlsSessions ?? 100_000,
    })
  }

  /** Resolves when what others know is known here, or Redis is away. */
  async start(): Promise<void> {
    this.#picks.start()
    this.#sessions.start()
    this.#hls.start()
    await this.#origins.start()
    await this.#orders.start()
  }

  async close(): Promise<void> {
    this.#orders.close()
    this.#origins.close()
    this.#hls.close()
    this.#sessions.close()
    this.#picks.close()
  }

  /** Other rules for new streams; what is kept stays where it is. @throws BALANCER_BAD_OPTION */
  setPlacement(options: PlacementOptions): void {
    this.#local.setPlacement(options)
  }

  announce(announcement: OriginAnnouncement): Promise<OriginId> {
    return this.#origins.announce(announcement)
  }

  list(): Promise<readonly Origin[]> {
    return this.#local.list()
  }

  /** Known here; others' are known within seconds. */
  findOrigin(id: OriginId): Promise<Origin | undefined> {
    return this.#local.findOrigin(id)
  }

  async remove(id: OriginId): Promise<boolean> {
    const wasThere = await this.#origins.remove(id)
    await this.#orders.forget(id)
    return wasThere
  }

  drain(id: OriginId, draining: boolean): Promise<boolean> {
    return this.#orders.drain(id, draining)
  }

  /** Each gateway sees for itself whom it can reach. */
  suspect(id: OriginId): Promise<boolean> {
    return this.#local.suspect(id)
  }

  pick(key: StreamKey, need: Need, options: PickOptions): Promise<Claim> {
    return this.#picks.pick(key, need, options)
  }

  hold(key: StreamKey, id: OriginId, role: Role, onMoved?: () => void): Promise<Hold | undefined> {
    return this.#picks.hold(key, id, role, onMoved)
  }

  async clearPick(key: StreamKey): Promise<boolean> {
    const wasPinned = await this.#orders.unpin(key)
    return (await this.#picks.clear(key)) || wasPinned
  }

  pin(key: StreamKey, id: OriginId): Promise<boolean> {
    return this.#orders.pin(key, id)
  }

  follow(key: StreamKey, id: OriginId, isLive: boolean): Promise<boolean> {
    return this.#picks.follow(key, id, isLive)
  }

  /** Those of all gateways; without Redis those that are known here. */
  async streams(): Promise<readonly Stream[]> {
    // Many may ask at once, and it costs a look at every stream.
    this.#listing ??= this.#allStreams().finally(() => {
      this.#listing = undefined
    })
    return await this.#listing
  }

  async #allStreams(): Promise<readonly Stream[]> {
    const here = await this.#local.streams()
    return await sharedStreams(here, {
      redis: this.#redis,
      fleet: this.#fleet,
      origins: this.#origins,
      picks: this.#picks,
    })
  }

  addSession(session: RtcSession): Promise<void> {
    return this.#sessions.addSession(session)
  }

  findSession(username: string): Promise<RtcSession | undefined> {
    return this.#sessions.findSession(username)
  }

  findSessionOfToken(tokenHash: string): Promise<RtcSession | undefined> {
    return this.#sessions.findSessionOfToken(tokenHash)
  }

  renewSession(username: string): Promise<void> {
    return this.#sessions.renewSession(username)
  }

  takeSession(username: string, unserved?: 'unserved'): Promise<boolean> {
    return this.#sessions.takeSession(username, unserved)
  }

  servesSession(username: string): Promise<boolean> {
    return this.#sessions.servesSession(username)
  }

  removeSession(username: string): Promise<void> {
    return this.#sessions.removeSession(username)
  }

  onSessionLost(listener: (username: string, how: SessionLoss) => void): () => void {
    return this.#sessions.onSessionLost(listener)
  }

  openHls(key: StreamKey, fullUrl: string): Promise<HlsSession> {
    return this.#hls.openHls(key, fullUrl)
  }

  findHls(id: string): Promise<HlsSession | undefined> {
    return this.#hls.findHls(id)
  }

  /** Counts of this gateway for metrics and for leak tests; costs one look at each origin. */
  stats(): BalancerStats {
    return { ...this.#local.stats(), sessions: this.#sessions.size, hlsSessions: this.#hls.size }
  }

  /** What sharing costs. */
  get sharing(): SharedPicksStats {
    return this.#picks.stats
  }
}
