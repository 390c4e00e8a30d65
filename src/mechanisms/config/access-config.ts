/** The `media.access` section, every default filled in; what each key means is said in `access-schema.ts`. */
export type AccessConfig = readonly AccessRuleConfig[]

export interface AccessRuleConfig {
  readonly vhost: string
  readonly app: string
  readonly stream: string
  readonly publish: AccessRoleConfig
  readonly play: AccessRoleConfig
  readonly hooks: AccessHooksConfig
}

export interface AccessRoleConfig {
  readonly policy?: 'open' | 'credentials' | 'deny' | undefined
  readonly allowFrom: readonly string[]
  readonly denyFrom: readonly string[]
  readonly keys: readonly string[]
  readonly keyParameter: string
  readonly jwt?: AccessJwtConfig | undefined
  readonly wrongPerMinute: number
  readonly limits: AccessLimitsConfig
}

export type AccessAlgorithm = (typeof ACCESS_ALGORITHMS)[number]

/** The signatures that tokens may have. Those that begin with `HS` are made with a secret, the others with a private key. */
export const ACCESS_ALGORITHMS = [
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

export interface AccessJwtConfig {
  readonly secrets: readonly string[]
  readonly publicKeys: readonly string[]
  readonly jwksUrl?: string | undefined
  readonly jwksTimeoutSeconds: number
  readonly jwksMaxAgeSeconds: number
  readonly jwksCooldownSeconds: number
  readonly algorithms?: readonly AccessAlgorithm[] | undefined
  readonly parameter: string
  readonly issuers: readonly string[]
  readonly audiences: readonly string[]
  readonly requireExpiry: boolean
  readonly endWithToken: boolean
  readonly clockToleranceSeconds: number
  readonly required: readonly ('vhost' | 'app' | 'stream' | 'action')[]
  readonly claims: {
    readonly vhost: string
    readonly app: string
    readonly stream: string
    readonly action: string
    readonly permissions: string
  }
}

export interface AccessLimitsConfig {
  readonly maxPerApp: number
  readonly maxPerStream: number
  readonly maxPerAddress: number
  readonly appBytesPerSecond: number
  readonly streamBytesPerSecond: number
  readonly addressBytesPerSecond: number
  readonly burstSeconds: number
}

export interface AccessHooksConfig {
  readonly onPublish: readonly string[]
  readonly onUnpublish: readonly string[]
  readonly onPlay: readonly string[]
  readonly onStop: readonly string[]
  readonly timeoutSeconds: number
  readonly whenAway: 'deny' | 'allow'
}
