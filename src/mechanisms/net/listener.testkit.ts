import { once } from 'node:events'
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import type { ConnectionInfo } from './connection-info.ts'
import { TcpListener, type TcpListenerOptions } from './tcp-listener.ts'

/** A connection as the listener handed it on, and all that came over it. */
export interface Accepted {
  readonly socket: Socket
  readonly info: ConnectionInfo
  received: Buffer
}

/** A listener on loopback that keeps what it is given, and its clients. */
export class ListenerBench implements AsyncDisposable {
  readonly listener: TcpListener
  readonly accepted: Accepted[] = []
  readonly #clients: Socket[] = []

  private constructor(options: Partial<TcpListenerOptions>) {
    this.listener = new TcpListener({
      listen: { host: '127.0.0.1', port: 0 },
      onConnection: (socket, info) => {
        const accepted: Accepted = { socket, info, received: Buffer.alloc(0) }
        this.accepted.push(accepted)
        socket.on('data', (bytes: Buffer) => {
          accepted.received = Buffer.concat([accepted.received, bytes])
        })
      },
      ...options,
    })
  }

  static async start(options: Partial<TcpListenerOptions>): Promise<ListenerBench> {
    const bench = new ListenerBench(options)
    await bench.listener.start()
    return bench
  }

  get port(): number {
    return this.listener.port ?? 0
  }

  /** A plain connection from 127.0.0.1 unless told otherwise. */
  async dial(options: Partial<TcpNetConnectOpts> = {}): Promise<Socket> {
    const socket = connect({ port: this.port, host: '127.0.0.1', ...options })
    this.#keep(socket)
    await once(socket, 'connect')
    return socket
  }

  /** A TLS connection; rejects when the handshake fails. */
  async dialTls(options: ConnectionOptions): Promise<TLSSocket> {
    const socket = connectTls({ port: this.port, host: '127.0.0.1', servername: 'localhost', ...options })
    await once(socket, 'secureConnect')
    this.#keep(socket)
    return socket
  }

  #keep(socket: Socket): void {
    socket.on('error', () => undefined)
    socket.resume()
    this.#clients.push(socket)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy()
    await this.listener.close()
  }
}

/** Resolves when the socket is closed, also by an error. */
export function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}
