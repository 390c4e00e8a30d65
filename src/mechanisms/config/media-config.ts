import type { AccessConfig } from './access-config.ts'
import type { MediaTlsConfig } from './tls-config.ts'

/** The `[media]` section, every default filled in; what each key means is said in `media-schema.ts`. */
export interface MediaConfig {
  readonly trustedProxies: readonly string[]
  readonly proxyProtocolFrom: readonly string[]
  readonly tls: MediaTlsConfig
  readonly access: AccessConfig
  readonly http: MediaHttpConfig
  readonly rtmp: MediaRtmpConfig
  readonly webrtc: MediaWebRtcConfig
  readonly srt: MediaSrtConfig
}

/** Of a TCP edge. */
interface ConnectionCaps {
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
}

/** Where clients reach a port. */
export interface PublicAddressConfig {
  readonly address: string
  readonly port?: number | undefined
}

export interface MediaHttpConfig extends ConnectionCaps {
  readonly listen: readonly string[]
  readonly secureListen: readonly string[]
  readonly takesRtmp: boolean
  readonly pages?: string | undefined
  readonly stallSeconds: number
  readonly idleSeconds: number
  readonly resumeSeconds: number
}

export interface MediaRtmpConfig extends ConnectionCaps {
  readonly listen: readonly string[]
  readonly secureListen: readonly string[]
  readonly idleSeconds: number
  readonly resumeSeconds: number
  readonly proxyProtocolToOrigins?: 'v1' | 'v2' | undefined
}

export interface MediaWebRtcConfig {
  readonly listen: readonly string[]
  readonly publicAddresses: readonly PublicAddressConfig[]
  readonly keepOriginAddresses: boolean
  readonly tcpListen: readonly string[]
  readonly tcpPublicAddresses: readonly PublicAddressConfig[]
  readonly iceTcp: boolean
  readonly idleSeconds: number
  readonly maxSessions: number
  readonly allowIceQuery: boolean
  readonly lookupsPerSecond: number
  readonly lookupsPerSource: number
  readonly unverified: 'refuse' | 'bind-once'
}

export interface MediaSrtConfig {
  readonly listen: readonly string[]
  readonly defaultStreamId: string
  readonly plainRole: 'publish' | 'play'
  readonly plainApp: string
  readonly originTimeoutSeconds: number
  readonly dialogueSeconds: number
  readonly maxDialogues: number
  readonly maxDialoguesPerSource: number
  readonly idleSeconds: number
  readonly maxSessions: number
  readonly maxSessionsPerSource: number
}
