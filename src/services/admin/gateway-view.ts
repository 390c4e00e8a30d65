import type { FleetLoad, FleetMember } from '../../mechanisms/fleet/index.ts'
import type { Redis } from '../../mechanisms/redis/index.ts'

/** A gateway as operators see it. */
export interface GatewayView {
  readonly id: string
  readonly version: string
  /** ISO 8601. */
  readonly started: string
  readonly uptimeSeconds: number
  readonly draining: boolean
  readonly addresses: FleetMember['addresses']
  readonly load: FleetLoad
}

/** How the store that gateways share is: `none` is configured, or it is there, or not at present. */
export type RedisView = 'none' | 'up' | 'away'

/** `nowMs` is wall time. */
export function gatewayView(member: FleetMember, nowMs: number): GatewayView {
  const { id, version, startedMs, isDraining, addresses, load } = member
  return {
    id,
    version,
    started: isoTime(startedMs),
    uptimeSeconds: Math.max(0, Math.round((nowMs - startedMs) / 1000)),
    draining: isDraining,
    addresses,
    load,
  }
}

export function redisView(redis: Pick<Redis, 'isUp'> | undefined): RedisView {
  if (redis === undefined) return 'none'
  return redis.isUp ? 'up' : 'away'
}

export function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString()
}
