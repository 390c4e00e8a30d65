import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import type { Clock } from '../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../foundation/errors.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import type { ClientEndpoint } from './endpoints.ts'
import { TurncatError, TurncatErrorCode } from './errors.ts'
import { pump } from './pump.ts'
import type { Tunnel, TunnelHandlers } from './tunnel.ts'

/** How local connections are taken. */
export interface StreamLocalOptions {
  readonly endpoint: Extract<ClientEndpoint, { readonly kind: 'udp' | 'tcp' | 'unix' }>
  readonly makeTunnel: (handlers: TunnelHandlers) => Tunnel
  readonly waitMs: number
  readonly clock: Clock
  readonly logger: Logger
  /** Most connections at a time; further ones are closed at once. @defaultValue 1,000 */
  readonly maxConnections?: number
}

/** A local TCP port or Unix socket where each connection gets a tunnel of its own. */
export class StreamLocal {
  readonly #options: StreamLocalOptions
  readonly #server: Server
  readonly #closing = new AbortController()
  readonly #running = new Set<Promise<void>>()

  constructor(options: StreamLocalOptions) {
    this.#options = options
    // What the peer still sends comes after the local program has said its last.
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket))
    this.#server.maxConnections = options.maxConnections ?? 1000
  }

  /** Opens the port or the socket. @throws TURNCAT_LISTEN_FAILED */
  async start(): Promise<AddressInfo | string | null> {
    const { endpoint } = this.#options
    try {
      this.#server.listen(
        endpoint.kind === 'unix' ? { path: endpoint.path } : { host: endpoint.host, port: endpoint.port },
      )
      await once(this.#server, 'listening')
    } catch (error) {
      const place =
        endpoint.kind === 'unix' ? `unix://${endpoint.path}` : `tcp://${endpoint.host}:${endpoint.port}`
      throw new TurncatError(
        TurncatErrorCode.listenFailed,
        `${place} cannot be opened: ${errorMessage(error)}`,
        error,
      )
    }
    return this.#server.address()
  }

  /** Ends the connections and releases their allocations. */
  async close(): Promise<void> {
    this.#closing.abort()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await Promise.all(this.#running)
    await closed
  }

  #serve(socket: Socket): void {
    const running = this.#pump(socket).finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  async #pump(socket: Socket): Promise<void> {
    const { makeTunnel, waitMs, clock, logger } = this.#options
    socket.setNoDelay(true)
    try {
      await pump({
        source: socket,
        sink: socket,
        makeTunnel,
        waitMs,
        clock,
        signal: this.#closing.signal,
      })
      socket.end()
    } catch (error) {
      logger.warn({ code: errorCode(error), reason: errorMessage(error) }, 'tunnel failed')
    } finally {
      // A program that reads no more would keep the command from ending.
      if (this.#closing.signal.aborted) socket.destroy()
      else socket.destroySoon()
    }
  }
}
