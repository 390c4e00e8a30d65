/** The `[turn]` section, every default filled in; what each key means is said in `turn-schema.ts`. */
export interface TurnConfig {
  readonly listeners: readonly TurnListenerConfig[]
  readonly realm: string
  readonly relays: readonly TurnRelayConfig[]
  readonly peers: TurnPeersConfig
  readonly credentials: TurnCredentialsConfig
  readonly uris: readonly string[]
  readonly mobility: boolean
  readonly security: 'none' | 'sha256' | 'anonymity'
  readonly secret?: string | undefined
  /** Literal `address:port`. */
  readonly peerAddress?: string | undefined
  readonly events?: { readonly url: string; readonly token?: string | undefined } | undefined
  readonly alternateServers: readonly {
    readonly address: string
    readonly port: number
    readonly domain?: string | undefined
  }[]
  readonly limits: Readonly<Record<TurnLimitName, number>>
}

export interface TurnListenerConfig {
  readonly name: string
  readonly transport: 'udp' | 'tcp' | 'tls' | 'dtls'
  readonly listen: string
  readonly certFile?: string | undefined
  readonly keyFile?: string | undefined
  readonly relays?: readonly TurnRelayConfig[] | undefined
  readonly peers?: TurnPeersConfig | undefined
  readonly relayTransports: readonly ('udp' | 'tcp')[]
  readonly proxyProtocolFrom: readonly string[]
  readonly sharedWithHttp: boolean
  readonly strictChannels: boolean
}

export interface TurnRelayConfig {
  readonly address: string
  readonly advertised?: string | undefined
  readonly ports: { readonly from: number; readonly to: number }
}

export type TurnRuleConfig = string | { readonly to: string; readonly protocol?: 'udp' | 'tcp' | undefined }

export interface TurnPeersConfig {
  readonly byDefault: 'public' | 'none'
  readonly allow: readonly TurnRuleConfig[]
  readonly deny: readonly TurnRuleConfig[]
}

export interface TurnCredentialsConfig {
  readonly users: readonly {
    readonly username: string
    readonly password?: string | undefined
    readonly key?: string | undefined
    readonly maxAllocations?: number | undefined
  }[]
  readonly secrets: readonly string[]
  readonly separator: string
  readonly strict: boolean
  readonly ttlSeconds: number
  readonly oauth?:
    | {
        readonly serverName: string
        readonly keys: readonly { readonly kid: string; readonly key: string }[]
      }
    | undefined
  readonly webhook?:
    | {
        readonly url: string
        readonly token?: string | undefined
        readonly timeoutSeconds: number
        readonly rememberSeconds: number
      }
    | undefined
}

/** The bounds of a TURN server, as `TurnLimits` of the service names them. */
export type TurnLimitName =
  | 'maxPerUser'
  | 'maxPerAddress'
  | 'maxAllocations'
  | 'maxPermissions'
  | 'maxChannels'
  | 'maxPeerConnections'
  | 'newPeersPerSecond'
  | 'packetsPerSecond'
  | 'bytesPerSecond'
  | 'userBytesPerSecond'
  | 'totalBytesPerSecond'
  | 'lifetimeSeconds'
  | 'maxLifetimeSeconds'
  | 'nonceSeconds'
  | 'maxConnections'
  | 'maxConnectionsPerAddress'
  | 'idleSeconds'
  | 'maxClientQueueBytes'
  | 'strangerRepliesPerSecond'
  | 'totalStrangerRepliesPerSecond'
  | 'attemptsPerSecond'
