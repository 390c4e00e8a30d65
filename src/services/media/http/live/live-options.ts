import type { Clock } from '../../../../foundation/clock.ts'
import type { Balancer, KeyRules, OriginRegistry } from '../../../../mechanisms/balancer/index.ts'
import {
  type Dial,
  dialOptionsOf,
  type DialOptionsOf,
  dialTcp,
  type HttpClientOf,
} from '../../../../mechanisms/net/index.ts'
import type { Logger, Registry } from '../../../../mechanisms/telemetry/index.ts'
import { type Access, openAccess } from '../../access/index.ts'
import type { StaticPages } from '../pages/static-pages.ts'

export interface LiveProxyOptions {
  readonly balancer: Pick<Balancer, 'pick'>
  readonly keyRules: KeyRules
  readonly logger: Logger
  readonly registry: Registry
  readonly clock?: Clock
  /** Opens connections to origins. @defaultValue node:net's */
  readonly dial?: Dial
  /** How certificates of origins are verified. @defaultValue by the authorities that Node knows */
  readonly dialOptionsOf?: DialOptionsOf
  /** Who may play. @defaultValue everybody */
  readonly access?: Access
  /** Who a client is. @defaultValue no proxy is trusted */
  readonly clientOf?: HttpClientOf
  /** A redirect is followed to one of these only. @defaultValue none */
  readonly origins?: Pick<OriginRegistry, 'list'>
  /**
   * Files that lie where streams could be: `/assets/jingle.mp3`. A stream goes first; a file is sent when it is there and no
   * origin has a stream of the name, or none says so within two seconds. @defaultValue none
   */
  readonly pages?: Pick<StaticPages, 'has' | 'handle'>
  /** How long the connection to an origin may take, in milliseconds. @defaultValue 3000 */
  readonly connectTimeoutMs?: number
  /**
   * From there to the end of its response head, in milliseconds. SRS answers for a stream that nobody publishes yet only
   * when it begins, so this is how long a player waits. @defaultValue 60000
   */
  readonly headTimeoutMs?: number
  /** A viewer that takes nothing for so many milliseconds is cut. @defaultValue 30000 */
  readonly stallMs?: number
  /** A body in which nothing comes for so many milliseconds is ended: players wait for a publisher who reconnects. @defaultValue 60000 */
  readonly idleMs?: number
  /**
   * For so many milliseconds a viewer is kept whose origin has broken off, or whose stream has moved, until an origin has the
   * stream again. It is also how much later viewers see the end of a stream that does not come back. 0: not at all.
   * @defaultValue 10000
   */
  readonly resumeMs?: number
  /** Most viewers that are kept so at a time; others are let go. @defaultValue 10000 */
  readonly maxWaiting?: number
  /** Most origins that are tried for one request. @defaultValue 3 */
  readonly maxOrigins?: number
}

type LiveDefaults = Required<
  Omit<LiveProxyOptions, 'balancer' | 'keyRules' | 'logger' | 'registry' | 'clock' | 'clientOf' | 'pages'>
>

/** Of the options that have one of their own. */
export const LIVE_DEFAULTS: LiveDefaults = {
  connectTimeoutMs: 3000,
  headTimeoutMs: 60_000,
  dial: dialTcp,
  dialOptionsOf,
  access: openAccess,
  origins: { list: () => Promise.resolve([]) },
  stallMs: 30_000,
  idleMs: 60_000,
  resumeMs: 10_000,
  maxWaiting: 10_000,
  maxOrigins: 3,
}
