import type { Socket } from 'node:net'
import type { EndpointId, FlowId } from '../../../mechanisms/datapath/index.ts'
import type { TransportAddress } from '../../../protocols/stun/index.ts'
import type { AllocationQuota, QuotaRequest } from '../quota.ts'
import type { Identity } from './authenticator.ts'
import type { Client } from './client.ts'
import type { MeterSet } from './meters.ts'
import type { Outcome } from './outcome.ts'
import type { SmallMap } from '../../../foundation/small-map.ts'

/** An allocation: a client's five-tuple and what was allotted to it (RFC 8656 §3.2). */
export interface Allocation {
  readonly id: string
  /** Changes when a client moves (RFC 8016). */
  client: Client
  /** Where the client has asked from to be served, until it first sends from there. */
  movingTo: Client | undefined
  /** Whom it belongs to, and the key that its requests are proved with. */
  identity: Identity
  readonly quota: QuotaRequest
  /** Who has counted it. */
  readonly countedBy: AllocationQuota
  readonly relayTransport: 'udp' | 'tcp'
  /** One for each family, IPv4 first. */
  relays: readonly Relay[]
  /** Kept for its next allocation by EVEN-PORT. */
  reservation: string | undefined
  readonly meters: MeterSet
  readonly createdWallMs: number
  expiresAtMs: number
  readonly permissions: SmallMap<string, Permission>
  /** By channel number; made with the first. */
  channels: SmallMap<number, PeerPath> | undefined
  /** Paths without a channel, oldest first; made with the first. */
  loosePaths: SmallMap<PeerPath, true> | undefined
  /** Hands over what the client sends outside of channels, apart from strangers'. */
  clientFlow: FlowId | undefined
  /** TCP connections to peers (RFC 6062). */
  connections: PeerConnectionTable | undefined
  /** When more new peers may come. */
  newPeers: { tokens: number; filledMs: number } | undefined
  /** Answers that a retransmission gets again. */
  replay: Replay | undefined
  /** The ticket that is good now; tickets count up. */
  ticket: number
  /** Traffic of paths that are gone. */
  readonly sent: Traffic
  readonly received: Traffic
  /** Dropped by limits, of flows that are gone and what never was in one. */
  dropped: number
  isGone: boolean
}

/** What was answered to a transaction, for 40 seconds (RFC 8489 §6.3.1). */
export interface Replay {
  readonly transactionId: string
  /** Its bytes, one a character. */
  readonly message: string
  readonly untilMs: number
}

/** That a client may talk with the peers of one address (RFC 8656 §9). */
export interface Permission {
  readonly address: string
  expiresAtMs: number
  /** By port. */
  readonly paths: SmallMap<number, PeerPath>
}

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
  /**
   * Takes what the peer sends; of a UDP client the engine passes it on itself, in ChannelData or indications, else it is
   * delivered.
   */
  fromPeer: FlowId | undefined
  /** Takes ChannelData, or without a channel Send indications to the peer, of a UDP client, and passes the data on. */
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

/** The TCP side of a relayed address: listens for peers, and dials them. */
export interface TcpRelay {
  /** Takes the connections of peers; those that come before are cut. */
  onConnection(take: (socket: Socket) => void): void
  /** From the relayed port where the engine can; else from its address and another port. */
  dial(peer: TransportAddress): Socket
  close(): void
}

/** One TCP connection between a TCP allocation and a peer (RFC 6062). */
export interface PeerConnection {
  readonly peer: TransportAddress
  readonly sent: Traffic
  readonly received: Traffic
}

/** The TCP connections of one allocation. */
export interface PeerConnectionTable {
  list(): readonly PeerConnection[]
  /** Dials a peer from the relayed address; `onSettled` gets the answer, at once or later. */
  connect(peer: TransportAddress, onSettled: (outcome: Outcome) => void): void
  /** Ends connections with peers that may no longer be reached. */
  recheck(admits: (peer: TransportAddress) => boolean): void
  /** Ends them all; the relay itself is closed by whoever opened it. */
  close(): void
}
