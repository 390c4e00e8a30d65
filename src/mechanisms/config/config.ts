import type { FleetConfig } from './fleet-config.ts'
import type { MediaConfig } from './media-config.ts'
import type { OriginConfig, PlacementConfig } from './origins-config.ts'
import type { RedisConfig } from './redis-config.ts'
import type { TunnelConfig } from './tunnel-config.ts'
import type { TurnConfig } from './turn-config.ts'

/**
 * A complete configuration: every default is filled in. What each key means, its unit and its bounds are said once, in
 * `schema.ts`, from which docs/configuration.md is made.
 */
export interface Config {
  readonly log: { readonly level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'silent' }
  readonly routing: { readonly keys: 'normal' | 'srs'; readonly vhosts: readonly string[] }
  readonly registration: {
    readonly listen: string
    readonly token?: string | undefined
    readonly allow: readonly string[]
    readonly followSeconds: number
  }
  readonly balancer: PlacementConfig & {
    readonly heartbeatTtlSeconds: number
    readonly forgetSeconds: number
    readonly suspectSeconds: number
    readonly pickIdleSeconds: number
    readonly maxOrigins: number
    readonly maxPicks: number
  }
  readonly datapath: { readonly engine: 'auto' | 'native' | 'node'; readonly threads: number | 'auto' }
  readonly media: MediaConfig
  readonly origins: readonly OriginConfig[]
  readonly redis?: RedisConfig | undefined
  readonly fleet: FleetConfig
  readonly turn: TurnConfig
  readonly tunnel: TunnelConfig
  readonly admin: {
    readonly listen: string
    readonly token?: string | undefined
    readonly profiler: boolean
  }
  readonly shutdown: { readonly graceSeconds: number; readonly noticeSeconds: number }
}
