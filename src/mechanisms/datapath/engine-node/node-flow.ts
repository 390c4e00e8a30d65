import type { Flow, FlowId } from '../contract.ts'
import type { EngineFlow, FlowRequest, Target } from '../control/datapath-control.ts'
import type { DatagramSocket, SendDone } from './datagram-socket.ts'
import type { FlowTable, SourceKey, TableFlow } from './flow-table.ts'
import { DataHeader, peerKey } from './indications.ts'
import type { Meter } from './meter.ts'
import type { NodeEndpoint } from './node-endpoint.ts'

/** Where a flow's datagrams go out, resolved as far as it can be once. */
export interface NodeTarget extends Target<NodeEndpoint<NodeFlow>> {
  /** Looked up again when it was closed with its interface. */
  socket: DatagramSocket | undefined
  /** Counts down to the next send that is asked whether it worked. */
  sendsUntilCheck: number
}

/** Told how a send of a flow has ended. */
export type FlowSent = (flow: NodeFlow, error: Error | null, bytes: number, framing: number) => void

/** A flow of `engine-node`: what was asked for, prepared for the hot path, and its counters. */
export class NodeFlow implements TableFlow, EngineFlow<NodeEndpoint<NodeFlow>> {
  readonly id: FlowId
  readonly kind: Flow['kind']
  /** Of a channel flow. */
  readonly channel: number
  /** Of a flow that adds those of indications. */
  readonly dataHeader: DataHeader | undefined
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
  framing = 0
  readonly #told: FlowSent
  readonly #sent: SendDone

  constructor(
    { id, flow, from, remote, target, meters }: FlowRequest<NodeEndpoint<NodeFlow>, Meter>,
    sent: FlowSent,
  ) {
    this.id = id
    this.kind = flow.kind
    this.channel = flow.kind === 'turn-channel' ? flow.channel : 0
    const isIndication = flow.kind === 'turn-indication'
    this.dataHeader = isIndication && flow.header === 'add' ? new DataHeader(flow.peer) : undefined
    this.copiesStunRequests = flow.kind === 'forward' && (flow.copyStunRequests ?? false)
    this.from = from
    this.table = from.flowsAt(flow.from.local ?? 0)
    this.source = {
      ...remote,
      match: flow.from.match,
      channel: flow.kind === 'turn-channel' && flow.header === 'strip' ? flow.channel : undefined,
      peer: isIndication && flow.header === 'strip' ? peerKey(flow.peer) : undefined,
    }
    this.meters = meters
    if (target !== undefined) this.aim(target)
    this.#told = sent
    this.#sent = (error, bytes) => sent(this, error, bytes, 0)
  }

  get to(): NodeEndpoint<NodeFlow> | undefined {
    return this.target?.endpoint
  }

  /** Tells how a send has ended, of a datagram with so many bytes of framing. */
  sent(framing: number): SendDone {
    if (framing === 0) return this.#sent
    return (error, bytes) => this.#told(this, error, bytes, framing)
  }

  aim(target: Target<NodeEndpoint<NodeFlow>>): void {
    const socket = target.endpoint.socketFor(target.family, target.local)
    this.target = { ...target, socket, sendsUntilCheck: 0 }
  }
}
