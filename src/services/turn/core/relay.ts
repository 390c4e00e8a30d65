import type { EndpointId } from '../../../mechanisms/datapath/index.ts'
import type { TransportAddress } from '../../../protocols/stun/index.ts'
import type { Allocation } from './allocation.ts'
import type { PeerPath } from './peer-path.ts'
import type { TcpRelay } from './tcp-relays.ts'

/** A relayed transport address: a bound UDP endpoint, or a TCP port that `PeerConnections` listens on. */
export interface Relay {
  readonly family: 4 | 6
  /** Where it is bound. */
  readonly bound: TransportAddress
  /** What clients and peers are told. */
  readonly relayed: TransportAddress
  /** Undefined of a TCP relay. */
  readonly endpoint: EndpointId | undefined
  /** Undefined of a UDP relay. */
  readonly tcp: TcpRelay | undefined
  /** Undefined while it is reserved for the next allocation (EVEN-PORT). */
  allocation: Allocation | undefined
  /** Paths of other allocations that lead to this relay; they stand still when it closes. */
  incoming: Set<PeerPath> | undefined
  isClosed: boolean
}
