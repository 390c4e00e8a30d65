import type { FlowId } from '../../../mechanisms/datapath/index.ts'
import type { QuotaRequest } from '../quota.ts'
import type { Identity } from './authenticator.ts'
import type { Client } from './client.ts'
import type { MeterSet } from './meters.ts'
import type { PeerConnections } from './peer-connections.ts'
import type { PeerPath, Traffic } from './peer-path.ts'
import type { Permission } from './permission.ts'
import type { Relay } from './relay.ts'

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
  readonly relayTransport: 'udp' | 'tcp'
  /** One for each family, IPv4 first. */
  relays: readonly Relay[]
  /** Kept for its next allocation by EVEN-PORT. */
  reservation: string | undefined
  readonly meters: MeterSet
  readonly createdWallMs: number
  expiresAtMs: number
  readonly permissions: Map<string, Permission>
  /** By channel number; made with the first. */
  channels: Map<number, PeerPath> | undefined
  /** Hands over what the client sends outside of channels, apart from strangers'. */
  clientFlow: FlowId | undefined
  /** TCP connections to peers (RFC 6062). */
  connections: PeerConnections | undefined
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
  readonly bytes: Uint8Array
  readonly untilMs: number
}
