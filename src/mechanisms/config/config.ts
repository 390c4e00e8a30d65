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
  }
  readonly balancer: {
    readonly policy: 'random' | 'least-streams'
    readonly heartbeatTtlSeconds: number
    readonly forgetSeconds: number
    readonly suspectSeconds: number
    readonly pickIdleSeconds: number
    readonly maxOrigins: number
    readonly maxPicks: number
  }
  readonly datapath: { readonly engine: 'auto' | 'native' | 'node'; readonly threads: number | 'auto' }
  readonly media: {
    readonly http: {
      readonly listen: readonly string[]
      readonly pages?: string | undefined
      readonly maxConnections: number
      readonly maxConnectionsPerAddress: number
      readonly stallSeconds: number
      readonly idleSeconds: number
    }
    readonly rtmp: {
      readonly listen: readonly string[]
      readonly maxConnections: number
      readonly maxConnectionsPerAddress: number
      readonly idleSeconds: number
    }
    readonly webrtc: {
      readonly listen: string
      readonly publicAddresses: readonly { readonly address: string; readonly port?: number | undefined }[]
      readonly idleSeconds: number
      readonly maxSessions: number
      readonly allowIceQuery: boolean
    }
  }
  readonly turn: TurnConfig
  readonly tunnel: TunnelConfig
  readonly admin: { readonly listen: string; readonly token?: string | undefined }
  readonly shutdown: { readonly graceSeconds: number }
}
