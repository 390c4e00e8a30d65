import type { Timer } from '../../../foundation/clock.ts'
import {
  COUNTER_STRIDE,
  type Datapath,
  type DatapathFeature,
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
  type SendOptions,
} from '../contract.ts'
import { DatapathError } from '../errors.ts'
import type { BoundEndpoint, LocalSocket } from './bound-endpoint.ts'
import type { EngineOptions } from './engine-options.ts'
import { checkFlow, isSameRemote } from './flow-checks.ts'
import { canonicalAddress, checkRemotePort, type Family, familyOf, isRemotePort } from './ip-address.ts'
import type { InterfaceLister } from './local-addresses.ts'
import { checkMeter } from './meter-checks.ts'
import { bindPort, bindPortPair } from './port-binder.ts'

/** A flow's target that makes sense, its address canonical. */
export interface Target<E> {
  readonly endpoint: E
  readonly address: string
  readonly port: number
  readonly family: Family
  readonly local: number | undefined
}

/** What an engine is told of a flow that makes sense; the remote's address is canonical. */
export interface FlowRequest<E, M> {
  readonly id: FlowId
  readonly flow: Flow
  readonly from: E
  readonly remote: Remote
  readonly target: Target<E> | undefined
  readonly meters: readonly M[]
}

/** What is kept of a flow in every engine. */
export interface EngineFlow<E> {
  readonly from: E
  /** Where it leads, unless it is delivered. */
  readonly to: E | undefined
}

/**
 * The control side of a datapath, one for all engines, so that they cannot differ in what they take: names, checks, ports,
 * interfaces that come and go. An engine says what it can and does what is left: sockets, flows and meters.
 */
export abstract class DatapathControl<E extends BoundEndpoint<LocalSocket>, F extends EngineFlow<E>, M>
  implements Datapath
{
  abstract readonly engine: 'node' | 'native'
  abstract readonly features: ReadonlySet<DatapathFeature>
  protected readonly options: Required<EngineOptions>
  protected readonly endpoints: Map<EndpointId, E> = new Map()
  protected readonly flows: Map<FlowId, F> = new Map()
  readonly #meters = new Map<MeterId, M>()
  /** Those on a wildcard. */
  readonly #following = new Set<E>()
  /** Endpoints that are being opened and closed. */
  readonly #pending = new Set<Promise<unknown>>()
  #lastId = 0
  #isRunning = false
  #poll: Timer | undefined

  constructor(options: Required<EngineOptions>) {
    this.options = options
  }

  /** Before anything else is asked of the engine. */
  protected abstract startEngine(): void
  /** After all endpoints were closed. */
  protected abstract closeEngine(): void
  /** Binds the socket of `bindTcp`, to an address that is canonical. @throws DATAPATH_UNSUPPORTED without `tcp-reuse` */
  protected abstract bindSharedTcp(where: Remote): number
  protected abstract createEndpoint(id: EndpointId, options: EndpointOptions, receiver: Receiver): E
  /** Undefined when another flow has the same source. */
  protected abstract createFlow(request: FlowRequest<E, M>): F | undefined
  protected abstract aimFlow(id: FlowId, flow: F, target: Target<E>): void
  protected abstract pauseFlow(id: FlowId, flow: F, paused: boolean): void
  protected abstract deleteFlow(id: FlowId, flow: F): void
  protected abstract createMeter(id: MeterId, options: MeterOptions): M
  protected abstract deleteMeter(id: MeterId, meter: M): void
  /** False when the meter refuses so many bytes. */
  protected abstract chargeMeter(meter: M, bytes: number): boolean
  /** False when the datagram was dropped. The remote's address may not be canonical. */
  protected abstract sendDatagram(
    endpoint: E,
    remote: Remote,
    bytes: Uint8Array,
    options: SendOptions,
  ): boolean
  /** Counts a datagram that nothing can lead anywhere. */
  protected abstract countUnsendable(): void
  protected abstract readFlows(flows: readonly FlowId[], into: Float64Array): void
  protected abstract packetTotals(): Omit<DatapathTotals, 'endpoints' | 'flows'>

  start(): Promise<void> {
    if (!this.#isRunning) {
      this.startEngine()
      this.#isRunning = true
      this.#pollInterfaces()
    }
    return Promise.resolve()
  }

  async close(): Promise<void> {
    const wasRunning = this.#isRunning
    this.#isRunning = false
    this.#poll?.cancel()
    for (const id of [...this.endpoints.keys()]) this.closeEndpoint(id)
    this.#meters.clear()
    // What does not open tells its caller.
    await Promise.allSettled(this.#pending)
    if (wasRunning) this.closeEngine()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  openEndpoint(options: EndpointOptions, receiver: Receiver): Promise<Endpoint> {
    const opening: Promise<Endpoint> = this.#open(options, receiver).finally(() =>
      this.#pending.delete(opening),
    )
    this.#pending.add(opening)
    return opening
  }

  closeEndpoint(id: EndpointId): void {
    const endpoint = this.endpoints.get(id)
    if (endpoint === undefined) return
    this.endpoints.delete(id)
    this.#following.delete(endpoint)
    for (const flow of endpoint.related.keys()) this.removeFlow(flow)
    const closing: Promise<void> = endpoint.close().finally(() => this.#pending.delete(closing))
    this.#pending.add(closing)
  }

  bindTcp(address: string, port: number): number {
    this.#requireRunning()
    if (port !== 0) checkRemotePort(port)
    return this.bindSharedTcp({ address: canonicalAddress(address), port })
  }

  addFlow(flow: Flow): FlowId {
    const from = this.#endpoint(flow.from.endpoint)
    const address = canonicalAddress(flow.from.remote.address)
    checkFlow(flow, from)
    const { local } = flow.from
    if (local !== undefined && !from.knowsLocal(familyOf(address), local))
      throw unknownLocal(from, local, address)
    // One that is named twice is charged once.
    const meters = [...new Set(flow.meters)].map((id) => this.#meter(id))
    const target = flow.kind === 'deliver' ? undefined : this.#target(flow.to)
    const id = this.#nextId() as FlowId
    const remote = { address, port: flow.from.remote.port }
    const added = this.createFlow({ id, flow, from, remote, target, meters })
    if (added === undefined) {
      throw new DatapathError(
        'DATAPATH_FLOW_EXISTS',
        `endpoint ${from.id} has a flow from ${address} port ${remote.port} with this match`,
      )
    }
    this.flows.set(id, added)
    from.related.set(id, true)
    target?.endpoint.related.set(id, true)
    return id
  }

  aim(id: FlowId, remote: Remote, local?: number): void {
    const flow = this.#flow(id)
    if (flow.to === undefined) {
      throw new DatapathError('DATAPATH_INVALID', `flow ${id} is delivered, it has no target`)
    }
    const to = { endpoint: flow.to.id, remote, ...(local === undefined ? {} : { local }) }
    this.aimFlow(id, flow, this.#target(to))
  }

  pause(id: FlowId, paused: boolean): void {
    this.pauseFlow(id, this.#flow(id), paused)
  }

  removeFlow(id: FlowId): void {
    const flow = this.flows.get(id)
    if (flow === undefined) return
    this.flows.delete(id)
    flow.from.related.delete(id)
    flow.to?.related.delete(id)
    this.deleteFlow(id, flow)
  }

  openMeter(options: MeterOptions): MeterId {
    this.#requireRunning()
    checkMeter(options)
    const id = this.#nextId() as MeterId
    this.#meters.set(id, this.createMeter(id, options))
    return id
  }

  closeMeter(id: MeterId): void {
    const meter = this.#meters.get(id)
    if (meter === undefined) return
    this.#meters.delete(id)
    this.deleteMeter(id, meter)
  }

  charge(id: MeterId, bytes: number): boolean {
    const meter = this.#meter(id)
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new DatapathError('DATAPATH_INVALID', `bytes ${bytes}: must be 0 or more`)
    }
    return this.chargeMeter(meter, bytes)
  }

  send(id: EndpointId, remote: Remote, bytes: Uint8Array, options: SendOptions = {}): boolean {
    const endpoint = this.#endpoint(id)
    if (endpoint.remote !== undefined && !isSameRemote(remote, endpoint.remote)) {
      throw new DatapathError('DATAPATH_INVALID', `endpoint ${id} sends to its own remote only`)
    }
    if (options.dontFragment === true) this.#require('dont-fragment')
    if (
      !isRemotePort(remote.port) ||
      endpoint.socketFor(familyOf(remote.address), options.local) === undefined
    ) {
      this.countUnsendable()
      return false
    }
    return this.sendDatagram(endpoint, remote, bytes, options)
  }

  readCounters(flows: readonly FlowId[], into: Float64Array): void {
    const needed = flows.length * COUNTER_STRIDE
    if (into.length < needed) {
      throw new DatapathError(
        'DATAPATH_INVALID',
        `${flows.length} flows need ${needed} numbers, not ${into.length}`,
      )
    }
    this.readFlows(flows, into)
  }

  totals(): DatapathTotals {
    return { ...this.packetTotals(), endpoints: this.endpoints.size, flows: this.flows.size }
  }

  async #open(options: EndpointOptions, receiver: Receiver): Promise<Endpoint> {
    this.#requireRunning()
    this.#requireFeatures(options)
    const open = async (port: number): Promise<E> => {
      const endpoint = this.createEndpoint(this.#nextId() as EndpointId, options, receiver)
      await endpoint.bind(port, this.options.listInterfaces)
      return endpoint
    }
    const [endpoint, pair] =
      options.evenPair === true
        ? await bindPortPair(options.port, open)
        : ([await bindPort(options.port, open)] as const)
    const opened = pair === undefined ? [endpoint] : [endpoint, pair]
    if (!this.#isRunning) {
      await Promise.all(opened.map((one) => one.close()))
      throw notRunning()
    }
    if (pair !== undefined) endpoint.pair = pair
    for (const one of opened) {
      this.endpoints.set(one.id, one)
      if (one.isFollowingInterfaces) this.#following.add(one)
    }
    return endpoint
  }

  #pollInterfaces(): void {
    this.#poll = this.options.clock.after(this.options.interfacePollMs, () => {
      this.#followInterfaces()
      this.#pollInterfaces()
    })
  }

  #followInterfaces(): void {
    if (this.#following.size === 0) return
    let listed: ReturnType<InterfaceLister>
    try {
      listed = this.options.listInterfaces()
    } catch {
      // The system did not list its interfaces; it is asked again at the next poll.
      return
    }
    for (const endpoint of this.#following) endpoint.refresh(() => listed)
  }

  #target(to: FlowTarget): Target<E> {
    const endpoint = this.#endpoint(to.endpoint)
    const address = canonicalAddress(to.remote.address)
    const family = familyOf(address)
    checkRemotePort(to.remote.port)
    const { remote } = endpoint
    if (remote !== undefined && !isSameRemote(to.remote, remote)) {
      throw new DatapathError('DATAPATH_INVALID', `endpoint ${endpoint.id} sends to its own remote only`)
    }
    // An address that went with its interface may come back; one that never was is misuse.
    const isThere = endpoint.socketFor(family, to.local) !== undefined
    if (!isThere && !(to.local !== undefined && endpoint.knowsLocal(family, to.local))) {
      throw unknownLocal(endpoint, to.local, address)
    }
    return { endpoint, address, port: to.remote.port, family, local: to.local }
  }

  #endpoint(id: EndpointId): E {
    const endpoint = this.endpoints.get(id)
    if (endpoint === undefined) throw new DatapathError('DATAPATH_UNKNOWN_ENDPOINT', `no endpoint ${id}`)
    return endpoint
  }

  #flow(id: FlowId): F {
    const flow = this.flows.get(id)
    if (flow === undefined) throw new DatapathError('DATAPATH_UNKNOWN_FLOW', `no flow ${id}`)
    return flow
  }

  #meter(id: MeterId): M {
    const meter = this.#meters.get(id)
    if (meter === undefined) throw new DatapathError('DATAPATH_UNKNOWN_METER', `no meter ${id}`)
    return meter
  }

  #requireFeatures(options: EndpointOptions): void {
    if (options.dscp !== undefined) this.#require('dscp')
    if (options.icmpErrors === true) this.#require('icmp-errors')
  }

  #require(feature: DatapathFeature): void {
    if (this.features.has(feature)) return
    throw new DatapathError('DATAPATH_UNSUPPORTED', `engine-${this.engine} has no ${feature}`)
  }

  #requireRunning(): void {
    if (!this.#isRunning) throw notRunning()
  }

  #nextId(): number {
    return ++this.#lastId
  }
}

function unknownLocal(endpoint: Endpoint, local: number | undefined, address: string): DatapathError {
  return new DatapathError(
    'DATAPATH_UNKNOWN_LOCAL',
    `endpoint ${endpoint.id} has no local address ${local ?? ''} of the family of ${address}`,
  )
}

function notRunning(): DatapathError {
  return new DatapathError('DATAPATH_NOT_RUNNING', 'the datapath is not running')
}
