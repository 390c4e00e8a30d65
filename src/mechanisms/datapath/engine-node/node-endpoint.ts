import type {
  Endpoint,
  EndpointId,
  EndpointOptions,
  FlowId,
  LocalAddress,
  Receiver,
  Remote,
} from '../contract.ts'
import { DatagramSocket, type SocketListener } from './datagram-socket.ts'
import { DatapathError } from '../errors.ts'
import { FlowTable, type TableFlow } from './flow-table.ts'
import { canonicalAddress, checkRemotePort, type Family, familyOf } from '../control/ip-address.ts'
import { expandAddresses, type InterfaceLister, isWildcard } from '../control/local-addresses.ts'
import type { TokenBucket } from './token-bucket.ts'

/** Where an endpoint's arrivals go; the engine. */
export interface EndpointListener<F extends TableFlow> {
  onDatagram(endpoint: NodeEndpoint<F>, socket: DatagramSocket, bytes: Uint8Array, from: Remote): void
  onSocketError(endpoint: NodeEndpoint<F>, socket: DatagramSocket, error: Error): void
}

export interface NodeEndpointContext<F extends TableFlow> {
  readonly listener: EndpointListener<F>
  readonly listInterfaces: InterfaceLister
  readonly maxSendQueueBytes: number
  readonly strangers: TokenBucket
  readonly known: TokenBucket
}

const defaultReceiveBufferBytes = 4 * 1024 * 1024

/** An endpoint of `engine-node`: one socket per local address, all on one port, and the flows at it. */
export class NodeEndpoint<F extends TableFlow> implements Endpoint {
  readonly id: EndpointId
  readonly receiver: Receiver
  readonly isDeliver: boolean
  /** The only peer, its address canonical. */
  readonly remote: Remote | undefined
  readonly flows: FlowTable<F> = new FlowTable()
  /** The flows that come from here or go out of here, by id. */
  readonly related: Map<FlowId, F> = new Map()
  readonly strangers: TokenBucket
  readonly known: TokenBucket
  isOpen = false
  pair?: NodeEndpoint<F>
  readonly #context: NodeEndpointContext<F>
  readonly #addresses: readonly string[]
  readonly #receiveBufferBytes: number | undefined
  readonly #socketListener: SocketListener
  #sockets: readonly DatagramSocket[] = []
  #refreshing: Promise<void> | undefined
  #port = 0
  /** An address that goes and comes back keeps its number. */
  readonly #localOf = new Map<string, number>()

  constructor(id: EndpointId, options: EndpointOptions, receiver: Receiver, context: NodeEndpointContext<F>) {
    this.id = id
    this.receiver = receiver
    this.isDeliver = options.deliver ?? false
    this.remote = options.remote && {
      address: canonicalAddress(options.remote.address),
      port: options.remote.port,
    }
    this.strangers = context.strangers
    this.known = context.known
    this.#context = context
    this.#addresses = options.addresses.map(canonicalAddress)
    this.#receiveBufferBytes =
      options.receiveBufferBytes ?? (this.remote === undefined ? defaultReceiveBufferBytes : undefined)
    const { listener } = context
    this.#socketListener = {
      onDatagram: (socket, bytes, from) => listener.onDatagram(this, socket, bytes, from),
      onSocketError: (socket, error) => listener.onSocketError(this, socket, error),
    }
    this.#check(options.threads ?? 1)
  }

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

  /** Binds every address on one port. @throws what `DatagramSocket.bind` throws */
  async bind(port: number): Promise<void> {
    const sockets: DatagramSocket[] = []
    try {
      for (const address of this.#wanted()) {
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
      for (const socket of sockets) void socket.close()
      throw error
    }
    this.#sockets = sockets
    this.#port = sockets[0]?.port ?? port
    this.isOpen = true
  }

  /** Opens and closes sockets so that there is one per address of the machine again. */
  refresh(): void {
    this.#refreshing ??= this.#refresh()
      // The system did not list its interfaces; it is asked again at the next refresh.
      .catch(() => {})
      .finally(() => {
        this.#refreshing = undefined
      })
  }

  /** The socket of this family on a local address, by default the first. */
  socketFor(family: Family, local: number | undefined): DatagramSocket | undefined {
    for (const socket of this.#sockets) {
      if (socket.family === family && (local === undefined || socket.local === local)) return socket
    }
    return undefined
  }

  /** Whether the endpoint has, or had, this local address. */
  knowsLocal(local: number): boolean {
    return local >= 0 && local < this.#localOf.size
  }

  async close(): Promise<void> {
    this.isOpen = false
    await Promise.all(this.#sockets.map((socket) => socket.close()))
    await this.#refreshing
  }

  async #refresh(): Promise<void> {
    const wanted = this.#wanted()
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

  #wanted(): string[] {
    if (this.remote !== undefined) return [...this.#addresses]
    return expandAddresses(this.#addresses, this.#context.listInterfaces)
  }

  async #open(address: string, port: number): Promise<DatagramSocket | undefined> {
    let local = this.#localOf.get(address)
    if (local === undefined) this.#localOf.set(address, (local = this.#localOf.size))
    try {
      return await DatagramSocket.bind(
        {
          address,
          port,
          local,
          remote: this.remote,
          receiveBufferBytes: this.#receiveBufferBytes,
          maxSendQueueBytes: this.#context.maxSendQueueBytes,
        },
        this.#socketListener,
      )
    } catch (error) {
      // An interface's address may not be usable yet, or no more; one that was asked for must be.
      const isOptional = error instanceof DatapathError && error.code === 'DATAPATH_ADDRESS_UNAVAILABLE'
      if (isOptional && !this.#addresses.includes(address)) return undefined
      throw error
    }
  }

  #check(threads: number): void {
    if (this.#addresses.length === 0) throw new DatapathError('DATAPATH_INVALID', 'addresses: none given')
    if (!Number.isInteger(threads) || threads < 1) {
      throw new DatapathError('DATAPATH_INVALID', `threads ${threads}: must be 1 or more`)
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
