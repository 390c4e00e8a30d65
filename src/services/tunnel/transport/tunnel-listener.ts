import type { Socket } from 'node:net'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import type { FrpsConfig } from '../../../mechanisms/frp-config/index.ts'
import {
  ConnectionCap,
  type ConnectionInfo,
  hostOf,
  peekBytes,
  TcpListener,
} from '../../../mechanisms/net/index.ts'
import { socketStream, StreamDuplex, webSocketStream } from '../../../mechanisms/streams/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { classifyFirstBytes, type FirstBytes } from '../../../protocols/frp/index.ts'
import type { AcceptedConnection, PeerInfo } from './contract.ts'
import { peekStream, skipPeeked } from './peek-stream.ts'
import { ServerTls } from './server-tls.ts'
import { type Stranger, Strangers } from './strangers.ts'
import { WebSocketDoor } from './web-socket-door.ts'
import { YamuxDoor } from './yamux-door.ts'

/** What the tunnel's port needs. */
export interface TunnelListenerOptions {
  readonly config: Pick<FrpsConfig, 'bindAddr' | 'bindPort' | 'transport' | 'limits'>
  readonly clock: Clock
  readonly logger: Logger
  /** Takes each connection in frp's sense, before its first message. */
  readonly onConnection: (connection: AcceptedConnection) => void
  /**
   * Takes plain HTTP other than frp's WebSocket, when the HTTP vhost shares the port; its first bytes are in the socket.
   * @defaultValue it is answered 404
   */
  readonly onHttp?: (socket: Socket, info: ConnectionInfo) => void
  /**
   * Takes TLS when the HTTPS vhost shares the port; clients of frp then reach the server by the marker byte only, as with
   * frps. @defaultValue TLS is frp's
   */
  readonly onHttps?: (socket: Socket, info: ConnectionInfo) => void
}

/** Numbers since the listener was made, but for those of now. */
export interface TunnelListenerCounts {
  /** Open connections now, and those of them that have not logged in. */
  readonly connections: number
  readonly unauthenticated: number
  /** Cut while unauthenticated because there were too many. */
  readonly displaced: number
  /** Said nothing that frp says, or not in time; broke off within a handshake included. */
  readonly unintelligible: number
  /** Without TLS where it is forced. */
  readonly withoutTls: number
  /** Streams refused because their session has too many and has not logged in. */
  readonly refusedStreams: number
}

/** How long each step may take that a connection goes through before its first message (reference §2.1). */
const stepMs = 10_000
/** `GET /~!frp`; nothing in the protocol is shorter. */
const firstBytesCount = 10

/** What a connection has gone through so far. */
interface Path {
  readonly info: ConnectionInfo
  readonly stranger: Stranger
  readonly isTls: boolean
  /** TLS directly upon this, be it TCP or a WebSocket: there is one layer of it at most. */
  readonly isSecured: boolean
  readonly isWebSocket: boolean
}

/**
 * The tunnel's TCP port: finds out what each connection speaks (TLS, WebSocket, WebSocket within TLS, TLS within
 * WebSocket, HTTP), takes these layers off, and hands on connections in frp's sense: streams of yamux sessions, or, for clients
 * without `tcpMux`, whole connections; which of both is seen by their first bytes. Every connection waits for itself alone.
 */
export class TunnelListener implements Lifecycle {
  readonly #options: TunnelListenerOptions
  readonly #tls: ServerTls
  readonly #listener: TcpListener
  readonly #strangers: Strangers
  readonly #webSockets = new WebSocketDoor()
  readonly #yamux: YamuxDoor
  #unintelligible = 0
  #withoutTls = 0

  /** @throws NetError NET_BAD_RANGE for `proxyProtocolFrom` */
  constructor(options: TunnelListenerOptions) {
    this.#options = options
    const { config, clock, logger } = options
    const { transport, limits } = config
    this.#tls = new ServerTls(transport.tls, { clock, logger })
    this.#strangers = new Strangers(limits)
    this.#yamux = new YamuxDoor({
      keepaliveMs: transport.tcpMuxKeepaliveInterval * 1000,
      clock,
      onConnection: options.onConnection,
    })
    // Without tcpMux each user's connection is one here as well, all of them from one address.
    const known = limits.maxConnections + limits.maxClients
    const most = limits.maxUnauthenticated + 2 * known
    this.#listener = new TcpListener({
      listen: { ...hostOf(config.bindAddr), port: config.bindPort },
      cap: new ConnectionCap({ maxConnections: most, maxConnectionsPerAddress: most }),
      proxyProtocolFrom: transport.proxyProtocolFrom,
      maxUnfinished: limits.maxUnauthenticated,
      clock,
      onConnection: (socket, info) => this.#accept(socket, info),
      onAcceptError: (error) => logger.warn({ err: error }, 'a connection could not be accepted'),
    })
  }

  /** Port in use; undefined while not listening. */
  get port(): number | undefined {
    return this.#listener.port
  }

  get counts(): TunnelListenerCounts {
    return {
      connections: this.#listener.connections,
      unauthenticated: this.#strangers.size,
      displaced: this.#strangers.displaced + this.#listener.counts.displaced,
      unintelligible: this.#unintelligible + this.#listener.counts.badProxyHeaders,
      withoutTls: this.#withoutTls,
      refusedStreams: this.#yamux.refused,
    }
  }

  /** @throws NetError as `TcpListener.start` and `CertificateFiles.start` do; TunnelError TUNNEL_BAD_OPTION */
  async start(options: StartOptions = {}): Promise<void> {
    await this.#tls.start(options)
    try {
      await this.#listener.start(options)
    } catch (error) {
      await this.#tls.close()
      throw error
    }
  }

  async close(options: CloseOptions = {}): Promise<void> {
    await Promise.all([this.#listener.close(options), this.#tls.close()])
  }

  #accept(socket: Socket, info: ConnectionInfo): void {
    const { tcpKeepalive } = this.#options.config.transport
    if (tcpKeepalive > 0) socket.setKeepAlive(true, tcpKeepalive * 1000)
    const stranger = this.#strangers.add(info.remoteAddress, () => socket.destroy())
    socket.once('close', () => stranger.remove())
    void this.#enter(socket, { info, stranger, isTls: false, isSecured: false, isWebSocket: false })
  }

  /** Never rejects. */
  async #enter(socket: Socket, path: Path): Promise<void> {
    const { clock } = this.#options
    const bytes = await peekBytes(socket, firstBytesCount, { timeoutMs: stepMs, clock })
    // Who connects and leaves, as checks of health do, has said nothing wrong.
    if (bytes?.length === 0) socket.destroy()
    if (socket.destroyed) return
    const kind = kindOf(bytes)
    const { onHttp, onHttps } = this.#options
    if (kind === 'http' && onHttp !== undefined && !path.isTls && !path.isWebSocket) {
      path.stranger.remove()
      onHttp(socket, path.info)
    } else if ((kind === 'websocket' || kind === 'http') && !path.isWebSocket) {
      this.#serveHttp(socket, path)
    } else if (kind === 'tls' && onHttps !== undefined && !path.isTls && !path.isWebSocket) {
      path.stranger.remove()
      onHttps(socket, path.info)
    } else if ((kind === 'tls' || kind === 'marked-tls') && !path.isSecured) {
      if (kind === 'marked-tls') socket.read(1)
      await this.#secure(socket, path)
    } else if (isFrp(kind)) {
      this.#hand(socketStream(socket), kind, path)
    } else {
      this.#refuse(path, kind)
      socket.destroy()
    }
  }

  async #enterWebSocket(stream: ByteStream, path: Path): Promise<void> {
    const bytes = await peekStream(stream, firstBytesCount, stepMs, this.#options.clock)
    const kind = kindOf(bytes)
    if (kind === 'tls' || kind === 'marked-tls') {
      if (kind === 'marked-tls') skipPeeked(stream, 1)
      await this.#secure(new StreamDuplex(stream, { ...path.info, clock: this.#options.clock }), path)
    } else if (isFrp(kind)) {
      this.#hand(stream, kind, path)
    } else {
      this.#refuse(path, kind)
      stream.destroy()
    }
  }

  #serveHttp(socket: Socket, path: Path): void {
    const timer = this.#options.clock.after(stepMs, () => {
      this.#refuse(path, 'http')
      socket.destroy()
    })
    socket.once('close', () => timer.cancel())
    this.#webSockets.serve(socket, (webSocket) => {
      timer.cancel()
      void this.#enterWebSocket(webSocketStream(webSocket), { ...path, isSecured: false, isWebSocket: true })
    })
  }

  async #secure(stream: Socket | StreamDuplex, path: Path): Promise<void> {
    const timer = this.#options.clock.after(stepMs, () => stream.destroy())
    try {
      const socket = await this.#tls.handshake(stream)
      timer.cancel()
      await this.#enter(socket, { ...path, isTls: true, isSecured: true })
    } catch (error) {
      timer.cancel()
      stream.destroy()
      this.#refuse(path, errorMessage(error))
    }
  }

  /** Plain, or within TLS or a WebSocket or both: here frp begins. */
  #hand(stream: ByteStream, kind: FirstBytes, path: Path): void {
    const { info, stranger, isTls, isWebSocket } = path
    if (!isTls && this.#tls.isForced) {
      this.#withoutTls++
      stream.destroy()
      return
    }
    const peer: PeerInfo = {
      remoteAddress: info.remoteAddress,
      remotePort: info.remotePort,
      localAddress: info.localAddress,
      localPort: info.localPort,
      transport: isWebSocket ? 'websocket' : 'tcp',
      isTls,
    }
    if (kind === 'yamux') this.#yamux.enter(stream, peer, stranger)
    else this.#options.onConnection({ stream, peer, session: undefined, admit: () => stranger.remove() })
  }

  #refuse({ info, isTls, isWebSocket }: Path, reason: string): void {
    this.#unintelligible++
    const { remoteAddress } = info
    this.#options.logger.debug({ remoteAddress, isTls, isWebSocket, reason }, 'connection refused')
  }
}

/** Undefined bytes: it closed, or said nothing in time. */
function kindOf(bytes: Uint8Array | undefined): FirstBytes {
  return bytes === undefined ? 'more' : classifyFirstBytes(bytes)
}

function isFrp(kind: FirstBytes): boolean {
  return kind === 'yamux' || kind === 'v1' || kind === 'v2'
}
