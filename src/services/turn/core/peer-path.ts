import type { FlowId } from '../../../mechanisms/datapath/index.ts'
import type { TransportAddress } from '../../../protocols/stun/index.ts'
import type { Allocation } from './allocation.ts'
import type { Permission } from './permission.ts'
import type { Relay } from './relay.ts'

/**
 * The way between an allocation and one peer, `address:port`: made when the first packet passes, or by a channel. That the
 * peer may be reached was checked when it was made, and is checked anew when rules change.
 */
export interface PeerPath {
  readonly allocation: Allocation
  readonly permission: Permission
  /** Of the peer's family. */
  readonly relay: Relay
  /** As the client names it. */
  readonly peer: TransportAddress
  /** Where packets go: another relay of this server may be bound elsewhere than it is advertised. */
  readonly target: TransportAddress
  /** The relay of this server that the peer is. */
  readonly peerRelay: Relay | undefined
  channel: Channel | undefined
  /** Takes what the peer sends; with a channel of a UDP client the engine passes it on itself, else it is delivered. */
  fromPeer: FlowId | undefined
  /** Takes ChannelData of a UDP client, and passes it on. */
  toPeer: FlowId | undefined
  isPaused: boolean
  /** What earlier flows of this path have carried; those that exist now come on top. */
  readonly sent: Traffic
  readonly received: Traffic
}

/** A channel bound to a peer (RFC 8656 §12). */
export interface Channel {
  readonly number: number
  expiresAtMs: number
}

/** Packets and payload bytes. */
export interface Traffic {
  packets: number
  bytes: number
}
