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
import { UdpPeer, until } from './udp-peer.testkit.ts'

/** An arrival as it was during the call. */
export type KeptArrival = Arrival & { readonly text: string }

/** One engine per test, with the peers and endpoints that the test opens; all closed after it. */
export class DatapathFixture {
  engine!: Datapath
  readonly arrivals: KeptArrival[] = []
  readonly #peers: UdpPeer[] = []

  constructor(createEngine: () => Datapath) {
    beforeEach(async () => {
      this.arrivals.length = 0
      this.engine = createEngine()
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
    return this.engine.openEndpoint({ addresses: ['127.0.0.1'], port: 0, ...options }, receiver)
  }

  async peer(address?: string, port?: number): Promise<UdpPeer> {
    const peer = await UdpPeer.open(address, port)
    this.#peers.push(peer)
    return peer
  }

  async nextArrival(): Promise<KeptArrival> {
    await until(() => this.arrivals.length > 0, 'an arrival')
    return this.arrivals.shift() as KeptArrival
  }

  counters(flow: FlowId): { packets: number; bytes: number; drops: number; lastSeenMs: number } {
    const into = new Float64Array(COUNTER_STRIDE)
    this.engine.readCounters([flow], into)
    const [packets = 0, bytes = 0, drops = 0, lastSeenMs = 0] = into
    return { packets, bytes, drops, lastSeenMs }
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
