import type { Socket } from 'node:net'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import { socketStream } from '../../../mechanisms/streams/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { VhostRegistry, VhostRoute } from './contract.ts'
import { type FirstBytes, readFirstBytes } from './first-bytes.ts'
import { RouteTable } from './route-table.ts'
import { type ConnectionAddress, VhostPort, type VhostPortOptions } from './vhost-port.ts'

/** Options of the vhosts that carry whole connections. */
export interface StreamVhostOptions extends VhostPortOptions {
  /** A connection that has not said whom it means after so many milliseconds is cut. @defaultValue 30,000 */
  readonly firstBytesTimeoutMs?: number
}

const FIRST_BYTES_TIMEOUT_MS = 30_000
/** Most bytes of a ClientHello or of a CONNECT request. */
export const MAX_FIRST_BYTES = 16_384

/** In numbers since the vhost was made; `connections` and `routes` are how many there are now. */
export interface StreamVhostCounts {
  readonly connections: number
  readonly routes: number
  /** Handed to a backend. */
  readonly routed: number
  /** No route. */
  readonly notFound: number
  /** A route, and no member of its group behind it. */
  readonly noBackend: number
  /** Wrong or no password. */
  readonly unauthorized: number
  /** Began with something else than it should. */
  readonly malformed: number
  /** Took too long. */
  readonly overdue: number
  /** Closed at once, there were too many. */
  readonly refused: number
}

export interface VhostEntry<Rules> {
  readonly route: VhostRoute
  readonly rules: Rules
}

/**
 * What the vhosts for whole connections have in common: a connection says whom it means, within bounds of time and size,
 * and belongs to a backend from then on.
 */
export abstract class StreamVhost<Rules> implements Lifecycle, VhostRegistry<Rules> {
  protected readonly routes: RouteTable<VhostEntry<Rules>> = new RouteTable()
  protected readonly clock: Clock
  protected readonly log: Logger
  protected routed = 0
  protected notFound = 0
  protected noBackend = 0
  protected unauthorized = 0
  protected malformed = 0
  readonly #firstBytesTimeoutMs: number
  readonly #port: VhostPort
  #overdue = 0

  constructor(options: StreamVhostOptions, component: string) {
    this.clock = options.clock ?? systemClock
    this.log = options.logger.child({ component })
    this.#firstBytesTimeoutMs = options.firstBytesTimeoutMs ?? FIRST_BYTES_TIMEOUT_MS
    this.#port = new VhostPort(options, (socket, address) => {
      void this.serve(socketStream(socket), address)
    })
  }

  /** Port in use; undefined while not listening, or without a port. */
  get port(): number | undefined {
    return this.#port.port
  }

  get counts(): StreamVhostCounts {
    return {
      connections: this.#port.connections,
      routes: this.routes.size,
      routed: this.routed,
      notFound: this.notFound,
      noBackend: this.noBackend,
      unauthorized: this.unauthorized,
      malformed: this.malformed,
      overdue: this.#overdue,
      refused: this.#port.refused,
    }
  }

  add(route: VhostRoute, rules: Rules): () => void {
    return this.routes.add(route, { route, rules })
  }

  /** @throws NetError when the port cannot be opened */
  start(options: StartOptions = {}): Promise<void> {
    return this.#port.start(options)
  }

  /** Takes a connection that was accepted elsewhere; see `VhostPort.adopt`. */
  adopt(socket: Socket): void {
    this.#port.adopt(socket)
  }

  /** Connections that backends serve may go on for `graceMs`. */
  close(options: CloseOptions = {}): Promise<void> {
    return this.#port.close(options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Finds out whom the connection means, and leads it there. Never rejects. */
  protected abstract serve(stream: ByteStream, address: ConnectionAddress): Promise<void>

  /** Undefined, the stream destroyed: it closed, or took too long or too much. */
  protected async firstBytes<T>(
    stream: ByteStream,
    read: (bytes: Buffer) => T | undefined,
  ): Promise<(FirstBytes<T> & { kind: 'read' }) | undefined> {
    const bounds = { maxBytes: MAX_FIRST_BYTES, timeoutMs: this.#firstBytesTimeoutMs, clock: this.clock }
    const first = await readFirstBytes(stream, bounds, read)
    if (first.kind === 'read') return first
    if (first.kind === 'overdue') this.#overdue++
    if (first.kind === 'too-long') this.malformed++
    stream.destroy()
    return undefined
  }
}
