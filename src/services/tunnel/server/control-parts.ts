import type { Clock } from '../../../foundation/clock.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import type { TcpJoiner } from '../../../mechanisms/streams/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { Login, UdpPacketCodec } from '../../../protocols/frp/index.ts'
import type { Identity } from '../auth/contract.ts'
import type { MessageChannel } from '../message-channel.ts'
import type { TunnelRecorder } from '../statistics/contract.ts'
import type { AcceptedConnection } from '../transport/contract.ts'
import type { ProxyPlaces } from './open-proxy.ts'
import type { ProxyBackend } from './proxy-backend.ts'
import type { Quota } from './quota.ts'
import type { Rights } from './rights.ts'
import type { TunnelMetrics } from './tunnel-metrics.ts'

/** Whose proxy has a name. */
export interface ProxyOwner {
  /** Closes the proxy of that name. False: it is not open yet, or no more. */
  close(name: string): boolean
}

/** What the sessions of all clients share. */
export interface ControlParts {
  readonly places: ProxyPlaces
  /** Names of proxies in use, with who has them. */
  readonly names: Map<string, ProxyOwner>
  /** Backends of proxies that are closed and still carry somebody. */
  readonly departed: Set<ProxyBackend>
  /** User connections of the server. */
  readonly connections: Quota
  readonly recorder: TunnelRecorder
  readonly metrics: TunnelMetrics
  readonly datapath: Datapath
  readonly clock: Clock
  readonly logger: Logger
  readonly joiner: TcpJoiner | undefined
}

/** A client whose login was accepted. */
export interface LoggedIn {
  readonly login: Login
  readonly runId: string
  readonly identity: Identity
  readonly rights: Rights
  readonly connection: AcceptedConnection
  /** Secured, and paused. */
  readonly channel: MessageChannel
  readonly udpPacketCodec: UdpPacketCodec
}
