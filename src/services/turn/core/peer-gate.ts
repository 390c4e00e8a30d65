import type { TransportAddress } from '../../../protocols/stun/index.ts'
import type { PeerProtocol } from '../peers/contract.ts'
import type { ListenerState } from './listener-state.ts'
import type { RelayPool } from './relay-pool.ts'

export interface PeerGateOptions {
  readonly relays: RelayPool
  /** The addresses of this machine at present. */
  readonly localAddresses: () => ReadonlySet<string>
}

/**
 * Whether a client may reach a peer. The policy decides, with two exceptions: relayed addresses of live allocations always
 * are peers, and our own listeners never.
 */
export class PeerGate {
  readonly #relays: RelayPool
  readonly #localAddresses: () => ReadonlySet<string>
  /** Ports of our listeners, by protocol and port, with the addresses that they have beyond those of the machine. */
  #own: ReadonlySet<string> = new Set()

  constructor({ relays, localAddresses }: PeerGateOptions) {
    this.#relays = relays
    this.#localAddresses = localAddresses
  }

  /** Says which ports of this machine are never peers. */
  setOwnPorts(ports: readonly { readonly protocol: PeerProtocol; readonly port: number }[]): void {
    this.#own = new Set(ports.map(({ protocol, port }) => `${protocol} ${port}`))
  }

  /** Whether the client may have a permission for the address. */
  admitsAddress({ options }: ListenerState, address: string, protocol: PeerProtocol): boolean {
    return this.#relays.isRelayAddress(address) || options.peers.admitsAddress(address, protocol)
  }

  /** Whether it may exchange data with this very peer. */
  admits({ options }: ListenerState, peer: TransportAddress, protocol: PeerProtocol): boolean {
    const { address, port } = peer
    if (port === 0) return false
    const isRelayAddress = this.#relays.isRelayAddress(address)
    if (isRelayAddress && this.#relays.find(peer, protocol) !== undefined) return true
    if (this.#own.has(`${protocol} ${port}`) && (isRelayAddress || this.#isLocal(address))) return false
    return options.peers.admits(address, port, protocol)
  }

  /** Whether it leads to this machine: the unspecified address and all of 127/8 do, though no interface has them (CVE-2020-26262). */
  #isLocal(address: string): boolean {
    return (
      address === '0.0.0.0' ||
      address === '::' ||
      address.startsWith('127.') ||
      this.#localAddresses().has(address)
    )
  }
}
