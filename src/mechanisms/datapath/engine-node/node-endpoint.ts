import type { EndpointId, EndpointOptions, Receiver, Remote } from '../contract.ts'
import { BoundEndpoint, type SocketOptions } from '../control/bound-endpoint.ts'
import { DatagramSocket, type SocketListener } from './datagram-socket.ts'
import { FlowTable, type TableFlow } from './flow-table.ts'
import type { TokenBucket } from './token-bucket.ts'

/** Where an endpoint's arrivals go; the engine. */
export interface EndpointListener<F extends TableFlow> {
  onDatagram(endpoint: NodeEndpoint<F>, socket: DatagramSocket, bytes: Uint8Array, from: Remote): void
  onSocketError(endpoint: NodeEndpoint<F>, socket: DatagramSocket, error: Error): void
}

export interface NodeEndpointContext<F extends TableFlow> {
  readonly listener: EndpointListener<F>
  readonly maxSendQueueBytes: number
  readonly strangers: TokenBucket
  readonly known: TokenBucket
}

/** An endpoint of `engine-node`, and the flows at it. */
export class NodeEndpoint<F extends TableFlow> extends BoundEndpoint<DatagramSocket> {
  readonly isDeliver: boolean
  /** By local address where they are separated, else one. */
  readonly #flows: FlowTable<F>[] = []
  readonly strangers: TokenBucket
  readonly known: TokenBucket
  readonly #maxSendQueueBytes: number
  readonly #listener: SocketListener

  constructor(id: EndpointId, options: EndpointOptions, receiver: Receiver, context: NodeEndpointContext<F>) {
    super(id, options, receiver)
    this.isDeliver = options.deliver ?? false
    this.strangers = context.strangers
    this.known = context.known
    this.#maxSendQueueBytes = context.maxSendQueueBytes
    const { listener } = context
    this.#listener = {
      onDatagram: (socket, bytes, from) => listener.onDatagram(this, socket, bytes, from),
      onSocketError: (socket, error) => listener.onSocketError(this, socket, error),
    }
  }

  /** The flows that take what arrives on a local address. */
  flowsAt(local: number): FlowTable<F> {
    const at = this.separatesLocals ? local : 0
    return (this.#flows[at] ??= new FlowTable())
  }

  protected override openSocket(options: SocketOptions): Promise<DatagramSocket> {
    return DatagramSocket.bind(
      { ...options, remote: this.remote, maxSendQueueBytes: this.#maxSendQueueBytes },
      this.#listener,
    )
  }
}
