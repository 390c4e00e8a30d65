import type { Clock } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { Datapath, EndpointId, Receiver } from '../../../mechanisms/datapath/index.ts'
import type { TransportAddress } from '../../../protocols/stun/index.ts'
import type { Relay, TcpRelay } from './allocation.ts'
import type { ResolvedRelay } from './listener-state.ts'
import { type PortKind, RelayPorts } from './relay-ports.ts'

export interface RelayPoolOptions {
  readonly datapath: Datapath
  readonly clock: Clock
  /** Takes what peers send. */
  readonly receiver: Receiver
  /** Gives random bytes. */
  readonly random: (bytes: number) => Uint8Array
}

/** Opens and closes relayed transport addresses, and knows which of our addresses are such. */
export class RelayPool {
  readonly #datapath: Datapath
  readonly #clock: Clock
  readonly #receiver: Receiver
  readonly #random: (bytes: number) => Uint8Array
  /** By protocol and address. */
  readonly #ports = new Map<string, RelayPorts>()
  readonly #byEndpoint = new Map<EndpointId, Relay>()
  /** By where they are bound, and by what is advertised: address, then port. */
  readonly #byAddress = {
    udp: new Map<string, Map<number, Relay>>(),
    tcp: new Map<string, Map<number, Relay>>(),
  } as const
  #addresses: ReadonlySet<string> = new Set()

  constructor({ datapath, clock, receiver, random }: RelayPoolOptions) {
    this.#random = random
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

  /** The live relay that is bound there, or advertised as that. */
  find({ address, port }: TransportAddress, protocol: 'udp' | 'tcp' = 'udp'): Relay | undefined {
    return this.#byAddress[protocol].get(address)?.get(port)
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
        return opened.map(({ id, port: of }) => this.add(of, where, id))
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
    const protocol = endpoint === undefined ? 'tcp' : 'udp'
    this.#byAddress[protocol].get(bound.address)?.delete(bound.port)
    this.#byAddress[protocol].get(relayed.address)?.delete(relayed.port)
    if (endpoint === undefined) relay.tcp?.close()
    else {
      this.#byEndpoint.delete(endpoint)
      this.#datapath.closeEndpoint(endpoint)
    }
    this.portsOf(protocol, bound.address).release(bound.port, this.#clock.nowMs())
  }

  /** The ports of an address, for who opens TCP relays. */
  portsOf(protocol: 'udp' | 'tcp', address: string): RelayPorts {
    const key = `${protocol} ${address}`
    let ports = this.#ports.get(key)
    if (ports === undefined) {
      ports = new RelayPorts(this.#random)
      this.#ports.set(key, ports)
    }
    return ports
  }

  /** Takes up a relay that was opened: an endpoint, or a TCP port. */
  add(port: number, where: ResolvedRelay, opened: EndpointId | TcpRelay): Relay {
    const bound = { address: where.address, port }
    const isTcp = typeof opened === 'object'
    const relay: Relay = {
      family: where.family,
      bound,
      relayed: where.advertised === where.address ? bound : { address: where.advertised, port },
      endpoint: isTcp ? undefined : opened,
      tcp: isTcp ? opened : undefined,
      allocation: undefined,
      incoming: undefined,
      isClosed: false,
    }
    if (relay.endpoint !== undefined) this.#byEndpoint.set(relay.endpoint, relay)
    const byAddress = this.#byAddress[isTcp ? 'tcp' : 'udp']
    for (const address of new Set([where.address, where.advertised])) {
      let byPort = byAddress.get(address)
      if (byPort === undefined) byAddress.set(address, (byPort = new Map<number, Relay>()))
      byPort.set(port, relay)
    }
    return relay
  }
}

const maxTries = 16
const takenCodes = new Set(['DATAPATH_PORT_TAKEN', 'DATAPATH_PORTS_EXHAUSTED'])

/** A relay hears few peers; what the system reserves is not memory until it is used. */
const receiveBufferBytes = 1024 * 1024
