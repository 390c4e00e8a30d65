import type { Timer } from '../../../foundation/clock.ts'
import {
  COUNTER_STRIDE,
  type Datapath,
  type DatapathTotals,
  type Endpoint,
  type EndpointId,
  type EndpointOptions,
  type Flow,
  type FlowId,
  type FlowTarget,
  type MeterId,
  type MeterOptions,
  type Receiver,
  type Remote,
} from '../contract.ts'
import { DatapathError } from '../errors.ts'
import { checkFlow, isSameRemote } from '../control/flow-checks.ts'
import type { SourceKey } from './flow-table.ts'
import { canonicalAddress, checkRemotePort, familyOf } from '../control/ip-address.ts'
import { Meter } from './meter.ts'
import { NodeEndpoint, type NodeEndpointContext } from './node-endpoint.ts'
import { bucketOf, type NodeEngineOptions, nodeEngineDefaults } from '../control/engine-options.ts'
import { NodeFlow, type NodeTarget } from './node-flow.ts'
import { NodePacketPath } from './node-packet-path.ts'
import { bindPort, bindPortPair } from '../control/port-binder.ts'

/**
 * The datapath on `node:dgram`: works on any platform, and is what the native engine is compared with. It
 * has no threads of its own: one socket per address whatever `threads` says. Here is its control side: endpoints, flows
 * and meters; datagrams go through `NodePacketPath`.
 */
export class NodeDatapath implements Datapath {
  readonly engine = 'node'
  readonly #options: Required<NodeEngineOptions>
  readonly #endpoints = new Map<EndpointId, NodeEndpoint<NodeFlow>>()
  readonly #flows = new Map<FlowId, NodeFlow>()
  readonly #meters = new Map<MeterId, Meter>()
  readonly #closing = new Set<Promise<void>>()
  readonly #packets: NodePacketPath
  #lastId = 0
  #isRunning = false
  #poll: Timer | undefined

  constructor(options: NodeEngineOptions = {}) {
    this.#options = { ...nodeEngineDefaults, ...options }
    this.#packets = new NodePacketPath(this.#options)
  }

  start(): Promise<void> {
    if (!this.#isRunning) {
      this.#isRunning = true
      this.#pollInterfaces()
    }
    return Promise.resolve()
  }

  async close(): Promise<void> {
    this.#isRunning = false
    this.#poll?.cancel()
    for (const id of [...this.#endpoints.keys()]) this.closeEndpoint(id)
    this.#meters.clear()
    await Promise.all(this.#closing)
  }

  async openEndpoint(options: EndpointOptions, receiver: Receiver): Promise<Endpoint> {
    this.#requireRunning()
    const open = async (port: number): Promise<NodeEndpoint<NodeFlow>> => {
      const endpoint = new NodeEndpoint<NodeFlow>(
        this.#nextId() as EndpointId,
        options,
        receiver,
        this.#context(),
      )
      await endpoint.bind(port)
      return endpoint
    }
    const [endpoint, pair] =
      options.evenPair === true
        ? await bindPortPair(options.port, open)
        : ([await bindPort(options.port, open)] as const)
    if (pair !== undefined) endpoint.pair = pair
    for (const bound of [endpoint, pair]) if (bound !== undefined) this.#endpoints.set(bound.id, bound)
    if (!this.#isRunning) {
      await this.close()
      this.#requireRunning()
    }
    return endpoint
  }

  closeEndpoint(id: EndpointId): void {
    const endpoint = this.#endpoints.get(id)
    if (endpoint === undefined) return
    this.#endpoints.delete(id)
    for (const flow of [...endpoint.related.keys()]) this.removeFlow(flow)
    const closing: Promise<void> = endpoint.close().finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
  }

  addFlow(flow: Flow): FlowId {
    const from = this.#endpoint(flow.from.endpoint)
    const source: SourceKey = {
      address: canonicalAddress(flow.from.remote.address),
      port: flow.from.remote.port,
      match: flow.from.match,
      channel: flow.kind === 'turn-channel' && flow.header === 'strip' ? flow.channel : undefined,
    }
    checkFlow(flow, from.remote)
    const meters = flow.meters?.map((id) => this.#meter(id)) ?? []
    const target = flow.kind === 'deliver' ? undefined : this.#target(flow.to)
    const added = new NodeFlow(
      this.#nextId() as FlowId,
      flow,
      from,
      source,
      meters,
      target,
      this.#packets.onForwarded,
    )
    if (!from.flows.add(added)) {
      throw new DatapathError(
        'DATAPATH_FLOW_EXISTS',
        `endpoint ${from.id} has a flow from ${source.address} port ${source.port} with this match`,
      )
    }
    this.#flows.set(added.id, added)
    from.related.set(added.id, added)
    target?.endpoint.related.set(added.id, added)
    return added.id
  }

  aim(id: FlowId, remote: Remote, local?: number): void {
    const flow = this.#flow(id)
    if (flow.target === undefined) {
      throw new DatapathError('DATAPATH_INVALID', `flow ${id} is delivered, it has no target`)
    }
    flow.target = this.#target({
      endpoint: flow.target.endpoint.id,
      remote,
      ...(local === undefined ? {} : { local }),
    })
  }

  pause(id: FlowId, paused: boolean): void {
    this.#flow(id).isPaused = paused
  }

  removeFlow(id: FlowId): void {
    const flow = this.#flows.get(id)
    if (flow === undefined) return
    this.#flows.delete(id)
    flow.from.flows.remove(flow)
    flow.from.related.delete(id)
    flow.target?.endpoint.related.delete(id)
  }

  openMeter(options: MeterOptions): MeterId {
    const id = this.#nextId() as MeterId
    this.#meters.set(id, new Meter(options, this.#options.clock.nowMs()))
    return id
  }

  closeMeter(id: MeterId): void {
    const meter = this.#meters.get(id)
    if (meter === undefined) return
    this.#meters.delete(id)
    meter.close()
  }

  send(id: EndpointId, remote: Remote, bytes: Uint8Array, local?: number): boolean {
    const endpoint = this.#endpoint(id)
    if (endpoint.remote !== undefined && !isSameRemote(remote, endpoint.remote)) {
      throw new DatapathError('DATAPATH_INVALID', `endpoint ${id} sends to its own remote only`)
    }
    return this.#packets.send(endpoint, remote, bytes, local)
  }

  readCounters(flows: readonly FlowId[], into: Float64Array): void {
    if (into.length < flows.length * COUNTER_STRIDE) {
      throw new DatapathError(
        'DATAPATH_INVALID',
        `${flows.length} flows need ${flows.length * COUNTER_STRIDE} numbers, not ${into.length}`,
      )
    }
    let at = 0
    for (const id of flows) {
      const flow = this.#flows.get(id)
      into[at++] = flow?.packets ?? 0
      into[at++] = flow?.bytes ?? 0
      into[at++] = flow?.drops ?? 0
      into[at++] = flow?.lastSeenMs ?? 0
    }
  }

  totals(): DatapathTotals {
    return { ...this.#packets.totals(), endpoints: this.#endpoints.size, flows: this.#flows.size }
  }

  #pollInterfaces(): void {
    this.#poll = this.#options.clock.after(this.#options.interfacePollMs, () => {
      for (const endpoint of this.#endpoints.values()) {
        if (endpoint.isFollowingInterfaces) endpoint.refresh()
      }
      this.#pollInterfaces()
    })
  }

  #target(to: FlowTarget): NodeTarget {
    const endpoint = this.#endpoint(to.endpoint)
    const address = canonicalAddress(to.remote.address)
    checkRemotePort(to.remote.port)
    const { remote } = endpoint
    if (remote !== undefined && !isSameRemote(to.remote, remote)) {
      throw new DatapathError('DATAPATH_INVALID', `endpoint ${endpoint.id} sends to its own remote only`)
    }
    const socket = endpoint.socketFor(familyOf(address), to.local)
    // An address that went with its interface may come back; one that never was is misuse.
    if (socket === undefined && !(to.local !== undefined && endpoint.knowsLocal(to.local))) {
      throw new DatapathError(
        'DATAPATH_UNKNOWN_LOCAL',
        `endpoint ${endpoint.id} has no local address ${to.local ?? `of the family of ${address}`}`,
      )
    }
    return { endpoint, address, port: to.remote.port, local: to.local, socket, sendsUntilCheck: 0 }
  }

  #endpoint(id: EndpointId): NodeEndpoint<NodeFlow> {
    const endpoint = this.#endpoints.get(id)
    if (endpoint === undefined) throw new DatapathError('DATAPATH_UNKNOWN_ENDPOINT', `no endpoint ${id}`)
    return endpoint
  }

  #flow(id: FlowId): NodeFlow {
    const flow = this.#flows.get(id)
    if (flow === undefined) throw new DatapathError('DATAPATH_UNKNOWN_FLOW', `no flow ${id}`)
    return flow
  }

  #meter(id: MeterId): Meter {
    const meter = this.#meters.get(id)
    if (meter === undefined) throw new DatapathError('DATAPATH_UNKNOWN_METER', `no meter ${id}`)
    return meter
  }

  #requireRunning(): void {
    if (!this.#isRunning) throw new DatapathError('DATAPATH_NOT_RUNNING', 'the datapath is not running')
  }

  #context(): NodeEndpointContext<NodeFlow> {
    const nowMs = this.#options.clock.nowMs()
    return {
      listener: this.#packets,
      listInterfaces: this.#options.listInterfaces,
      maxSendQueueBytes: this.#options.maxSendQueueBytes,
      strangers: bucketOf(this.#options.strangersPerEndpoint, nowMs),
      known: bucketOf(this.#options.knownPerEndpoint, nowMs),
    }
  }

  #nextId(): number {
    return ++this.#lastId
  }
}
