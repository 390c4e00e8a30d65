import type { Flow, FlowId } from '../contract.ts'
import type { DatagramSocket, SendDone } from './datagram-socket.ts'
import type { SourceKey, TableFlow } from './flow-table.ts'
import type { Meter } from './meter.ts'
import type { NodeEndpoint } from './node-endpoint.ts'

/** Where a flow's datagrams go out, resolved as far as it can be once. */
export interface NodeTarget {
  readonly endpoint: NodeEndpoint<NodeFlow>
  readonly address: string
  readonly port: number
  readonly local: number | undefined
  /** Looked up again when it was closed with its interface. */
  socket: DatagramSocket | undefined
  /** Counts down to the next send that is asked whether it worked. */
  sendsUntilCheck: number
}

/** A flow of `engine-node`: what was asked for, prepared for the hot path, and its counters. */
export class NodeFlow implements TableFlow {
  readonly id: FlowId
  readonly isChannel: boolean
  /** Of a channel flow. */
  readonly channel: number
  readonly copiesStunRequests: boolean
  readonly from: NodeEndpoint<NodeFlow>
  readonly source: SourceKey
  readonly meters: readonly Meter[]
  target: NodeTarget | undefined
  isPaused = false
  packets = 0
  bytes = 0
  drops = 0
  lastSeenMs = 0
  readonly sent: SendDone

  constructor(
    id: FlowId,
    flow: Flow,
    from: NodeEndpoint<NodeFlow>,
    source: SourceKey,
    meters: readonly Meter[],
    target: NodeTarget | undefined,
    sent: (flow: NodeFlow, error: Error | null, bytes: number) => void,
  ) {
    this.id = id
    this.isChannel = flow.kind === 'turn-channel'
    this.channel = flow.kind === 'turn-channel' ? flow.channel : 0
    this.copiesStunRequests = flow.kind === 'forward' && (flow.copyStunRequests ?? false)
    this.from = from
    this.source = source
    this.meters = meters
    this.target = target
    this.sent = (error, bytes) => sent(this, error, bytes)
  }
}
