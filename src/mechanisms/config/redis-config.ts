/** The `[redis]` section; what each key means is said in `redis-schema.ts`. Exactly one of `url`, `sentinels` and `cluster` is there. */
export interface RedisConfig {
  readonly url?: string | undefined
  readonly sentinels?: readonly string[] | undefined
  readonly sentinelName?: string | undefined
  readonly sentinelUser?: string | undefined
  readonly sentinelPassword?: string | undefined
  readonly cluster?: readonly string[] | undefined
  readonly user?: string | undefined
  readonly password?: string | undefined
  readonly database?: number | undefined
  readonly prefix?: string | undefined
  readonly tls?: RedisTlsConfig | undefined
  readonly timeoutSeconds: number
}

export interface RedisTlsConfig {
  readonly on: boolean
  readonly sentinels: boolean
  readonly ca?: string | undefined
  readonly certFile?: string | undefined
  readonly keyFile?: string | undefined
  readonly servername?: string | undefined
  readonly insecure: boolean
}
