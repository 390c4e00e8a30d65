import type { Clock } from '../foundation/clock.ts'
import {
  type BalancerStats,
  type BalancerStore,
  MemoryBalancerStore,
  type PlacementOptions,
} from '../mechanisms/balancer/index.ts'
import type { Config } from '../mechanisms/config/index.ts'
import { milliseconds } from './settings.ts'

/** What keeps origins, picks and sessions. */
export type GatewayStore = BalancerStore & {
  stats(): BalancerStats
  /** Other rules for new streams. @throws BALANCER_BAD_OPTION */
  setPlacement(placement: PlacementOptions): void
}

/** The store in memory that a configuration asks for. */
export function memoryStoreOf(config: Config, clock: Clock): MemoryBalancerStore {
  const { maxOrigins, maxPicks, ...times } = config.balancer
  return new MemoryBalancerStore({
    clock,
    ...placementOf(config),
    maxOrigins,
    maxPicks,
    heartbeatTtlMs: milliseconds(times.heartbeatTtlSeconds),
    forgetAfterMs: milliseconds(times.forgetSeconds),
    suspectMs: milliseconds(times.suspectSeconds),
    pickIdleMs: milliseconds(times.pickIdleSeconds),
    // A session that restarts ICE goes by its old and its new USERNAME for a while.
    maxSessions: 2 * config.media.webrtc.maxSessions,
  })
}

/** Where new streams go. */
export function placementOf({ balancer: { policy, zone, apps } }: Config): PlacementOptions {
  return {
    policy,
    ...(zone !== undefined && { zone }),
    apps: apps.map(({ app, origins, backups }) => ({
      app,
      ...(origins !== undefined && { origins }),
      ...(backups !== undefined && { backups }),
    })),
  }
}
