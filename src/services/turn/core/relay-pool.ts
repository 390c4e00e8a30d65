import { randomInt } from 'node:crypto'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { Datapath, Endpoint, EndpointId, Receiver } from '../../../mechanisms/datapath/index.ts'
import type { TransportAddress } from '../../../protocols/stun/index.ts'
import type { Relay } from './allocation.ts'
import type { ResolvedRelay } from './listener-state.ts'
import { type PortKind, RelayPorts } from './relay-ports.ts'

export interface RelayPoolOptions {
  readonly datapath: Datapath
  readonly clock: Clock
  /** Takes what peers send. */
  readonly receiver: Receiver
}

/** Opens and closes relayed transport addresses, and knows which of our addresses are such. */
export class RelayPool {
  readonly #datapath: Datapath
  readonly #clock: Clock
  readonly #receiver: Receiver
  /** By protocol and address. */
  readonly #ports = new Map<string, RelayPorts>()
  readonly #byEndpoint = new Map<EndpointId, Relay>()
  /** By where they are bound, and by what is advertised. UDP only. */
  readonly #byAddress = new Map<string, Relay>()
  #addresses: ReadonlySet<string> = new Set()

  constructor({ datapath, clock, receiver }: RelayPoolOptions) {
    this.#datapath = datapath
    this.#clock = clock
    this.#receiver = receiver
  }

  /** Says on which addresses, bound or advertised, relays are. */
  setAddresses(relays: readonly ResolvedRelay[]): void {
    this.#addresses = new Set(relays.flatMap(({ address, advertised }) => [address, advertised]))
  }

  isRelayAddress(address: string): boolean {
    return this.#addresses.has(address)
  }

  ofEndpoint(endpoint: EndpointId): Relay | undefined {
    return this.#byEndpoint.get(endpoint)
  }

  /** The live UDP relay that is bound there, or advertised as that. */
  find({ address, port }: TransportAddress): Relay | undefined {
    return this.#byAddress.get(`${address} ${port}`)
  }

  /**
   * Opens a relayed address; with `pair` the next higher port comes as a second one. Undefined when no port is left.
   *
   * @throws DATAPATH_ADDRESS_UNAVAILABLE and what else the datapath throws, save that a port is taken
   */
  async open(where: ResolvedRelay, kind: PortKind): Promise<readonly Relay[] | undefined> {
    const ports = this.portsOf('udp', where.address)
    for (let tries = 0; tries < maxTries; tries++) {
      const port = ports.take(where.from, where.to, kind, this.#clock.nowMs())
      if (port === undefined) return undefined
      try {
        const endpoint = await this.#datapath.openEndpoint(
          {
            addresses: [where.address],
            port,
            ...(kind === 'pair' && { evenPair: true }),
            ...(this.#datapath.features.has('icmp-errors') && { icmpErrors: true }),
            receiveBufferBytes,
          },
          this.#receiver,
        )
        const opened = endpoint.pair === undefined ? [endpoint] : [endpoint, endpoint.pair]
        return opened.map((one) => this.#add(one, where))
      } catch (error) {
        // Somebody else on this machine has it: so for a while it is not tried again.
        for (const one of kind === 'pair' ? [port, port + 1] : [port]) ports.release(one, this.#clock.nowMs())
        if (!takenCodes.has(errorCode(error))) throw error
      }
    }
    return undefined
  }

  /** Closes its socket and gives its port back. */
  close(relay: Relay): void {
    if (relay.isClosed) return
    relay.isClosed = true
    const { bound, relayed, endpoint } = relay
    if (endpoint === undefined) {
      relay.tcp?.close()
      this.portsOf('tcp', bound.address).release(bound.port, this.#clock.nowMs())
      return
    }
    this.#byEndpoint.delete(endpoint)
    this.#byAddress.delete(`${bound.address} ${bound.port}`)
    this.#byAddress.delete(`${relayed.address} ${relayed.port}`)
    this.#datapath.closeEndpoint(endpoint)
    this.portsOf('udp', bound.address).release(bound.port, this.#clock.nowMs())
  }

  /** The ports of an address, for who opens TCP relays. */
  portsOf(protocol: 'udp' | 'tcp', address: string): RelayPorts {
    const key = `${protocol} ${address}`
    let ports = this.#ports.get(key)
    if (ports === undefined) {
      ports = new RelayPorts((below) => randomInt(below))
      this.#ports.set(key, ports)
    }
    return ports
  }

  #add({ id, port }: Endpoint, where: ResolvedRelay): Relay {
    const relay: Relay = {
      family: where.family,
      bound: { address: where.address, port },
      relayed: { address: where.advertised, port },
      endpoint: id,
      tcp: undefined,
      allocation: undefined,
      incoming: undefined,
      isClosed: false,
    }
    this.#byEndpoint.set(id, relay)
    this.#byAddress.set(`${where.address} ${port}`, relay)
    this.#byAddress.set(`${where.advertised} ${port}`, relay)
    return relay
  }
}

const maxTries = 16
const takenCodes = new Set(['DATAPATH_PORT_TAKEN', 'DATAPATH_PORTS_EXHAUSTED'])

/** A relay hears few peers; what the system reserves is not memory until it is used. */
const receiveBufferBytes = 1024 * 1024
