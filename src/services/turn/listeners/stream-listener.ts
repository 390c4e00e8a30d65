import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import {
  type Certificate,
  type ConnectionCap,
  type ConnectionInfo,
  httpAlpn,
  peekBytes,
  sharedPortProtocol,
  TcpListener,
  turnAlpn,
} from '../../../mechanisms/net/index.ts'
import { maxFrameBytes, StreamFramer } from '../../../protocols/turn/index.ts'
import type { Client } from '../core/client.ts'
import type { ListenerState } from '../core/listener-state.ts'
import type { TurnCore } from '../core/turn-core.ts'
import type { TurnLimits } from '../options.ts'
import type { BoundListener } from './listener.ts'

export interface StreamListenerOptions {
  readonly state: ListenerState
  readonly core: TurnCore
  readonly limits: () => TurnLimits
  /** Connections of all listeners together. */
  readonly cap: ConnectionCap
  readonly log: Logger
  readonly clock: Clock
}

/** Serves clients by TCP or TLS; HTTP on the same port goes to whoever takes it. */
export class StreamListener implements BoundListener {
  readonly #options: StreamListenerOptions
  readonly #listener: TcpListener
  #connections = 0

  /** @throws NET_BAD_CERTIFICATE, NET_BAD_RANGE */
  constructor(options: StreamListenerOptions) {
    this.#options = options
    const { state, cap, clock } = options
    const { listen, transport, certificate, proxyProtocolFrom, onHttp } = state.options
    this.#listener = new TcpListener({
      listen,
      cap,
      clock,
      ...(proxyProtocolFrom !== undefined && { proxyProtocolFrom }),
      ...(transport === 'tls' &&
        certificate !== undefined && {
          tls: { certificate, alpn: onHttp === undefined ? turnAlpn : [...turnAlpn, ...httpAlpn] },
        }),
      onConnection: (socket, info) => void this.#accept(socket, info),
    })
  }

  get port(): number {
    return this.#listener.port ?? 0
  }

  get refusals(): NonNullable<BoundListener['refusals']> {
    const { badProxyHeaders, failedHandshakes, overdue, displaced } = this.#listener.counts
    return { 'bad-proxy-header': badProxyHeaders, 'failed-handshake': failedHandshakes, overdue, displaced }
  }

  /** @throws NET_PORT_TAKEN, NET_PORT_FORBIDDEN, NET_ADDRESS_UNAVAILABLE, NET_LISTEN_FAILED */
  start(): Promise<void> {
    return this.#listener.start()
  }

  close(): Promise<void> {
    return this.#listener.close()
  }

  setCertificate(certificate: Certificate): void {
    this.#listener.setCertificate(certificate)
  }

  async #accept(socket: Socket, info: ConnectionInfo): Promise<void> {
    const { state, clock, limits } = this.#options
    const { onHttp } = state.options
    if (onHttp !== undefined) {
      const [first] = (await peekBytes(socket, 1, { timeoutMs: limits().idleSeconds * 1000, clock })) ?? []
      const protocol = sharedPortProtocol(first, info.alpn)
      if (protocol === 'http') return onHttp(socket)
      if (protocol === 'other') {
        socket.destroy()
        return
      }
    }
    const client = new StreamClient(socket, info, ++this.#connections, this.#options)
    client.begin()
  }
}

/** A client by TCP or TLS: one connection. */
class StreamClient implements Client {
  readonly listener: ListenerState
  readonly transport: 'tcp' | 'tls'
  readonly isStream = true
  readonly address: string
  readonly port: number
  readonly key: string
  readonly #socket: Socket
  readonly #core: TurnCore
  readonly #log: Logger
  readonly #limits: () => TurnLimits
  readonly #clock: Clock
  readonly #framer = new StreamFramer(strangerFrameBytes)
  #idle: Timer | undefined
  #isTaken = false

  constructor(
    socket: Socket,
    { remoteAddress, remotePort, localAddress, localPort }: ConnectionInfo,
    number: number,
    { state, core, limits, clock, log }: StreamListenerOptions,
  ) {
    this.listener = state
    this.transport = state.options.transport === 'tls' ? 'tls' : 'tcp'
    this.address = remoteAddress
    this.port = remotePort
    // Behind a balancer two connections may seem to come from one address and port.
    this.key = `${state.options.name} ${number} ${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
    this.#socket = socket
    this.#core = core
    this.#log = log
    this.#limits = limits
    this.#clock = clock
  }

  begin(): void {
    const socket = this.#socket
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.once('close', () => {
      this.#idle?.cancel()
      if (!this.#isTaken) this.#core.disconnected(this)
    })
    this.#watchIdle()
    if (socket.destroyed) this.#core.disconnected(this)
  }

  send(bytes: Uint8Array): boolean {
    const socket = this.#socket
    if (this.#isTaken || !socket.writable) return false
    // A client that does not read: its data is dropped like a datagram (RFC 8656 §3.1); it must not cost us memory.
    if (socket.writableLength + bytes.length > this.#limits().maxClientQueueBytes) return false
    socket.write(new Uint8Array(bytes))
    return true
  }

  isGone(): boolean {
    return this.#isTaken || this.#socket.destroyed
  }

  takeOver(): Socket | undefined {
    const socket = this.#socket
    if (this.isGone()) return undefined
    this.#isTaken = true
    this.#idle?.cancel()
    socket.off('data', this.#onData)
    socket.off('end', this.#onEnd)
    socket.pause()
    const rest = this.#framer.stop()
    if (rest.length > 0) socket.unshift(Uint8Array.from(rest))
    return socket
  }

  disconnect(): void {
    this.#socket.destroy()
  }

  readonly #onData = (chunk: Buffer): void => {
    for (const frame of this.#framer.push(chunk)) {
      const allocation = this.#core.allocationOf(this.key)
      this.#framer.maxBytes = this.#core.isServed(this.key) ? maxFrameBytes : strangerFrameBytes
      try {
        this.#core.receive(frame, this, allocation)
      } catch (error) {
        // A bug of ours, which costs this client its connection and nobody else anything.
        this.#log.error({ code: errorCode(error), err: error }, 'a message could not be handled')
        this.#socket.destroy()
        return
      }
      if (this.isGone()) return
    }
    if (this.#framer.isBroken) this.#socket.destroy()
  }

  readonly #onEnd = (): void => {
    this.#socket.end()
  }

  /** Who has no allocation and asks for none must not hold a connection. */
  #watchIdle(): void {
    this.#idle = this.#clock.after(this.#limits().idleSeconds * 1000, () => {
      if (this.#core.isServed(this.key)) this.#watchIdle()
      else this.#socket.destroy()
    })
  }
}

/** Of whom nothing is known no longer frame is gathered; requests are far shorter. */
const strangerFrameBytes = 4096
