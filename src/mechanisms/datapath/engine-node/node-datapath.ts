import {
  COUNTER_STRIDE,
  type DatapathFeature,
  type DatapathTotals,
  type EndpointId,
  type EndpointOptions,
  type FlowId,
  type MeterId,
  type MeterOptions,
  type Receiver,
  type Remote,
  type SendOptions,
} from '../contract.ts'
import { DatapathControl, type FlowRequest, type Target } from '../control/datapath-control.ts'
import { type EngineOptions, engineDefaults } from '../control/engine-options.ts'
import { DatapathError } from '../errors.ts'
import { Meter } from './meter.ts'
import { NodeEndpoint } from './node-endpoint.ts'
import { NodeFlow } from './node-flow.ts'
import { NodePacketPath } from './node-packet-path.ts'
import { bucketOf } from './token-bucket.ts'

/**
 * The datapath on `node:dgram`: works on any platform, and is what the native engine is compared with. It
 * has no threads of its own: one socket per address whatever `threads` says. Datagrams go through `NodePacketPath`.
 */
export class NodeDatapath extends DatapathControl<NodeEndpoint<NodeFlow>, NodeFlow, Meter> {
  override readonly engine = 'node'
  override readonly features: ReadonlySet<DatapathFeature> = new Set()
  readonly #packets: NodePacketPath

  constructor(options: EngineOptions = {}) {
    super({ ...engineDefaults, ...options })
    this.#packets = new NodePacketPath(this.options)
  }

  protected override startEngine(): void {}

  protected override closeEngine(): void {}

  protected override bindSharedTcp(): number {
    throw new DatapathError('DATAPATH_UNSUPPORTED', 'engine-node has no tcp-reuse')
  }

  protected override createEndpoint(
    id: EndpointId,
    options: EndpointOptions,
    receiver: Receiver,
  ): NodeEndpoint<NodeFlow> {
    const nowMs = this.options.clock.nowMs()
    return new NodeEndpoint(id, options, receiver, {
      listener: this.#packets,
      maxSendQueueBytes: this.options.maxSendQueueBytes,
      strangers: bucketOf(this.options.strangersPerEndpoint, nowMs),
      known: bucketOf(this.options.knownPerEndpoint, nowMs),
    })
  }

  protected override createFlow(request: FlowRequest<NodeEndpoint<NodeFlow>, Meter>): NodeFlow | undefined {
    const flow = new NodeFlow(request, this.#packets.onForwarded)
    return flow.table.add(flow) ? flow : undefined
  }

  protected override aimFlow(_id: FlowId, flow: NodeFlow, target: Target<NodeEndpoint<NodeFlow>>): void {
    flow.aim(target)
  }

  protected override pauseFlow(_id: FlowId, flow: NodeFlow, paused: boolean): void {
    flow.isPaused = paused
  }

  protected override deleteFlow(_id: FlowId, flow: NodeFlow): void {
    flow.table.remove(flow)
  }

  protected override createMeter(_id: MeterId, options: MeterOptions): Meter {
    return new Meter(options, this.options.clock.nowMs())
  }

  protected override deleteMeter(_id: MeterId, meter: Meter): void {
    meter.close()
  }

  protected override chargeMeter(meter: Meter, bytes: number): boolean {
    if (!meter.has(bytes, this.options.clock.nowMs())) return false
    meter.spend(bytes)
    return true
  }

  protected override sendDatagram(
    endpoint: NodeEndpoint<NodeFlow>,
    remote: Remote,
    bytes: Uint8Array,
    options: SendOptions,
  ): boolean {
    return this.#packets.send(endpoint, remote, bytes, options.local)
  }

  protected override countUnsendable(): void {
    this.#packets.countUnsendable()
  }

  protected override readFlows(flows: readonly FlowId[], into: Float64Array): void {
    for (const [index, id] of flows.entries()) {
      const flow = this.flows.get(id)
      if (flow === undefined) into.fill(0, index * COUNTER_STRIDE, (index + 1) * COUNTER_STRIDE)
      else {
        const { packets, bytes, drops, lastSeenMs, framing } = flow
        into.set([packets, bytes, drops, lastSeenMs, framing], index * COUNTER_STRIDE)
      }
    }
  }

  protected override packetTotals(): Omit<DatapathTotals, 'endpoints' | 'flows'> {
    return { ...this.#packets.totals(), threads: 0, busySeconds: 0 }
  }
}
