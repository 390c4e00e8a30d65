import type { FlowId } from '../contract.ts'
import type { EngineFlow, FlowRequest, Target } from '../control/datapath-control.ts'
import type { DatagramSocket, SendDone } from './datagram-socket.ts'
import type { FlowTable, SourceKey, TableFlow } from './flow-table.ts'
import type { Meter } from './meter.ts'
import type { NodeEndpoint } from './node-endpoint.ts'

/** Where a flow's datagrams go out, resolved as far as it can be once. */
export interface NodeTarget extends Target<NodeEndpoint<NodeFlow>> {
  /** Looked up again when it was closed with its interface. */
  socket: DatagramSocket | undefined
  /** Counts down to the next send that is asked whether it worked. */
  sendsUntilCheck: number
}

/** A flow of `engine-node`: what was asked for, prepared for the hot path, and its counters. */
export class NodeFlow implements TableFlow, EngineFlow<NodeEndpoint<NodeFlow>> {
  readonly id: FlowId
  readonly isChannel: boolean
  /** Of a channel flow. */
  readonly channel: number
  readonly copiesStunRequests: boolean
  readonly from: NodeEndpoint<NodeFlow>
  /** Where it is found. */
  readonly table: FlowTable<NodeFlow>
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
    { id, flow, from, remote, target, meters }: FlowRequest<NodeEndpoint<NodeFlow>, Meter>,
    sent: (flow: NodeFlow, error: Error | null, bytes: number) => void,
  ) {
    this.id = id
    this.isChannel = flow.kind === 'turn-channel'
    this.channel = flow.kind === 'turn-channel' ? flow.channel : 0
    this.copiesStunRequests = flow.kind === 'forward' && (flow.copyStunRequests ?? false)
    this.from = from
    this.table = from.flowsAt(flow.from.local ?? 0)
    this.source = {
      ...remote,
      match: flow.from.match,
      channel: flow.kind === 'turn-channel' && flow.header === 'strip' ? flow.channel : undefined,
    }
    this.meters = meters
    if (target !== undefined) this.aim(target)
    this.sent = (error, bytes) => sent(this, error, bytes)
  }

  get to(): NodeEndpoint<NodeFlow> | undefined {
    return this.target?.endpoint
  }

  aim(target: Target<NodeEndpoint<NodeFlow>>): void {
    const socket = target.endpoint.socketFor(target.family, target.local)
    this.target = { ...target, socket, sendsUntilCheck: 0 }
  }
}
