import type { Timer } from '../../foundation/clock.ts'
import {
  type Arrival,
  COUNTER_STRIDE,
  type Datapath,
  type DatapathTotals,
  type DropReason,
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
  STRANGER,
} from './contract.ts'
import { type DatagramSocket, isIcmpError, type SendDone } from './datagram-socket.ts'
import { DatapathError } from './errors.ts'
import { checkFlow, isSameRemote } from './flow-checks.ts'
import type { SourceKey } from './flow-table.ts'
import { canonicalAddress, checkRemotePort, familyOf, isRemotePort } from './ip-address.ts'
import { Meter } from './meter.ts'
import { type EndpointListener, NodeEndpoint, type NodeEndpointContext } from './node-endpoint.ts'
import { type NodeEngineOptions, nodeEngineDefaults, type PacketBudget } from './node-engine-options.ts'
import { NodeFlow, type NodeTarget } from './node-flow.ts'
import { bindPort, bindPortPair } from './port-binder.ts'
import { TokenBucket } from './token-bucket.ts'

/**
 * The datapath on `node:dgram`: works on any platform, and is what the native engine is compared with. It
 * has no threads of its own: one socket per address whatever `threads` says. When the system begins to refuse
 * a flow's datagrams, up to fifteen of them are counted as forwarded before it is noticed.
 */
export class NodeDatapath implements Datapath, EndpointListener<NodeFlow> {
  readonly engine = 'node'
  readonly #options: Required<NodeEngineOptions>
  readonly #endpoints = new Map<EndpointId, NodeEndpoint<NodeFlow>>()
  readonly #flows = new Map<FlowId, NodeFlow>()
  readonly #meters = new Map<MeterId, Meter>()
  readonly #closing = new Set<Promise<void>>()
  readonly #strangers: TokenBucket
  readonly #known: TokenBucket
  readonly #arrival = new ReusedArrival()
  readonly #forwarded = { packets: 0, bytes: 0 }
  readonly #delivered = { packets: 0, bytes: 0 }
  readonly #sent = { packets: 0, bytes: 0 }
  readonly #dropped: Record<DropReason, number> = {
    stranger: 0,
    known: 0,
    meter: 0,
    paused: 0,
    queue: 0,
    error: 0,
    malformed: 0,
  }
  #lastId = 0
  #isRunning = false
  #poll: Timer | undefined

  constructor(options: NodeEngineOptions = {}) {
    this.#options = { ...nodeEngineDefaults, ...options }
    this.#strangers = this.#bucket(this.#options.strangers)
    this.#known = this.#bucket(this.#options.known)
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
      this.#onForwarded,
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
    const socket = endpoint.socketFor(familyOf(remote.address), local)
    if (socket === undefined || !isRemotePort(remote.port)) {
      this.#dropped.error++
      return false
    }
    // The system may keep the bytes until the socket can be written to.
    if (socket.send(Buffer.from(bytes), remote.port, remote.address, this.#onSent)) return true
    this.#dropped.queue++
    return false
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
    return {
      forwarded: { ...this.#forwarded },
      delivered: { ...this.#delivered },
      sent: { ...this.#sent },
      dropped: { ...this.#dropped },
      endpoints: this.#endpoints.size,
      flows: this.#flows.size,
    }
  }

  onDatagram(
    endpoint: NodeEndpoint<NodeFlow>,
    socket: DatagramSocket,
    bytes: Uint8Array,
    from: Remote,
  ): void {
    if (!socket.isOpen) return
    const nowMs = this.#options.clock.nowMs()
    const flow = endpoint.flows.find(from.address, from.port, bytes)
    if (flow === undefined) {
      this.#onUnclaimed(endpoint, socket, bytes, from, nowMs)
      return
    }
    flow.lastSeenMs = nowMs
    if (flow.isPaused) {
      this.#drop(flow, 'paused')
    } else if (flow.meters.length > 0 && !spend(flow.meters, bytes.length, nowMs)) {
      this.#drop(flow, 'meter')
    } else if (flow.target === undefined) {
      if (this.#deliver(endpoint, socket, flow.id, 'data', bytes, from, nowMs)) {
        flow.packets++
        flow.bytes += bytes.length
      } else {
        flow.drops++
      }
    } else if (flow.isChannel) {
      this.#onChannel(flow, flow.target, bytes)
    } else {
      this.#forward(flow, flow.target, bytes, bytes.length)
      if (flow.copiesStunRequests && bytes[0] === 0 && bytes[1] === 1) {
        this.#deliver(endpoint, socket, flow.id, 'data', bytes, from, nowMs)
      }
    }
  }

  onSocketError(endpoint: NodeEndpoint<NodeFlow>, socket: DatagramSocket, error: Error): void {
    if (!socket.isOpen) return
    const { remote } = endpoint
    if (remote === undefined || !isIcmpError(error)) {
      this.#dropped.error++
      return
    }
    const flow = endpoint.flows.plain(remote.address, remote.port)?.id ?? STRANGER
    this.#deliver(endpoint, socket, flow, 'icmp', noBytes, remote, this.#options.clock.nowMs())
  }

  #onUnclaimed(
    endpoint: NodeEndpoint<NodeFlow>,
    socket: DatagramSocket,
    bytes: Uint8Array,
    from: Remote,
    nowMs: number,
  ): void {
    const { remote } = endpoint
    const isForeign = remote !== undefined && (from.port !== remote.port || from.address !== remote.address)
    if (!isForeign && endpoint.isDeliver) {
      this.#deliver(endpoint, socket, STRANGER, 'data', bytes, from, nowMs)
    } else if (!isForeign && endpoint.strangers.has(1, nowMs) && this.#strangers.take(1, nowMs)) {
      endpoint.strangers.spend(1)
      this.#hand(endpoint, socket, STRANGER, 'data', bytes, from)
    } else {
      this.#dropped.stranger++
    }
  }

  /**
   * Learning whether one send worked costs a callback in a later tick, a tenth of the whole. A socket that is
   * not connected is refused for reasons that last (no route, a firewall), so only some sends are asked.
   */
  #forward(
    flow: NodeFlow,
    target: NodeTarget,
    bytes: Uint8Array | readonly Uint8Array[],
    length: number,
  ): void {
    let socket = target.socket
    if (socket === undefined || !socket.isOpen) {
      socket = target.endpoint.socketFor(familyOf(target.address), target.local)
      target.socket = socket
    }
    if (socket === undefined) {
      this.#drop(flow, 'error')
      return
    }
    const isChecked = socket.isConnected || target.sendsUntilCheck <= 0 || length > uncheckedMaxBytes
    if (!socket.send(bytes, target.port, target.address, isChecked ? flow.sent : undefined)) {
      this.#drop(flow, 'queue')
    } else if (!isChecked) {
      target.sendsUntilCheck--
      this.#countForwarded(flow, length)
    }
  }

  /** Adds or strips the header of ChannelData, RFC 8656 §12.4. */
  #onChannel(flow: NodeFlow, target: NodeTarget, bytes: Uint8Array): void {
    if (flow.source.channel === undefined) {
      const header = Buffer.allocUnsafe(channelHeaderBytes)
      header.writeUInt16BE(flow.channel, 0)
      header.writeUInt16BE(bytes.length, 2)
      this.#forward(flow, target, [header, bytes], channelHeaderBytes + bytes.length)
      return
    }
    const length = ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0)
    if (channelHeaderBytes + length > bytes.length) this.#drop(flow, 'malformed')
    else this.#forward(flow, target, bytes.subarray(channelHeaderBytes, channelHeaderBytes + length), length)
  }

  /** Hands over what a known peer sent, within the budget of the known. */
  #deliver(
    endpoint: NodeEndpoint<NodeFlow>,
    socket: DatagramSocket,
    flow: FlowId,
    kind: Arrival['kind'],
    bytes: Uint8Array,
    from: Remote,
    nowMs: number,
  ): boolean {
    if (!endpoint.known.has(1, nowMs) || !this.#known.take(1, nowMs)) {
      this.#dropped.known++
      return false
    }
    endpoint.known.spend(1)
    this.#hand(endpoint, socket, flow, kind, bytes, from)
    return true
  }

  #hand(
    endpoint: NodeEndpoint<NodeFlow>,
    socket: DatagramSocket,
    flow: FlowId,
    kind: Arrival['kind'],
    bytes: Uint8Array,
    from: Remote,
  ): void {
    this.#delivered.packets++
    this.#delivered.bytes += bytes.length
    const arrival = this.#arrival
    arrival.endpoint = endpoint.id
    arrival.flow = flow
    arrival.local = socket.local
    arrival.kind = kind
    arrival.bytes = bytes
    arrival.address = from.address
    arrival.port = from.port
    try {
      endpoint.receiver(arrival)
    } catch (error) {
      this.#options.onReceiverError(error)
    }
  }

  readonly #onForwarded = (flow: NodeFlow, error: Error | null, bytes: number): void => {
    if (flow.target !== undefined) flow.target.sendsUntilCheck = error === null ? checkEvery - 1 : 0
    if (error === null) this.#countForwarded(flow, bytes)
    else this.#drop(flow, 'error')
  }

  #countForwarded(flow: NodeFlow, bytes: number): void {
    flow.packets++
    flow.bytes += bytes
    this.#forwarded.packets++
    this.#forwarded.bytes += bytes
  }

  readonly #onSent: SendDone = (error, bytes) => {
    if (error !== null) {
      this.#dropped.error++
      return
    }
    this.#sent.packets++
    this.#sent.bytes += bytes
  }

  #drop(flow: NodeFlow, reason: DropReason): void {
    flow.drops++
    this.#dropped[reason]++
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
    return {
      listener: this,
      listInterfaces: this.#options.listInterfaces,
      maxSendQueueBytes: this.#options.maxSendQueueBytes,
      strangers: this.#bucket(this.#options.strangersPerEndpoint),
      known: this.#bucket(this.#options.knownPerEndpoint),
    }
  }

  #bucket(budget: PacketBudget): TokenBucket {
    return new TokenBucket(budget.packetsPerSecond, budget.burst, this.#options.clock.nowMs())
  }

  #nextId(): number {
    return ++this.#lastId
  }
}

const channelHeaderBytes = 4
/** One send in so many is asked whether it worked, and each one after a failure. */
const checkEvery = 16
/** Larger datagrams may be refused for their size. */
const uncheckedMaxBytes = 16_384
const noBytes = new Uint8Array(0)

/** One object for all arrivals: receivers may not keep it. */
class ReusedArrival implements Arrival {
  endpoint = 0 as EndpointId
  flow = STRANGER
  local = 0
  kind: Arrival['kind'] = 'data'
  bytes: Uint8Array = noBytes
  address = ''
  port = 0
}

function spend(meters: readonly Meter[], bytes: number, nowMs: number): boolean {
  for (const meter of meters) if (!meter.has(bytes, nowMs)) return false
  for (const meter of meters) meter.spend(bytes)
  return true
}
