import type { Socket } from 'node:net'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import {
  ConnectionCap,
  type ConnectionCapOptions,
  type ListenAddress,
  plainAddress,
  TcpListener,
} from '../../../mechanisms/net/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { UserAddress } from '../server/backend.ts'

/** Where a vhost's users come from, and how many. */
export interface VhostPortOptions extends ConnectionCapOptions {
  /** Absent: it has no port of its own, and serves what it is handed by `adopt`. */
  readonly listen?: ListenAddress
  /** Balancers whose connections begin with a PROXY protocol header. @defaultValue [] */
  readonly proxyProtocolFrom?: readonly string[]
  /** In place of `maxConnections` and `maxConnectionsPerAddress`: one that is shared. */
  readonly cap?: ConnectionCap
  readonly logger: Logger
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
}

/** After so long without a byte the system asks whether the other machine is still there. */
const KEEP_ALIVE_MS = 60_000

/** The whole address of a user's connection. */
export type ConnectionAddress = Required<UserAddress>

/** The connections of one vhost: from a port of its own, or handed over by whoever shares his port. */
export class VhostPort implements Lifecycle {
  readonly #options: VhostPortOptions
  readonly #onConnection: (socket: Socket, address: ConnectionAddress) => void
  readonly #cap: ConnectionCap
  readonly #clock: Clock
  readonly #sockets = new Set<Socket>()
  #listener: TcpListener | undefined
  #isOpen = false
  #onEmpty: (() => void) | undefined

  constructor(options: VhostPortOptions, onConnection: (socket: Socket, address: ConnectionAddress) => void) {
    this.#options = options
    this.#onConnection = onConnection
    this.#cap = options.cap ?? new ConnectionCap(options)
    this.#clock = options.clock ?? systemClock
  }

  /** Port in use; undefined while not listening, or without a port. */
  get port(): number | undefined {
    return this.#listener?.port
  }

  get connections(): number {
    return this.#sockets.size
  }

  /** Connections that were closed for want of room, ever. */
  get refused(): number {
    return this.#cap.refused
  }

  /** @throws what `TcpListener` throws */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.#isOpen) return
    this.#isOpen = true
    const { listen, proxyProtocolFrom, logger } = this.#options
    if (listen === undefined) return
    this.#listener = new TcpListener({
      listen,
      cap: this.#cap,
      clock: this.#clock,
      ...(proxyProtocolFrom !== undefined && { proxyProtocolFrom }),
      onConnection: (socket) => this.#take(socket),
      onAcceptError: (error) => logger.warn({ reason: error.message }, 'accept failed'),
    })
    try {
      await this.#listener.start(options)
    } catch (error) {
      this.#listener = undefined
      this.#isOpen = false
      throw error
    }
  }

  /**
   * Takes a connection that was accepted elsewhere, half-open allowed; nobody else may read it, and what was put back into
   * it is read first. Unless started, or above the cap, it is closed at once.
   */
  adopt(socket: Socket): void {
    socket.on('error', ignore)
    if (this.#isOpen && this.#cap.admit(socket)) this.#take(socket)
    else socket.destroy()
  }

  /** Takes no more; connections may go on for `graceMs`, then they are cut. */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    const listener = this.#listener
    this.#listener = undefined
    await Promise.all([listener?.close({ graceMs }), this.#untilEmpty(graceMs)])
  }

  #take(socket: Socket): void {
    const { remoteAddress, remotePort, localAddress, localPort } = socket
    const isGone = remoteAddress === undefined || remotePort === undefined
    if (!this.#isOpen || isGone || localAddress === undefined || localPort === undefined) {
      socket.destroy()
      return
    }
    // A user whose machine has gone without a word must not hold its place for ever.
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      if (this.#sockets.size === 0) this.#onEmpty?.()
    })
    this.#onConnection(socket, {
      remoteAddress: plainAddress(remoteAddress),
      remotePort,
      localAddress: plainAddress(localAddress),
      localPort,
    })
  }

  async #untilEmpty(graceMs: number): Promise<void> {
    const cut = (): void => {
      for (const socket of this.#sockets) socket.destroy()
    }
    if (graceMs <= 0) cut()
    if (this.#sockets.size === 0) return
    const timer = this.#clock.after(graceMs, cut)
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
    timer.cancel()
  }
}

/** Errors of a connection show as its `close`. */
function ignore(): void {}
