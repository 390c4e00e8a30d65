import {
  ALL_THREADS,
  type Arrival,
  type Datapath,
  type Endpoint,
  type EndpointId,
  STRANGER,
} from '../../../mechanisms/datapath/index.ts'
import type { Allocations } from '../core/allocations.ts'
import type { Client } from '../core/client.ts'
import type { ListenerState } from '../core/listener-state.ts'
import type { TurnCore } from '../core/turn-core.ts'
import type { BoundListener } from './listener.ts'

/** Serves clients by UDP: one endpoint of the datapath, with a socket for each of its threads. */
export class UdpListener implements BoundListener {
  readonly #state: ListenerState
  readonly #core: TurnCore
  readonly #allocations: Allocations
  readonly #datapath: Datapath
  #endpoint: Endpoint | undefined
  /** Shared with the clients. */
  #isClosed = { value: false }

  constructor(state: ListenerState, core: TurnCore, allocations: Allocations, datapath: Datapath) {
    this.#state = state
    this.#core = core
    this.#allocations = allocations
    this.#datapath = datapath
  }

  get port(): number {
    return this.#endpoint?.port ?? 0
  }

  /** @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE */
  async start(): Promise<void> {
    this.#isClosed = { value: false }
    const { host, port } = this.#state.options.listen
    this.#endpoint = await this.#datapath.openEndpoint(
      {
        addresses: host === undefined ? ['0.0.0.0', '::'] : [host],
        port,
        threads: ALL_THREADS,
        separateLocals: true,
      },
      (arrival) => this.#receive(arrival),
    )
  }

  close(): Promise<void> {
    if (this.#endpoint !== undefined) this.#datapath.closeEndpoint(this.#endpoint.id)
    this.#endpoint = undefined
    this.#isClosed.value = true
    return Promise.resolve()
  }

  #receive(arrival: Arrival): void {
    // What was sent to a client came back: it is gone, or its network is; its allocation expires by itself.
    if (arrival.kind === 'icmp') return
    const owner = arrival.flow === STRANGER ? undefined : this.#allocations.ofFlow(arrival.flow)
    if (owner !== undefined && 'client' in owner) {
      this.#core.receive(arrival.bytes, owner.client, owner)
      return
    }
    const client = new UdpClient(this.#state, this.#datapath, arrival, this.#isClosed)
    const allocation = this.#allocations.ofClient(client.key)
    if (allocation === undefined) this.#core.receive(arrival.bytes, client, undefined)
    else {
      const { movingTo } = allocation
      const known = movingTo?.key === client.key ? movingTo : allocation.client
      this.#core.receive(arrival.bytes, known, allocation)
    }
  }
}

/** A client by UDP. Made for each datagram of a stranger, kept with an allocation. */
class UdpClient implements Client {
  readonly listener: ListenerState
  readonly transport = 'udp'
  readonly isStream = false
  readonly address: string
  readonly port: number
  readonly key: string
  readonly datagram: { readonly endpoint: EndpointId; readonly local: number }
  readonly #datapath: Datapath
  readonly #isListenerClosed: { readonly value: boolean }

  constructor(
    listener: ListenerState,
    datapath: Datapath,
    { endpoint, local, address, port }: Arrival,
    isClosed: { readonly value: boolean },
  ) {
    this.#isListenerClosed = isClosed
    this.listener = listener
    this.address = address
    this.port = port
    this.datagram = { endpoint, local }
    this.key = `${endpoint} ${local} ${address} ${port}`
    this.#datapath = datapath
  }

  send(bytes: Uint8Array): boolean {
    return this.#datapath.send(this.datagram.endpoint, this, bytes, this.datagram)
  }

  isGone(): boolean {
    return this.#isListenerClosed.value
  }
}
