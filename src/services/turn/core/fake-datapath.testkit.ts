import type { Clock } from '../../../foundation/clock.ts'
import {
  type Arrival,
  canonicalAddress,
  COUNTER_STRIDE,
  type Datapath,
  DatapathError,
  type DatapathFeature,
  type DatapathTotals,
  type DeliverFlow,
  type Endpoint,
  type EndpointId,
  type EndpointOptions,
  type Flow,
  type FlowId,
  type FlowTarget,
  type IcmpError,
  type LocalAddress,
  type MeterId,
  type MeterOptions,
  type Receiver,
  type Remote,
  type SendOptions,
  STRANGER,
  type TurnChannelFlow,
  type TurnIndicationFlow,
} from '../../../mechanisms/datapath/index.ts'
import {
  decodeXorAddress,
  isComprehensionRequired,
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
  StunWriter,
} from '../../../protocols/stun/index.ts'

export interface FakeDatapathOptions {
  readonly clock: Clock
  readonly features?: readonly DatapathFeature[]
  /** What wildcards stand for. */
  readonly interfaces?: readonly string[]
}

/** An endpoint of the fake, open. */
export interface FakeEndpoint extends Endpoint {
  readonly options: EndpointOptions
  readonly receiver: Receiver
}

/** A flow of the fake, with what it has carried. */
export interface FakeFlow {
  readonly id: FlowId
  readonly flow: Flow
  isPaused: boolean
  packets: number
  bytes: number
  drops: number
  framing: number
}

/** A datagram that left an endpoint. */
export interface SentDatagram {
  readonly from: Remote
  readonly to: Remote
  readonly bytes: Buffer
  readonly dontFragment: boolean
}

/**
 * A datapath in memory whose flows and meters work: what is received goes through flows or to the receiver, what is sent goes to
 * the endpoint bound there, or to who listens in `peers`. Refuses the misuse that engines refuse.
 */
export class FakeDatapath implements Datapath {
  readonly engine = 'native'
  readonly features: ReadonlySet<DatapathFeature>
  readonly interfaces: readonly string[]
  readonly endpoints: Map<EndpointId, FakeEndpoint> = new Map()
  readonly flows: Map<FlowId, FakeFlow> = new Map()
  readonly meters: Map<MeterId, FakeMeter> = new Map()
  /** All that has left, whoever took it. */
  readonly sent: SentDatagram[] = []
  /** Takes what is sent to `address port`. */
  readonly peers: Map<string, (datagram: SentDatagram) => void> = new Map()
  /** Called before an endpoint opens: throws what opening shall fail with, or gives what it shall wait for. */
  onOpen: (options: EndpointOptions) => void | Promise<void> = () => undefined
  /** Whether a datagram is refused, as by a full queue. */
  refuses: (to: Remote) => boolean = () => false
  lastId = 0
  readonly #clock: Clock
  readonly #queue: SentDatagram[] = []
  #isBusy = false

  constructor({ clock, features = [], interfaces = ['198.51.100.1', '2001:db8:f::1'] }: FakeDatapathOptions) {
    this.#clock = clock
    this.features = new Set(features)
    this.interfaces = interfaces
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  close(): Promise<void> {
    for (const id of [...this.endpoints.keys()]) this.closeEndpoint(id)
    this.meters.clear()
    return Promise.resolve()
  }

  async openEndpoint(options: EndpointOptions, receiver: Receiver): Promise<Endpoint> {
    const opening = this.onOpen(options)
    if (opening !== undefined) await opening
    if (options.icmpErrors === true) this.#require('icmp-errors')
    const port = typeof options.port === 'number' ? options.port : options.port.from
    if (options.evenPair !== true) return this.#open(port === 0 ? this.#freePort() : port, options, receiver)
    const pair = this.#open(port + 1, options, receiver)
    try {
      return this.#open(port, options, receiver, pair)
    } catch (error) {
      this.closeEndpoint(pair.id)
      throw error
    }
  }

  closeEndpoint(id: EndpointId): void {
    this.endpoints.delete(id)
    for (const { id: flowId, flow } of [...this.flows.values()]) {
      if (flow.from.endpoint === id || (flow.kind !== 'deliver' && flow.to.endpoint === id)) {
        this.flows.delete(flowId)
      }
    }
  }

  bindTcp(): number {
    throw new DatapathError('DATAPATH_UNSUPPORTED', 'the fake has no tcp-reuse')
  }

  addFlow(flow: Flow): FlowId {
    const { options, locals } = this.#endpoint(flow.from.endpoint)
    if ((options.separateLocals === true) !== (flow.from.local !== undefined)) {
      throw new DatapathError('DATAPATH_INVALID', 'local')
    }
    if (flow.from.local !== undefined && !locals.some(({ local }) => local === flow.from.local)) {
      throw new DatapathError('DATAPATH_UNKNOWN_LOCAL', 'from')
    }
    if ((flow.meters?.length ?? 0) > 3) throw new DatapathError('DATAPATH_TOO_MANY_METERS', 'meters')
    for (const meter of flow.meters ?? []) this.#meter(meter)
    if (flow.kind !== 'deliver') this.#localOf(flow.to)
    const key = sourceKey(flow)
    for (const other of this.flows.values()) {
      if (sourceKey(other.flow) === key) throw new DatapathError('DATAPATH_FLOW_EXISTS', key)
    }
    const id = ++this.lastId as FlowId
    this.flows.set(id, { id, flow, isPaused: false, packets: 0, bytes: 0, drops: 0, framing: 0 })
    return id
  }

  aim(): void {
    throw new DatapathError('DATAPATH_UNSUPPORTED', 'the fake aims nothing')
  }

  pause(id: FlowId, paused: boolean): void {
    const flow = this.flows.get(id)
    if (flow === undefined) throw new DatapathError('DATAPATH_UNKNOWN_FLOW', `${id}`)
    flow.isPaused = paused
  }

  removeFlow(id: FlowId): void {
    this.flows.delete(id)
  }

  openMeter(options: MeterOptions): MeterId {
    const id = ++this.lastId as MeterId
    this.meters.set(id, new FakeMeter(options, this.#clock))
    return id
  }

  closeMeter(id: MeterId): void {
    this.meters.delete(id)
  }

  charge(id: MeterId, bytes: number): boolean {
    return chargeAll([this.#meter(id)], bytes)
  }

  send(id: EndpointId, remote: Remote, bytes: Uint8Array, options: SendOptions = {}): boolean {
    const endpoint = this.#endpoint(id)
    if (options.dontFragment === true) this.#require('dont-fragment')
    const isIpv6 = remote.address.includes(':')
    const from =
      options.local === undefined
        ? endpoint.locals.find(({ address }) => address.includes(':') === isIpv6)
        : endpoint.locals.find(({ local }) => local === options.local)
    if (from === undefined || remote.port < 1 || this.refuses(remote)) return false
    if (bytes.length > mostBytes(remote)) return false
    this.#emit(from, remote, bytes, options.dontFragment === true)
    return true
  }

  readCounters(flows: readonly FlowId[], into: Float64Array): void {
    for (const [index, id] of flows.entries()) {
      const flow = this.flows.get(id)
      const { packets = 0, bytes = 0, drops = 0, framing = 0 } = flow ?? {}
      into.set([packets, bytes, drops, 0, framing], index * COUNTER_STRIDE)
    }
  }

  totals(): DatapathTotals {
    throw new DatapathError('DATAPATH_UNSUPPORTED', 'the fake keeps no totals')
  }

  /** Lets endpoints wait until what this gives is called. */
  holdOpening(): () => void {
    let open = (): void => undefined
    const opening = new Promise<void>((resolve) => {
      open = resolve
    })
    this.onOpen = () => opening
    return () => open()
  }

  /** A datagram comes to an endpoint. */
  receive(endpoint: EndpointId, from: Remote, bytes: Uint8Array, local = 0): void {
    this.#input(() => this.#take(this.#endpoint(endpoint), from, bytes, local))
  }

  /** What was sent to a remote comes back as an ICMP error. */
  receiveIcmp(endpoint: EndpointId, about: Remote, icmp: IcmpError): void {
    const target = this.#endpoint(endpoint)
    const flow = this.#find(target, about, 0, new Uint8Array(0))
    this.#input(() =>
      target.receiver(arrivalOf(target.id, flow?.id ?? STRANGER, 0, about, new Uint8Array(0), icmp)),
    )
  }

  /** The endpoint that is bound there. */
  endpointAt(address: string, port: number): FakeEndpoint | undefined {
    for (const endpoint of this.endpoints.values()) {
      if (endpoint.port === port && endpoint.locals.some((local) => local.address === address))
        return endpoint
    }
    return undefined
  }

  #freePort(): number {
    const taken = new Set([...this.endpoints.values()].map(({ port }) => port))
    let port = 3478
    while (taken.has(port)) port++
    return port
  }

  #open(port: number, options: EndpointOptions, receiver: Receiver, pair?: Endpoint): Endpoint {
    const addresses = [
      ...new Set(
        options.addresses.flatMap((address) =>
          address === '0.0.0.0'
            ? this.interfaces.filter((one) => !one.includes(':'))
            : address === '::'
              ? this.interfaces.filter((one) => one.includes(':'))
              : [address],
        ),
      ),
    ].slice(0, options.remote === undefined ? undefined : 1)
    for (const address of addresses) {
      if (this.endpointAt(address, port) !== undefined) {
        throw new DatapathError('DATAPATH_PORT_TAKEN', `${address} ${port}`)
      }
    }
    const endpoint: FakeEndpoint = {
      id: ++this.lastId as EndpointId,
      port,
      locals: addresses.map((address, local): LocalAddress => ({ address, port, local })),
      receiveBufferBytes: options.receiveBufferBytes ?? 0,
      options,
      receiver,
      ...(pair !== undefined && { pair }),
    }
    this.endpoints.set(endpoint.id, endpoint)
    return endpoint
  }

  #take(endpoint: FakeEndpoint, from: Remote, bytes: Uint8Array, local: number): void {
    const { remote } = endpoint.options
    if (remote !== undefined && (remote.address !== from.address || remote.port !== from.port)) return
    const found = this.#find(endpoint, from, local, bytes)
    if (found === undefined) {
      endpoint.receiver(arrivalOf(endpoint.id, STRANGER, local, from, bytes))
      return
    }
    const { flow } = found
    const meters = (flow.meters ?? []).flatMap((id) => this.meters.get(id) ?? [])
    if (found.isPaused || !chargeAll(meters, bytes.length)) {
      found.drops++
      return
    }
    if (flow.kind === 'deliver') {
      found.packets++
      found.bytes += bytes.length
      endpoint.receiver(arrivalOf(endpoint.id, found.id, local, from, bytes))
      return
    }
    const passed = this.#passed(flow, bytes)
    if (passed === undefined || passed.length > mostBytes(flow.to.remote)) {
      found.drops++
      return
    }
    found.packets++
    found.bytes += passed.length
    found.framing += Math.abs(passed.length - bytes.length)
    this.#emit(this.#localOf(flow.to), flow.to.remote, passed, false)
  }

  /** What a flow makes of a datagram. */
  #passed(flow: Exclude<Flow, DeliverFlow>, bytes: Uint8Array): Uint8Array | undefined {
    if (flow.kind === 'forward') return bytes
    return flow.header === 'add' ? withHeader(flow, bytes, ++this.lastId) : withoutHeader(flow, bytes)
  }

  #find(endpoint: FakeEndpoint, from: Remote, local: number, bytes: Uint8Array): FakeFlow | undefined {
    let plain: FakeFlow | undefined
    for (const candidate of this.flows.values()) {
      const { flow } = candidate
      const { remote } = flow.from
      if (flow.from.endpoint !== endpoint.id || remote.port !== from.port) continue
      if (canonicalAddress(remote.address) !== canonicalAddress(from.address)) continue
      if (flow.from.local !== undefined && flow.from.local !== local) continue
      if (flow.from.match !== undefined) {
        if (hasMatch(flow.from.match, bytes)) return candidate
        continue
      }
      if (flow.kind === 'turn-indication' && flow.header === 'strip') {
        if (dataOf(flow.peer, bytes) !== undefined) return candidate
      } else if (flow.kind !== 'turn-channel' || flow.header === 'add') plain = candidate
      else if (bytes.length >= 4 && ((bytes[0] ?? 0) << 8) + (bytes[1] ?? 0) === flow.channel)
        return candidate
    }
    return plain
  }

  #emit(from: LocalAddress, to: Remote, bytes: Uint8Array, dontFragment: boolean): void {
    this.#queue.push({
      from: { address: from.address, port: from.port },
      to: { address: to.address, port: to.port },
      bytes: Buffer.from(bytes),
      dontFragment,
    })
    this.#input(() => undefined)
  }

  /** What comes of an input goes on only when that is done with, as in an engine. */
  #input(act: () => void): void {
    if (this.#isBusy) return act()
    this.#isBusy = true
    try {
      act()
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#route(next)
    } finally {
      this.#isBusy = false
    }
  }

  #route(datagram: SentDatagram): void {
    this.sent.push(datagram)
    const { address, port } = datagram.to
    const endpoint = this.endpointAt(address, port)
    const local = endpoint?.locals.find((one) => one.address === address)
    if (endpoint !== undefined && local !== undefined) {
      this.#take(endpoint, datagram.from, datagram.bytes, local.local)
    } else this.peers.get(`${address} ${port}`)?.(datagram)
  }

  #localOf({ endpoint, remote, local }: FlowTarget): LocalAddress {
    const isIpv6 = canonicalAddress(remote.address).includes(':')
    const found = this.#endpoint(endpoint).locals.find(
      (one) => one.address.includes(':') === isIpv6 && (local === undefined || one.local === local),
    )
    if (found === undefined) throw new DatapathError('DATAPATH_UNKNOWN_LOCAL', remote.address)
    return found
  }

  #endpoint(id: EndpointId): FakeEndpoint {
    const endpoint = this.endpoints.get(id)
    if (endpoint === undefined) throw new DatapathError('DATAPATH_UNKNOWN_ENDPOINT', `${id}`)
    return endpoint
  }

  #meter(id: MeterId): FakeMeter {
    const meter = this.meters.get(id)
    if (meter === undefined) throw new DatapathError('DATAPATH_UNKNOWN_METER', `${id}`)
    return meter
  }

  #require(feature: DatapathFeature): void {
    if (!this.features.has(feature)) throw new DatapathError('DATAPATH_UNSUPPORTED', feature)
  }
}

/** A token bucket that holds one second's worth. */
export class FakeMeter {
  readonly options: MeterOptions
  readonly #clock: Clock
  #bytes: number
  #packets: number
  #filledMs: number

  constructor(options: MeterOptions, clock: Clock) {
    this.options = options
    this.#clock = clock
    this.#bytes = options.bytesPerSecond ?? Infinity
    this.#packets = options.packetsPerSecond ?? Infinity
    this.#filledMs = clock.nowMs()
  }

  has(bytes: number): boolean {
    const { bytesPerSecond = Infinity, packetsPerSecond = Infinity } = this.options
    const seconds = (this.#clock.nowMs() - this.#filledMs) / 1000
    this.#filledMs = this.#clock.nowMs()
    if (seconds > 0) {
      this.#bytes = Math.min(bytesPerSecond, this.#bytes + seconds * bytesPerSecond)
      this.#packets = Math.min(packetsPerSecond, this.#packets + seconds * packetsPerSecond)
    }
    return this.#bytes >= bytes && this.#packets >= 1
  }

  spend(bytes: number): void {
    this.#bytes -= bytes
    this.#packets--
  }
}

function chargeAll(meters: readonly FakeMeter[], bytes: number): boolean {
  if (!meters.every((meter) => meter.has(bytes))) return false
  for (const meter of meters) meter.spend(bytes)
  return true
}

function sourceKey(flow: Flow): string {
  const { endpoint, remote, local, match: given } = flow.from
  const match =
    given !== undefined
      ? `at ${given.offset} ${given.value}`
      : (flow.kind !== 'turn-channel' && flow.kind !== 'turn-indication') || flow.header === 'add'
        ? ''
        : flow.kind === 'turn-channel'
          ? flow.channel
          : `${canonicalAddress(flow.peer.address)} ${flow.peer.port}`
  return `${endpoint} ${local ?? ''} ${canonicalAddress(remote.address)} ${remote.port} ${match}`
}

function hasMatch({ offset, value }: NonNullable<Flow['from']['match']>, bytes: Uint8Array): boolean {
  return bytes.length >= offset + 4 && Buffer.from(bytes).readUInt32BE(offset) === value
}

function arrivalOf(
  endpoint: EndpointId,
  flow: FlowId,
  local: number,
  { address, port }: Remote,
  bytes: Uint8Array,
  icmp?: IcmpError,
): Arrival {
  return { endpoint, flow, local, address, port, bytes, icmp, kind: icmp === undefined ? 'data' : 'icmp' }
}

/** What a datagram carries. */
function mostBytes({ address }: Remote): number {
  return address.includes(':') ? 65_527 : 65_507
}

function withHeader(
  flow: TurnChannelFlow | TurnIndicationFlow,
  bytes: Uint8Array,
  transaction: number,
): Buffer | undefined {
  if (flow.kind === 'turn-indication') {
    // A STUN message has no room for more beside an IPv6 address.
    if (bytes.length > 65_504) return undefined
    const id = Buffer.alloc(12)
    id.writeUInt32BE(transaction, 8)
    return new StunWriter(StunMethod.data, StunClass.indication, id)
      .xorAddress(StunAttribute.xorPeerAddress, flow.peer)
      .attribute(StunAttribute.data, bytes)
      .finish()
  }
  const header = Buffer.alloc(4)
  header.writeUInt16BE(flow.channel, 0)
  header.writeUInt16BE(bytes.length, 2)
  return Buffer.concat([header, bytes])
}

/** The data of a Send indication to this peer that says nothing else. */
function dataOf(peer: Remote, bytes: Uint8Array): Uint8Array | undefined {
  const message = StunMessage.decode(bytes)
  if (typeof message === 'string' || message.method !== StunMethod.send) return undefined
  if (message.class !== StunClass.indication) return undefined
  const required = [...message.attributes()].filter(({ type }) => isComprehensionRequired(type))
  const address = message.attribute(StunAttribute.xorPeerAddress)
  const data = message.attribute(StunAttribute.data)
  if (required.length !== 2 || address === undefined) return undefined
  const named = decodeXorAddress(address, message.transactionId)
  return named?.address === peer.address && named.port === peer.port ? data : undefined
}

function withoutHeader(
  flow: TurnChannelFlow | TurnIndicationFlow,
  bytes: Uint8Array,
): Uint8Array | undefined {
  if (flow.kind === 'turn-indication') return dataOf(flow.peer, bytes)
  const length = ((bytes[2] ?? 0) << 8) + (bytes[3] ?? 0)
  return 4 + length > bytes.length ? undefined : bytes.subarray(4, 4 + length)
}
