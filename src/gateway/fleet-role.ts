import { hostname } from 'node:os'
import type { Clock } from '../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../foundation/lifecycle.ts'
import { RedisBalancerStore, registerSharingMetrics } from '../mechanisms/balancer/index.ts'
import type { Config } from '../mechanisms/config/index.ts'
import { type Describe, LoneFleet, newGatewayId, RedisFleet } from '../mechanisms/fleet/index.ts'
import { createRedis, type RedisLink } from '../mechanisms/redis/index.ts'
import type { Logger, Registry } from '../mechanisms/telemetry/index.ts'
import { type GatewayStore, memoryStoreOf } from './gateway-store.ts'
import { milliseconds } from './settings.ts'
import { version } from './version.ts'

export interface FleetRoleOptions {
  readonly logger: Logger
  readonly registry: Registry
  readonly clock: Clock
  /** What this gateway says of itself. */
  readonly describe: Describe
  /** In the place of the one that the configuration asks for. */
  readonly store?: GatewayStore
}

/** What makes a gateway one of many, or one alone: `[redis]` and `[fleet]` in; a connection, a fleet and a store out. */
export class FleetRole implements Lifecycle {
  /** Undefined without `[redis]`. */
  readonly redis: RedisLink | undefined
  readonly fleet: LoneFleet | RedisFleet
  readonly store: GatewayStore
  readonly #services: readonly Lifecycle[]
  #started: Lifecycle[] = []

  /** @throws REDIS_BAD_OPTION, FLEET_BAD_OPTION */
  constructor(config: Config, options: FleetRoleOptions) {
    const { logger, registry, clock, describe } = options
    const member = { id: newGatewayId(config.fleet.id ?? hostname()), version, clock, describe }
    const local = memoryStoreOf(config, clock)
    if (config.redis === undefined) {
      this.fleet = new LoneFleet(member)
      this.store = options.store ?? local
      this.#services = [this.fleet]
      return
    }
    const redis = createRedis({ ...config.redis, logger, registry })
    const fleet = new RedisFleet({
      ...member,
      redis,
      logger,
      registry,
      leaseMs: milliseconds(config.fleet.leaseSeconds),
    })
    const store = new RedisBalancerStore({
      redis,
      fleet,
      local,
      logger,
      registry,
      clock,
      ...(config.fleet.secret !== undefined && { secret: config.fleet.secret }),
      heartbeatTtlMs: milliseconds(config.balancer.heartbeatTtlSeconds),
      followTtlMs: milliseconds(config.balancer.forgetSeconds),
      pickIdleMs: milliseconds(config.balancer.pickIdleSeconds),
      maxSessions: 2 * config.media.webrtc.maxSessions,
    })
    registerSharingMetrics(registry, () => store.sharing)
    this.redis = redis
    this.fleet = fleet
    this.store = options.store ?? store
    this.#services = [redis, fleet, ...(options.store === undefined ? [store] : [])]
  }

  /** Whether what others know is known here. */
  get isDegraded(): boolean {
    return this.redis?.isUp === false
  }

  /** Resolves when what others know is known here, or Redis is away. */
  async start(options?: StartOptions): Promise<void> {
    if (this.#started.length > 0) return
    try {
      for (const service of this.#services) {
        this.#started.push(service)
        await service.start(options)
      }
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async close(options?: CloseOptions): Promise<void> {
    const started = this.#started
    this.#started = []
    for (const service of started.toReversed()) await service.close(options)
  }
}
