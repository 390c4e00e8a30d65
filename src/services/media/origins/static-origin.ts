import type { OriginKind, OriginUrlName } from '../../../mechanisms/balancer/index.ts'

/** An origin that does not announce itself: the configuration does. */
export interface StaticOrigin {
  /** Its server id; unique among the static origins. */
  readonly name: string
  readonly kind: OriginKind
  /** An address or a host name. Absent: all is in `urls`. */
  readonly host?: string
  /**
   * Where streams are, in place of what is usual for the kind; `false`: not offered there. An `srs` without any is asked as
   * its clients ask, at `ports`.
   */
  readonly urls?: Readonly<Partial<Record<OriginUrlName, string | false>>>
  /** Ports of an `srs` that are not the usual ones; `false`: not offered there. */
  readonly ports?: Readonly<Partial<Record<SrsPortName, number | false>>>
  /** Share of new streams beside origins of weight 1. @defaultValue 1 */
  readonly weight?: number
  /** @defaultValue none */
  readonly zone?: string
  /** New streams come only when no other origin is fit. @defaultValue false */
  readonly backup?: boolean
  /**
   * `http://…` or `https://…`, which must answer 2xx, 3xx or 401 (it lives, and wants a password); `tcp://host:port`, which
   * must accept a connection; `false`: it is always taken to be well. @defaultValue versions of an SRS, else TCP to its first URL
   */
  readonly check?: string | false
  /** In milliseconds. @defaultValue 10000 */
  readonly checkIntervalMs?: number
  /** How long a check, or an answer of its API, may take, in milliseconds. @defaultValue 3000 */
  readonly timeoutMs?: number
  /** Failed checks in a row until it counts as ill. @defaultValue 2 */
  readonly checkFailures?: number
  /** How often it is asked for the streams that are published there, in milliseconds. 0: never. @defaultValue 0 */
  readonly followIntervalMs?: number
  /** Where its HTTP API is, with user and password if it wants them. @defaultValue where the kind has it */
  readonly api?: string
}

export type SrsPortName = 'rtmp' | 'http' | 'api' | 'srt' | 'rtc'
