import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { type Link, type LinkHandlers, type LinkOptions, maxBytesInTheWay } from './link.ts'

/** Opens UDP to the server. Rejects with what Node says. */
export async function openUdpLink(options: LinkOptions, handlers: LinkHandlers): Promise<Link> {
  return new UdpLink(await connectUdp(options), handlers)
}

/** A socket that sends to the server, and that nobody else gets through to. */
export async function connectUdp({ server, signal }: LinkOptions): Promise<Socket> {
  const { address, family } = await lookup(server.host)
  const socket = createSocket({ type: family === 6 ? 'udp6' : 'udp4' })
  try {
    signal.throwIfAborted()
    const connected = once(socket, 'connect', { signal })
    socket.connect(server.port, address)
    await connected
    return socket
  } catch (error) {
    socket.close()
    throw error
  }
}

class UdpLink implements Link {
  readonly isStream = false
  readonly #socket: Socket
  readonly #handlers: LinkHandlers
  #isFull = false
  #isClosed = false

  constructor(socket: Socket, handlers: LinkHandlers) {
    this.#socket = socket
    this.#handlers = handlers
    socket.on('message', handlers.onBytes)
    // Nobody listens there, as ICMP tells.
    socket.on('error', (error) => this.#end(error))
  }

  send(bytes: Uint8Array): boolean {
    this.#socket.send(bytes, (error) => {
      // A datagram that the system refuses is lost like others are, unless it says that nobody listens.
      if (error !== null && 'code' in error && error.code === 'ECONNREFUSED') this.#end(error)
      else if (this.#isFull && !this.#isClosed && this.#socket.getSendQueueSize() === 0) {
        this.#isFull = false
        this.#handlers.onDrain()
      }
    })
    this.#isFull ||= this.#socket.getSendQueueSize() > maxBytesInTheWay
    return !this.#isFull
  }

  get queuedBytes(): number {
    return this.#socket.getSendQueueSize()
  }

  // Datagrams that nobody reads are lost in time, and they have no end.
  pause(): void {}
  resume(): void {}
  endSending(): void {}

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.removeAllListeners('message')
    this.#socket.close()
  }

  #end(error: Error): void {
    if (this.#isClosed) return
    this.close()
    this.#handlers.onEnd(error)
  }
}
