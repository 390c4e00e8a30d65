import type { ByteStream } from '../../../foundation/byte-stream.ts'

/** Who is at the other end of a connection. */
export interface PeerInfo {
  readonly remoteAddress: string
  readonly remotePort: number
  readonly localAddress: string
  readonly localPort: number
  readonly transport: 'tcp' | 'websocket'
  readonly isTls: boolean
}

/** A connection in frp's sense, at the server: what begins with a first message. A yamux stream, or a whole connection. */
export interface AcceptedConnection {
  readonly stream: ByteStream
  readonly peer: PeerInfo
  /** The yamux session that it is a stream of; without tcpMux there is none. */
  readonly session: Session | undefined
  /** To be called when the connection has shown that it belongs to a client; until then it counts against strangers' bounds. */
  admit(): void
}

/** A yamux session with one client. */
export interface Session {
  /** Cuts it with all its streams. */
  destroy(error?: Error): void
  /** Called once when it is over. */
  onClose(callback: (error?: Error) => void): void
}

/** The way of a client to its server. */
export interface ServerLink {
  /**
   * A new connection to the server: a yamux stream, or with tcpMux off a connection of its own. Its first bytes are the
   * caller's to write (with wire protocol v2 the magic).
   *
   * @throws TunnelError TUNNEL_UNREACHABLE, TUNNEL_TIMEOUT, TUNNEL_CLOSED
   */
  open(): Promise<ByteStream>
  /** Called once when the link is over; never with tcpMux off, where each connection ends by itself. */
  onClose(callback: (error?: Error) => void): void
  /** Ends it, with all that was opened on it when there is a session. */
  close(error?: Error): void
}
