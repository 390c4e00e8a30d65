import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { systemClock } from '../../foundation/clock.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import { AddressRanges } from './address-ranges.ts'
import type { Certificate } from './certificate.ts'
import { ConnectionCap } from './connection-cap.ts'
import { type ConnectionInfo, connectionInfo, showAddresses, withProxyHeader } from './connection-info.ts'
import type { ListenAddress } from './endpoint-text.ts'
import { listenTcp } from './listen-tcp.ts'
import { peekBytes } from './peek-bytes.ts'
import { readProxyHeader } from './proxy-header-reader.ts'
import { type TlsAgreement, TlsHandshakes, type TlsOptions } from './tls-handshakes.ts'
import { UnfinishedConnections } from './unfinished-connections.ts'

/** What a `TcpListener` listens on and lets in. */
export interface TcpListenerOptions {
  readonly listen: ListenAddress
  /**
   * Takes each connection that was let in, once it has said what it must: its PROXY protocol header, its TLS handshake.
   * Its errors need no handler for the process's sake; the listener counts it until its `close` event. The socket tells the
   * same addresses as `info`, but maybe IPv4 in the form of IPv6.
   */
  readonly onConnection: (socket: Socket, info: ConnectionInfo) => void
  /** Told of connections that could not be accepted, for instance for want of descriptors. @defaultValue ignored */
  readonly onAcceptError?: (error: Error) => void
  /** Told of each connection that the cap refuses. @defaultValue ignored */
  readonly onRefused?: () => void
  /** Connections above it are closed at once; several listeners may share one. @defaultValue one of its own */
  readonly cap?: ConnectionCap
  /**
   * Addresses and CIDR ranges of balancers. What comes from there must begin with a PROXY protocol header (version 1 or
   * 2, at most 4,096 bytes), which says who the client is; other connections are taken as they are. @defaultValue []
   */
  readonly proxyProtocolFrom?: readonly string[]
  /** A connection whose header is not there after so many milliseconds is cut. @defaultValue 3000 */
  readonly proxyHeaderTimeoutMs?: number
  /** Makes it TLS. @defaultValue plain TCP */
  readonly tls?: TlsOptions
  /** A connection whose TLS handshake takes more milliseconds is cut. @defaultValue 10,000 */
  readonly handshakeTimeoutMs?: number
  /** Most connections within header or handshake; for one more, the oldest of them is cut. @defaultValue 1000 */
  readonly maxUnfinished?: number
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
}

const DEFAULTS = {
  proxyProtocolFrom: [],
  proxyHeaderTimeoutMs: 3000,
  handshakeTimeoutMs: 10_000,
  maxUnfinished: 1000,
} as const

/** What went wrong with connections before anybody was told of them, in numbers since the listener was made. */
export interface ListenerCounts {
  /** Came from a balancer and began with something else than a whole PROXY protocol header. */
  readonly badProxyHeaders: number
  /** Broke off, by either side, within the TLS handshake. */
  readonly failedHandshakes: number
  /** Took too long for header or handshake. */
  readonly overdue: number
  /** Were cut within header or handshake because there were too many of them. */
  readonly displaced: number
}

/**
 * A TCP or TLS port that accepts connections within a cap. Accepted sockets send without delay and stay open for writing
 * after the peer has ended its side.
 */
export class TcpListener implements Lifecycle {
  readonly #options: TcpListenerOptions & Required<Pick<TcpListenerOptions, keyof typeof DEFAULTS>>
  readonly #cap: ConnectionCap
  readonly #clock: Clock
  readonly #balancers: AddressRanges
  #tls: TlsHandshakes | undefined
  #unfollow: (() => void) | undefined
  readonly #unfinished: UnfinishedConnections
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #badProxyHeaders = 0
  #failedHandshakes = 0

  /** @throws NetError: `NET_BAD_RANGE`, `NET_BAD_CERTIFICATE` */
  constructor(options: TcpListenerOptions) {
    this.#options = { ...DEFAULTS, ...options }
    this.#cap = options.cap ?? new ConnectionCap()
    this.#clock = options.clock ?? systemClock
    this.#balancers = new AddressRanges(this.#options.proxyProtocolFrom)
    // A source may have no certificate before its own start.
    if (options.tls !== undefined && !('certificates' in options.tls.certificate)) {
      this.#tls = new TlsHandshakes(options.tls)
    }
    this.#unfinished = new UnfinishedConnections(this.#options.maxUnfinished, this.#clock)
  }

  /** Port in use; undefined while not listening. */
  get port(): number | undefined {
    return this.address?.port
  }

  /** Where it listens; undefined while it does not. */
  get address(): AddressInfo | undefined {
    const address = this.#server?.address()
    return typeof address === 'object' && address !== null ? address : undefined
  }

  /** Connections that are open, with those that are `unfinished`. */
  get connections(): number {
    return this.#sockets.size
  }

  /** Connections within header or handshake. */
  get unfinished(): number {
    return this.#unfinished.size
  }

  get counts(): ListenerCounts {
    return {
      badProxyHeaders: this.#badProxyHeaders,
      failedHandshakes: this.#failedHandshakes,
      overdue: this.#unfinished.overdue,
      displaced: this.#unfinished.displaced,
    }
  }

  /**
   * Shows another certificate to connections that begin their handshake from now on; the others go on.
   * @throws NetError `NET_BAD_CERTIFICATE`; then the one before stays
   * @throws TypeError when it was made without `tls`, or with a source of certificates (misuse)
   */
  setCertificate(certificate: Certificate): void {
    const { tls } = this.#options
    if (tls === undefined) throw new TypeError('the listener does not speak TLS')
    if ('certificates' in tls.certificate)
      throw new TypeError('the listener follows its source of certificates')
    this.#tls?.setCertificate(certificate)
  }

  /**
   * Opens the port.
   * @throws NetError that names the address and what to do: `NET_PORT_TAKEN`, `NET_PORT_FORBIDDEN`,
   * `NET_ADDRESS_UNAVAILABLE`, `NET_LISTEN_FAILED`; `NET_BAD_CERTIFICATE` for one of a source
   */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#server !== undefined) return
    signal?.throwIfAborted()
    const { tls } = this.#options
    if (tls !== undefined && 'certificates' in tls.certificate) this.#tls = new TlsHandshakes(tls)
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => this.#accept(socket))
    this.#server = server
    try {
      await listenTcp(server, this.#options.listen)
      server.on('error', (error) => this.#options.onAcceptError?.(error))
      signal?.throwIfAborted()
      this.#unfollow = this.#tls?.follow()
    } catch (error) {
      this.#server = undefined
      if (server.listening) server.close()
      throw error
    }
  }

  /** Stops accepting at once; connections that are finished may go on for `graceMs`, then they are destroyed. */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    this.#unfollow?.()
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve())
    })
    const cut = (): void => {
      for (const socket of this.#sockets) socket.destroy()
    }
    this.#unfinished.cut()
    if (graceMs <= 0) cut()
    const timer = this.#clock.after(graceMs, cut)
    await closed
    timer.cancel()
  }

  #accept(socket: Socket): void {
    socket.on('error', ignore)
    const info = connectionInfo(socket)
    if (info === undefined) {
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    if (this.#balancers.has(info.remoteAddress)) this.#awaitHeader(socket, info)
    else this.#admit(socket, info)
  }

  #awaitHeader(socket: Socket, info: ConnectionInfo): void {
    this.#unfinished.add(socket, this.#options.proxyHeaderTimeoutMs, () => this.#badProxyHeaders++)
    readProxyHeader(socket, (header) => {
      this.#unfinished.remove(socket)
      this.#admit(socket, withProxyHeader(info, header))
    })
  }

  #admit(socket: Socket, info: ConnectionInfo): void {
    if (!this.#cap.admit(socket, info.remoteAddress)) {
      socket.destroy()
      this.#options.onRefused?.()
    } else if (this.#tls === undefined) this.#hand(socket, info)
    else this.#secure(socket, info, this.#tls)
  }

  #secure(socket: Socket, info: ConnectionInfo, tls: TlsHandshakes): void {
    const { handshakeTimeoutMs: timeoutMs, tls: options } = this.#options
    this.#unfinished.add(socket, timeoutMs, () => this.#failedHandshakes++)
    if (options?.servesPlain !== true) {
      this.#shake(socket, info, tls)
      return
    }
    void peekBytes(socket, 1, { timeoutMs, clock: this.#clock }).then((first) => {
      if (first?.[0] === TLS_HANDSHAKE) this.#shake(socket, info, tls)
      else if (first?.[0] === undefined) socket.destroy()
      else {
        this.#unfinished.remove(socket)
        this.#hand(socket, info)
      }
    })
  }

  #shake(socket: Socket, info: ConnectionInfo, tls: TlsHandshakes): void {
    const done = (): void => this.#unfinished.remove(socket)
    const onSecure = (tlsSocket: Socket, agreement: TlsAgreement): void => {
      done()
      tlsSocket.on('error', ignore)
      this.#hand(tlsSocket, { ...info, ...agreement })
    }
    tls.begin(socket, onSecure, done)
  }

  #hand(socket: Socket, info: ConnectionInfo): void {
    if (info.isProxied) showAddresses(socket, info)
    this.#options.onConnection(socket, info)
  }
}

/** The type of the record that a TLS client begins with (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 22

/** Errors of a connection show as its `close`; whoever cares listens too. */
function ignore(): void {}
