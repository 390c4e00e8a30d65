import { SmallMap } from '../../../foundation/small-map.ts'
import type {
  Endpoint,
  EndpointId,
  EndpointOptions,
  FlowId,
  LocalAddress,
  Receiver,
  Remote,
} from '../contract.ts'
import { DatapathError } from '../errors.ts'
import { canonicalAddress, checkRemotePort, type Family, familyOf } from './ip-address.ts'
import { expandAddresses, type InterfaceLister, isWildcard } from './local-addresses.ts'

/** What an endpoint has on one local address. */
export interface LocalSocket extends LocalAddress {
  readonly family: Family
  readonly receiveBufferBytes: number
  readonly isOpen: boolean
  /** Resolves when the port is free. */
  close(): Promise<void>
}

/** What one is bound with. */
export interface SocketOptions {
  readonly address: string
  readonly port: number
  /** Number of the local address within its endpoint. */
  readonly local: number
  readonly receiveBufferBytes: number
}

/** At 200,000 small datagrams per second this is a fifth of a second. */
const defaultReceiveBufferBytes = 16 * 1024 * 1024
/** A key frame may come as a thousand datagrams at once. */
const connectedReceiveBufferBytes = 1024 * 1024

/**
 * The addresses of an endpoint, the same in every engine: one socket per local address, all on one port, followed as
 * interfaces come and go.
 */
export abstract class BoundEndpoint<S extends LocalSocket> implements Endpoint {
  readonly id: EndpointId
  readonly receiver: Receiver
  /** The only peer, its address canonical. */
  readonly remote: Remote | undefined
  /** Whether a flow takes only what arrives on its own local address. */
  readonly separatesLocals: boolean
  /** The flows that come from here or go out of here. */
  readonly related: SmallMap<FlowId, true> = new SmallMap()
  isOpen = false
  pair?: BoundEndpoint<S>
  readonly #addresses: readonly string[]
  readonly #receiveBufferBytes: number
  #sockets: readonly S[] = []
  #refreshing: Promise<void> | undefined
  #port = 0
  /** An address that goes and comes back keeps its number: its place here. */
  #numbered: readonly string[] = []

  constructor(id: EndpointId, options: EndpointOptions, receiver: Receiver) {
    this.id = id
    this.receiver = receiver
    this.remote = options.remote && {
      address: canonicalAddress(options.remote.address),
      port: options.remote.port,
    }
    this.separatesLocals = options.separateLocals ?? false
    this.#addresses = options.addresses.map(canonicalAddress)
    this.#receiveBufferBytes =
      options.receiveBufferBytes ??
      (this.remote === undefined ? defaultReceiveBufferBytes : connectedReceiveBufferBytes)
    this.#check(options)
  }

  /** @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE, DATAPATH_SYSTEM */
  protected abstract openSocket(options: SocketOptions): Promise<S>

  get port(): number {
    return this.#port
  }

  get locals(): readonly LocalAddress[] {
    return this.#sockets.map(({ address, port, local }) => ({ address, port, local }))
  }

  get receiveBufferBytes(): number {
    const sizes = this.#sockets.map((socket) => socket.receiveBufferBytes)
    return sizes.length === 0 ? 0 : Math.min(...sizes)
  }

  get isFollowingInterfaces(): boolean {
    return this.remote === undefined && this.#addresses.some(isWildcard)
  }

  /** Binds every address on one port. @throws what `openSocket` throws */
  async bind(port: number, listInterfaces: InterfaceLister): Promise<void> {
    const sockets: S[] = []
    try {
      for (const address of this.#wanted(listInterfaces)) {
        const socket = await this.#open(address, sockets[0]?.port ?? port)
        if (socket !== undefined) sockets.push(socket)
      }
      if (sockets.length === 0) {
        throw new DatapathError(
          'DATAPATH_ADDRESS_UNAVAILABLE',
          `the machine has no address for ${this.#addresses.join(', ')}`,
        )
      }
    } catch (error) {
      await Promise.all(sockets.map((socket) => socket.close()))
      throw error
    }
    this.#sockets = sockets.slice()
    this.#port = sockets[0]?.port ?? port
    this.isOpen = true
  }

  /** Opens and closes sockets so that there is one per address of the machine again. */
  refresh(listInterfaces: InterfaceLister): void {
    this.#refreshing ??= this.#refresh(listInterfaces)
      // The system did not list its interfaces; it is asked again at the next refresh.
      .catch(() => {})
      .finally(() => {
        this.#refreshing = undefined
      })
  }

  /** The socket of this family on a local address, by default the first. */
  socketFor(family: Family, local: number | undefined): S | undefined {
    for (const socket of this.#sockets) {
      if (socket.family === family && (local === undefined || socket.local === local)) return socket
    }
    return undefined
  }

  /** Whether the endpoint has, or had, this local address, of this family. */
  knowsLocal(family: Family, local: number): boolean {
    const address = this.#numbered[local]
    return address !== undefined && familyOf(address) === family
  }

  async close(): Promise<void> {
    this.isOpen = false
    await Promise.all(this.#sockets.map((socket) => socket.close()))
    await this.#refreshing
  }

  async #refresh(listInterfaces: InterfaceLister): Promise<void> {
    const wanted = this.#wanted(listInterfaces)
    for (const socket of this.#sockets) if (!wanted.includes(socket.address)) void socket.close()
    this.#sockets = this.#sockets.filter((socket) => socket.isOpen)
    const bound = new Set(this.#sockets.map(({ address }) => address))
    for (const address of wanted.filter((address) => !bound.has(address))) {
      // A port that is taken on a new address is tried again at the next refresh.
      const socket = await this.#open(address, this.port).catch(() => undefined)
      if (socket === undefined) continue
      this.#sockets = [...this.#sockets, socket]
      if (!this.isOpen) await socket.close()
    }
  }

  #wanted(listInterfaces: InterfaceLister): string[] {
    if (this.remote !== undefined) return [...this.#addresses]
    return expandAddresses(this.#addresses, listInterfaces)
  }

  async #open(address: string, port: number): Promise<S | undefined> {
    let local = this.#numbered.indexOf(address)
    if (local < 0) {
      local = this.#numbered.length
      // Relays are many: an array that is as long as it has to be.
      this.#numbered = this.#numbered.concat(address)
    }
    try {
      return await this.openSocket({ address, port, local, receiveBufferBytes: this.#receiveBufferBytes })
    } catch (error) {
      // An interface's address may not be usable yet, or no more; one that was asked for must be.
      const isOptional = error instanceof DatapathError && error.code === 'DATAPATH_ADDRESS_UNAVAILABLE'
      if (isOptional && !this.#addresses.includes(address)) return undefined
      throw error
    }
  }

  #check({ threads = 1, dscp = 0 }: EndpointOptions): void {
    if (this.#addresses.length === 0) throw new DatapathError('DATAPATH_INVALID', 'addresses: none given')
    if (!Number.isInteger(threads) || threads < 1) {
      throw new DatapathError('DATAPATH_INVALID', `threads ${threads}: must be 1 or more`)
    }
    if (!Number.isInteger(dscp) || dscp < 0 || dscp > 63) {
      throw new DatapathError('DATAPATH_INVALID', `dscp ${dscp}: must be from 0 to 63`)
    }
    if (this.remote === undefined) return
    checkRemotePort(this.remote.port)
    const [address] = this.#addresses
    if (address === undefined || this.#addresses.length > 1) {
      throw new DatapathError('DATAPATH_INVALID', 'addresses: an endpoint with a remote needs exactly one')
    }
    if (familyOf(address) !== familyOf(this.remote.address)) {
      throw new DatapathError(
        'DATAPATH_INVALID',
        `remote ${this.remote.address}: not of the family of ${address}`,
      )
    }
  }
}
