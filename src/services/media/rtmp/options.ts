import { randomBytes } from 'node:crypto'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { Balancer, OriginRegistry, StreamKey } from '../../../mechanisms/balancer/index.ts'
import {
  type Dial,
  type DialOptionsOf,
  dialOptionsOf,
  dialTcp,
  type ListenAddress,
  type TlsOptions,
} from '../../../mechanisms/net/index.ts'
import type { Logger, Registry } from '../../../mechanisms/telemetry/index.ts'
import type { RandomBytes, StreamRequest } from '../../../protocols/rtmp/index.ts'
import { type Access, openAccess } from '../access/index.ts'

/** What the RTMP service is given; the composition root builds it. */
export interface RtmpServiceOptions {
  /** Where to listen; a host that is absent means every address. */
  readonly listen: readonly ListenAddress[]
  /** Where to listen for RTMPS. @defaultValue [] */
  readonly secureListen?: readonly ListenAddress[]
  /** How RTMPS is spoken; must be there when `secureListen` is not empty. @defaultValue none */
  readonly tls?: TlsOptions | undefined
  /** Addresses and CIDR ranges of balancers, whose connections begin with a PROXY protocol header. @defaultValue [] */
  readonly proxyProtocolFrom?: readonly string[]
  readonly balancer: Pick<Balancer, 'pick'>
  /** A redirect is followed when it leads to one of these. */
  readonly origins: Pick<OriginRegistry, 'list'>
  /** The routing key of a request; its `tcUrl` is empty where the client gave none. */
  readonly streamKeyOf: (request: Pick<StreamRequest, 'tcUrl' | 'app' | 'streamName'>) => StreamKey
  /** Who may publish and play. @defaultValue everybody */
  readonly access?: Access
  readonly logger: Logger
  readonly registry: Registry
  readonly clock?: Clock
  /** Opens a connection to an origin. @defaultValue `dialTcp` */
  readonly dial?: Dial
  /** How an origin is dialled: by TLS where it speaks rtmps. @defaultValue `dialOptionsOf` */
  readonly dialOptionsOf?: DialOptionsOf
  /** Tells origins of the client by a PROXY protocol header of this version, ahead of everything. @defaultValue none */
  readonly proxyProtocolToOrigins?: 'v1' | 'v2' | undefined
  /** Unguessable bytes for handshakes and session ids. @defaultValue node:crypto's */
  readonly random?: RandomBytes
  /** Most connections of clients; further ones are closed at once. @defaultValue 20000 */
  readonly maxConnections?: number
  /** The same for one client address. @defaultValue 2000 */
  readonly maxConnectionsPerAddress?: number
  /**
   * A client that has not said what it wants so many milliseconds after it connected, however slowly its
   * bytes come, is cut. @defaultValue 10000
   */
  readonly identifyTimeoutMs?: number
  /** How long the connection to an origin may take, in milliseconds. @defaultValue 3000 */
  readonly dialTimeoutMs?: number
  /** From there until the origin has given a stream, in milliseconds. @defaultValue 10000 */
  readonly originTimeoutMs?: number
  /**
   * From there to the status of `publish` or `play`, in milliseconds. An origin may have to ask somebody, or wait for a
   * publisher, so it counts as a refusal when none comes. @defaultValue 20000
   */
  readonly statusTimeoutMs?: number
  /** Most origins that are tried for one client. @defaultValue 3 */
  readonly maxOrigins?: number
  /**
   * A stream on which no byte came from either side for so many milliseconds, or of which one side took nothing, is cut;
   * up to a quarter later. So a player may wait for a publisher who reconnects. @defaultValue 60000
   */
  readonly idleMs?: number
  /**
   * How long a side that has not ended its direction may go on after the other has, and a client may take
   * to read why it was refused, in milliseconds. @defaultValue 5000
   */
  readonly lingerMs?: number
  /**
   * How long a player whose origin is lost, or whose stream has moved, is kept while another origin is looked for, in
   * milliseconds; then it is cut. 0: it is cut at once, and comes back by itself or not. @defaultValue 0
   */
  readonly resumeMs?: number
  /** Largest message in bytes; a peer that sends a larger one is cut. @defaultValue 8388608 */
  readonly maxMessageBytes?: number
  /** Most bytes that a peer may send within a dialogue, and that are kept of a client until its origin is there. @defaultValue 65536 */
  readonly maxDialogueBytes?: number
}

/** Options with every default filled in. */
export type CompleteRtmpOptions = Required<RtmpServiceOptions>

/** What the options are where nothing else is said. */
export const rtmpDefaults: Omit<
  CompleteRtmpOptions,
  'listen' | 'balancer' | 'origins' | 'streamKeyOf' | 'logger' | 'registry'
> = {
  secureListen: [],
  tls: undefined,
  proxyProtocolFrom: [],
  access: openAccess,
  dialOptionsOf,
  proxyProtocolToOrigins: undefined,
  resumeMs: 0,
  clock: systemClock,
  dial: dialTcp,
  random: (size) => randomBytes(size),
  maxConnections: 20_000,
  maxConnectionsPerAddress: 2000,
  identifyTimeoutMs: 10_000,
  dialTimeoutMs: 3000,
  originTimeoutMs: 10_000,
  statusTimeoutMs: 20_000,
  maxOrigins: 3,
  idleMs: 60_000,
  lingerMs: 5000,
  maxMessageBytes: 8 * 1024 * 1024,
  maxDialogueBytes: 64 * 1024,
}
