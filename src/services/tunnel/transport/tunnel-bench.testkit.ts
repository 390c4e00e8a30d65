import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect } from 'vitest'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import {
  frpcConfigOf,
  type FrpcTransportConfig,
  type FrpsConfig,
} from '../../../mechanisms/frp-config/index.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { type ConnectParts, connectServer } from './connect-server.ts'
import type { AcceptedConnection, ServerLink } from './contract.ts'
import { TunnelListener, type TunnelListenerOptions } from './tunnel-listener.ts'

type Limits = FrpsConfig['limits']
type ClientTlsConfig = FrpcTransportConfig['tls']

export interface BenchOptions extends Pick<TunnelListenerOptions, 'onHttp' | 'onHttps'> {
  readonly host?: string
  readonly tls?: Partial<FrpsConfig['transport']['tls']>
  readonly limits?: Partial<Limits>
  readonly proxyProtocolFrom?: readonly string[]
  readonly clock?: Clock
  /** Whether what arrives is admitted and sent back. @defaultValue true */
  readonly echoes?: boolean
}

export interface ClientOptions extends Partial<Omit<FrpcTransportConfig, 'tls'>>, Partial<ConnectParts> {
  readonly tls?: Partial<ClientTlsConfig>
  readonly serverAddr?: string
  readonly serverPort?: number
  readonly dnsServer?: string
}

/** A tunnel's port on loopback that keeps what it accepts, and its clients. */
export class TunnelBench implements AsyncDisposable {
  readonly listener: TunnelListener
  readonly accepted: AcceptedConnection[] = []
  readonly #links: ServerLink[] = []
  readonly #sockets: Socket[] = []

  private constructor(options: BenchOptions) {
    const {
      host = '127.0.0.1',
      tls,
      limits,
      proxyProtocolFrom = [],
      clock,
      echoes = true,
      ...hooks
    } = options
    this.listener = new TunnelListener({
      config: {
        bindAddr: host,
        bindPort: 0,
        limits: {
          maxUnauthenticated: 100,
          maxUnauthenticatedPerAddress: 100,
          loginsPerMinute: 1000,
          maxClients: 100,
          maxProxiesPerClient: 10,
          maxConnections: 1000,
          maxConnectionsPerProxy: 100,
          ...limits,
        },
        transport: {
          tcpMux: true,
          tcpMuxKeepaliveInterval: 30,
          tcpKeepalive: 7200,
          maxPoolCount: 5,
          heartbeatTimeout: -1,
          tls: { force: false, certFile: '', keyFile: '', trustedCaFile: '', ...tls },
          proxyProtocolFrom,
        },
      },
      clock: clock ?? systemClock,
      logger: silentLogger(),
      onConnection: (connection) => {
        this.accepted.push(connection)
        if (!echoes) return
        connection.admit()
        echo(connection.stream)
      },
      ...hooks,
    })
  }

  static async start(options: BenchOptions = {}): Promise<TunnelBench> {
    const bench = new TunnelBench(options)
    await bench.listener.start()
    return bench
  }

  get port(): number {
    return this.listener.port ?? 0
  }

  /** A client of ours, with frpc's defaults otherwise. */
  async connect(options: ClientOptions = {}): Promise<ServerLink> {
    const { serverAddr = '127.0.0.1', serverPort = this.port, dnsServer = '' } = options
    const { clock = systemClock, logger = silentLogger(), signal, dial, proxyAuthorities } = options
    const link = await connectServer(
      { serverAddr, serverPort, dnsServer, transport: clientTransport(options) },
      {
        clock,
        logger,
        ...(signal !== undefined && { signal }),
        ...(dial !== undefined && { dial }),
        ...(proxyAuthorities !== undefined && { proxyAuthorities }),
      },
    )
    this.#links.push(link)
    return link
  }

  /** A connection that says nothing by itself. */
  async dial(host = '127.0.0.1'): Promise<Socket> {
    const socket = connect({ port: this.port, host })
    socket.on('error', () => undefined)
    this.#sockets.push(socket)
    await once(socket, 'connect')
    return socket
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const link of this.#links) link.close()
    for (const socket of this.#sockets) socket.destroy()
    await this.listener.close()
  }
}

function clientTransport({ tls, ...options }: ClientOptions): FrpcTransportConfig {
  const { transport } = frpcConfigOf({}, { env: {} }).config
  return { ...transport, ...options, tls: { ...transport.tls, ...tls } }
}

/** An expectation that holds within ten seconds, on a busy machine too. */
export function soon<T>(read: () => T): ReturnType<typeof expect.poll<Awaited<T>>> {
  return expect.poll(read, { timeout: 15_000 })
}

/** Sends back what comes, and ends when the peer does. */
function echo(stream: ByteStream): void {
  stream.attach({
    onBytes: (bytes) => {
      if (!stream.write(Buffer.from(bytes))) stream.pause()
      return true
    },
    onEnd: () => stream.end(),
    onDrain: () => stream.resume(),
    onClose: () => undefined,
  })
  stream.resume()
}

/** Begins as a message of wire version 1 does. */
export const loginLike: Buffer = Buffer.from('o and so on, for some time')

/** Writes and waits for as many bytes; rejects when the stream closes before. */
export function roundTrip(stream: ByteStream, bytes: Uint8Array = loginLike): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0)
    stream.attach({
      onBytes: (piece) => {
        received = Buffer.concat([received, piece])
        if (received.length >= bytes.length) resolve(received)
        return true
      },
      onEnd: () => reject(new Error('ended')),
      onDrain: () => undefined,
      onClose: (error) => reject(error ?? new Error('closed')),
    })
    stream.resume()
    stream.write(bytes)
  })
}

/** Resolves when the socket is closed, also by an error, with all that came. */
export function readToClose(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1')
    })
    socket.once('close', () => resolve(text))
    if (socket.destroyed) resolve(text)
  })
}
