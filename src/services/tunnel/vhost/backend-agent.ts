import { Agent, type ClientRequest, type RequestOptions } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { StreamDuplex } from '../../../mechanisms/streams/index.ts'
import type { Backend, UserAddress } from '../server/backend.ts'

/** Options of a request by a `BackendAgent`. */
export interface BackendRequestOptions extends RequestOptions {
  readonly backend: Backend
}

/** As frp keeps them. */
const MAX_IDLE = 5
const IDLE_MS = 60_000

interface Idle {
  readonly timer: Timer
  readonly onStray: () => void
}

/**
 * Connections to backends on behalf of one user connection, in HTTP/1.1. They are kept alive and used again, but only for that
 * user: what a backend has been told of the connection (the PROXY protocol's header) stays true (reference §29.4).
 */
export class BackendAgent extends Agent {
  readonly #address: UserAddress
  readonly #clock: Clock
  readonly #names = new WeakMap<Backend, string>()
  #namesGiven = 0
  readonly #idle = new Map<Duplex, Idle>()

  constructor(address: UserAddress, clock: Clock) {
    super({ keepAlive: true, maxFreeSockets: MAX_IDLE, scheduling: 'lifo' })
    this.#address = address
    this.#clock = clock
  }

  /** Ends the idle connections to a backend, so that the next request goes over a new one. */
  dropIdle(backend: Backend): void {
    for (const socket of [...(this.freeSockets[this.#nameOf(backend)] ?? [])]) socket.destroy()
  }

  /** The same name, the same connections. Called by node:http. */
  override getName(options?: object): string {
    return isForBackend(options) ? this.#nameOf(options.backend) : ''
  }

  /** Called by node:http when no idle connection is there. */
  override createConnection(
    options: object,
    callback: (error: Error | null, socket?: Duplex) => void,
  ): undefined {
    if (!isForBackend(options)) throw new TypeError('a request without a backend')
    void this.#connect(options.backend, callback)
  }

  /** Called by node:http: whether a connection is kept, after an answer. */
  override keepSocketAlive(socket: Duplex): boolean {
    if (this.#idle.size >= MAX_IDLE) return false
    // Whatever comes now belongs to no answer, and must not become part of the next one.
    const onStray = (): void => void socket.destroy()
    this.#idle.set(socket, { timer: this.#clock.after(IDLE_MS, onStray), onStray })
    socket.on('data', onStray)
    socket.on('end', onStray)
    socket.once('close', this.#onClose)
    return true
  }

  /** Called by node:http: it is used again. */
  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    request.reusedSocket = true
    socket.off('close', this.#onClose)
    this.#forget(socket)
  }

  readonly #onClose = (): void => {
    for (const socket of this.#idle.keys()) if (socket.destroyed) this.#forget(socket)
  }

  #forget(socket: Duplex): void {
    const idle = this.#idle.get(socket)
    if (idle === undefined) return
    this.#idle.delete(socket)
    idle.timer.cancel()
    socket.off('data', idle.onStray)
    socket.off('end', idle.onStray)
  }

  /** Never rejects. */
  async #connect(backend: Backend, callback: (error: Error | null, socket?: Duplex) => void): Promise<void> {
    let duplex: Duplex
    try {
      duplex = new StreamDuplex(await backend.connect(this.#address))
    } catch (error) {
      callback(error instanceof Error ? error : new Error(String(error)))
      return
    }
    callback(null, duplex)
  }

  #nameOf(backend: Backend): string {
    let name = this.#names.get(backend)
    if (name === undefined) {
      name = String(this.#namesGiven++)
      this.#names.set(backend, name)
    }
    return name
  }
}

function isForBackend(options: object | undefined): options is BackendRequestOptions {
  return options !== undefined && 'backend' in options
}
