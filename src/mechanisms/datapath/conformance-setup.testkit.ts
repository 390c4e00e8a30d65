import { afterEach, beforeEach } from 'vitest'
import {
  type Arrival,
  COUNTER_STRIDE,
  type Datapath,
  type Endpoint,
  type EndpointOptions,
  type FlowId,
  type Receiver,
} from './contract.ts'
import { BurstPeer } from './burst-peer.testkit.ts'
import { loadAddon } from './engine-native/addon.ts'
import type { EngineOptions } from './control/engine-options.ts'
import { UdpPeer, until } from './udp-peer.testkit.ts'

/** An arrival as it was during the call. */
export type KeptArrival = Arrival & { readonly text: string }

/** What the suite is about. */
export interface Subject {
  readonly name: string
  /** A fresh engine, not started. */
  readonly create: (options: EngineOptions) => Datapath
  /** How its endpoints differ from the default. */
  readonly endpoints?: Partial<EndpointOptions>
}

/** One engine per test, with the peers and endpoints that the test opens; all closed after it. */
export class DatapathFixture {
  engine!: Datapath
  readonly arrivals: KeptArrival[] = []
  readonly #peers: (UdpPeer | BurstPeer)[] = []
  readonly #subject: Subject

  constructor(subject: Subject, options: EngineOptions = {}) {
    this.#subject = subject
    beforeEach(async () => {
      this.arrivals.length = 0
      this.engine = subject.create(options)
      await this.engine.start()
    })
    afterEach(async () => {
      await Promise.all(this.#peers.splice(0).map((peer) => peer.close()))
      await this.engine.close()
    })
  }

  /** Keeps what arrives for `nextArrival`. */
  readonly keep: Receiver = (arrival) => {
    const bytes = Buffer.from(arrival.bytes)
    const { endpoint, flow, local, kind, icmp, address, port } = arrival
    const text = bytes.toString('latin1')
    this.arrivals.push({ endpoint, flow, local, kind, icmp, address, port, bytes, text })
  }

  open(options: Partial<EndpointOptions> = {}, receiver: Receiver = this.keep): Promise<Endpoint> {
    const base = { addresses: ['127.0.0.1'], port: 0, ...this.#subject.endpoints }
    return this.engine.openEndpoint({ ...base, ...options }, receiver)
  }

  async peer(address?: string, port?: number): Promise<UdpPeer> {
    const peer = await UdpPeer.open(address, port)
    this.#peers.push(peer)
    return peer
  }

  /** A peer that sends many at once where that can be had, else one that sends them one after the other. */
  async burstPeer(): Promise<UdpPeer | BurstPeer> {
    const loaded = loadAddon()
    if (!('addon' in loaded)) return await this.peer()
    const peer = await BurstPeer.open(loaded.addon)
    this.#peers.push(peer)
    return peer
  }

  async nextArrival(): Promise<KeptArrival> {
    await until(() => this.arrivals.length > 0, 'an arrival')
    return this.arrivals.shift() as KeptArrival
  }

  counters(flow: FlowId): {
    packets: number
    bytes: number
    drops: number
    lastSeenMs: number
    framing: number
  } {
    const into = new Float64Array(COUNTER_STRIDE)
    this.engine.readCounters([flow], into)
    const [packets = 0, bytes = 0, drops = 0, lastSeenMs = 0, framing = 0] = into
    return { packets, bytes, drops, lastSeenMs, framing }
  }

  /** A flow between two peers through two endpoints: `client` to `origin`. */
  async forward(): Promise<{
    readonly client: UdpPeer
    readonly origin: UdpPeer
    readonly edge: Endpoint
    readonly inner: Endpoint
    readonly flow: FlowId
  }> {
    const [client, origin] = [await this.peer(), await this.peer()]
    const [edge, inner] = [await this.open(), await this.open()]
    const flow = this.engine.addFlow({
      kind: 'forward',
      from: { endpoint: edge.id, remote: client },
      to: { endpoint: inner.id, remote: origin },
    })
    return { client, origin, edge, inner, flow }
  }
}

/** Where a peer reaches an endpoint. */
export function at(endpoint: Endpoint, address = '127.0.0.1'): { address: string; port: number } {
  return { address, port: endpoint.port }
}
