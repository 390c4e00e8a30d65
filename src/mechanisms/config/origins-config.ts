/** One of `[[origins]]`, every default filled in; what each key means is said in `origins-schema.ts`. */
export interface OriginConfig {
  readonly name: string
  readonly kind: 'srs' | 'mediamtx' | 'ovenmediaengine' | 'livekit-ingress' | 'nginx-rtmp' | 'custom'
  readonly host?: string | undefined
  readonly urls?: Readonly<Partial<Record<OriginUrlNameConfig, string | false | undefined>>> | undefined
  readonly ports?:
    | Readonly<Partial<Record<'rtmp' | 'http' | 'api' | 'srt' | 'rtc', number | false | undefined>>>
    | undefined
  readonly weight: number
  readonly zone?: string | undefined
  readonly backup: boolean
  readonly check?: string | false | undefined
  readonly checkSeconds: number
  readonly timeoutSeconds: number
  readonly checkFailures: number
  readonly followSeconds: number
  readonly api?: string | undefined
}

export type OriginUrlNameConfig =
  | 'whip'
  | 'whep'
  | 'json'
  | 'rtmp'
  | 'rtmpPublish'
  | 'srt'
  | 'srtPublish'
  | 'flv'
  | 'ts'
  | 'aac'
  | 'mp3'
  | 'hls'
  | 'dash'

/** The keys of `[balancer]` that say where new streams go. */
export interface PlacementConfig {
  readonly policy: 'random' | 'least-streams' | 'least-load' | 'consistent-hash'
  readonly zone?: string | undefined
  readonly apps: readonly {
    readonly app: string
    readonly origins?: readonly string[] | undefined
    readonly backups?: readonly string[] | undefined
  }[]
}
