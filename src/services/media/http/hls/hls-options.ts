import type { Clock } from '../../../../foundation/clock.ts'
import type { BalancerStore, KeyRules } from '../../../../mechanisms/balancer/index.ts'
import {
  AddressRanges,
  type Dial,
  dialOptionsOf,
  type DialOptionsOf,
  dialTcp,
  type HttpClientOf,
  httpClientOf,
} from '../../../../mechanisms/net/index.ts'
import type { Logger, Registry } from '../../../../mechanisms/telemetry/index.ts'
import { type Access, openAccess } from '../../access/index.ts'

export interface HlsProxyOptions {
  readonly balancer: Pick<BalancerStore, 'pick' | 'openHls' | 'findHls' | 'list'>
  readonly keyRules: KeyRules
  readonly logger: Logger
  readonly registry: Registry
  readonly clock?: Clock
  /** Opens connections to origins. @defaultValue node:net's and node:tls's */
  readonly dial?: Dial
  /** How certificates of origins are verified. @defaultValue by the authorities that Node knows */
  readonly dialOptionsOf?: DialOptionsOf
  /** Asked once for each viewer. @defaultValue everybody may play */
  readonly access?: Access
  /** Reads who a client is. @defaultValue no proxy is trusted */
  readonly clientOf?: HttpClientOf
  /** How long the connection to an origin may take, in milliseconds. @defaultValue 3000 */
  readonly connectTimeoutMs?: number
  /**
   * From there to the end of its response head, in milliseconds. With blocking reload (low latency) an origin answers when
   * the part is there, up to three target durations later. @defaultValue 30000
   */
  readonly headTimeoutMs?: number
  /** A body in which nothing moves for so many milliseconds is cut, whoever it waits for. @defaultValue 30000 */
  readonly stallMs?: number
  /** Most origins that are tried at one time. @defaultValue 3 */
  readonly maxOrigins?: number
  /**
   * How long a request for a stream that was served before waits for its origin to come back, or for another one to carry
   * it, in milliseconds; 0: it does not. @defaultValue 10000
   */
  readonly originWaitMs?: number
  /** Most requests that wait so; further ones get the error at once. @defaultValue 2000 */
  readonly maxWaiting?: number
  /** A viewer's session ends so many milliseconds after its last request. @defaultValue 120000 */
  readonly sessionTtlMs?: number
  /** Most viewers; with one more the one that asked for nothing for longest is asked for its credentials again. @defaultValue 50000 */
  readonly maxViewers?: number
  /** The same for one client address, where further ones get 429. @defaultValue 2000 */
  readonly maxViewersPerAddress?: number
  /** Most bytes of a playlist or manifest; a larger one is the origin's fault and gets 502. @defaultValue 4194304 */
  readonly maxPlaylistBytes?: number
  /** Most URIs of recent playlists that are remembered, to find the origin of a segment without `spbhid`. @defaultValue 100000 */
  readonly maxNames?: number
  /** How long a connection to an origin rests until it is closed, in milliseconds. @defaultValue 15000 */
  readonly idleConnectionMs?: number
  /** Most connections at rest for one origin. @defaultValue 256 */
  readonly maxIdlePerOrigin?: number
}

type Defaulted = Omit<HlsProxyOptions, 'balancer' | 'keyRules' | 'logger' | 'registry' | 'clock'>

export const HLS_DEFAULTS: Required<Defaulted> = {
  dial: dialTcp,
  dialOptionsOf,
  access: openAccess,
  clientOf: httpClientOf(new AddressRanges([])),
  connectTimeoutMs: 3000,
  headTimeoutMs: 30_000,
  stallMs: 30_000,
  maxOrigins: 3,
  originWaitMs: 10_000,
  maxWaiting: 2000,
  sessionTtlMs: 120_000,
  maxViewers: 50_000,
  maxViewersPerAddress: 2000,
  maxPlaylistBytes: 4_194_304,
  maxNames: 100_000,
  idleConnectionMs: 15_000,
  maxIdlePerOrigin: 256,
}

/** Options, all set. */
export type HlsSettings = Required<HlsProxyOptions>
