import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { systemClock } from '../../foundation/clock.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import { ConnectionCap } from './connection-cap.ts'
import type { ListenAddress } from './endpoint-text.ts'
import { listenTcp } from './listen-tcp.ts'

/** What a `TcpListener` listens on and lets in. */
export interface TcpListenerOptions {
  readonly listen: ListenAddress
  /**
   * Takes each connection that was let in. Its errors need no handler for the process's sake; the
   * listener counts it until its `close` event, also when `onread-socket.ts` has wrapped its handle anew.
   */
  readonly onConnection: (socket: Socket) => void
  /** Told of connections that could not be accepted, for instance for want of descriptors. @defaultValue ignored */
  readonly onAcceptError?: (error: Error) => void
  /** Connections above it are closed at once; several listeners may share one. @defaultValue one of its own */
  readonly cap?: ConnectionCap
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
}

/**
 * A TCP port that accepts connections within a cap. Accepted sockets send without delay and stay open for writing
 * after the peer has ended its side.
 */
export class TcpListener implements Lifecycle {
  readonly #options: TcpListenerOptions
  readonly #cap: ConnectionCap
  readonly #clock: Clock
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined

  constructor(options: TcpListenerOptions) {
    this.#options = options
    this.#cap = options.cap ?? new ConnectionCap()
    this.#clock = options.clock ?? systemClock
  }

  /** Port in use; undefined while not listening. */
  get port(): number | undefined {
    return this.#addressInfo()?.port
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sockets.size
  }

  /**
   * Opens the port.
   * @throws NetError that names the address and what to do: `NET_PORT_TAKEN`, `NET_PORT_FORBIDDEN`,
   * `NET_ADDRESS_UNAVAILABLE`, `NET_LISTEN_FAILED`.
   */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#server !== undefined) return
    signal?.throwIfAborted()
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => this.#accept(socket))
    this.#server = server
    try {
      await listenTcp(server, this.#options.listen)
      server.on('error', (error) => this.#options.onAcceptError?.(error))
      signal?.throwIfAborted()
    } catch (error) {
      this.#server = undefined
      if (server.listening) server.close()
      throw error
    }
  }

  /** Stops accepting at once; connections may go on for `graceMs`, then they are destroyed. */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve())
    })
    const cut = (): void => {
      for (const socket of this.#sockets) socket.destroy()
    }
    if (graceMs <= 0) cut()
    const timer = this.#clock.after(graceMs, cut)
    await closed
    timer.cancel()
  }

  #accept(socket: Socket): void {
    socket.on('error', ignore)
    if (!this.#cap.admit(socket)) {
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    this.#options.onConnection(socket)
  }

  #addressInfo(): AddressInfo | undefined {
    const address = this.#server?.address()
    return typeof address === 'object' && address !== null ? address : undefined
  }
}

/** Errors of a connection show as its `close`; whoever cares listens too. */
function ignore(): void {}
