import type { ByteStream } from '../../../foundation/byte-stream.ts'

/** Where a user comes from, and which address it asked; told to the client in StartWorkConn. */
export interface UserAddress {
  readonly remoteAddress: string
  readonly remotePort: number
  /** Absent where a request, not a connection, is carried (http). */
  readonly localAddress?: string
  readonly localPort?: number
}

/** The service behind one registered proxy. */
export interface Backend {
  readonly proxyName: string
  /**
   * Carries a whole user connection: takes a work connection, joins the two and counts it. The stream is the backend's from
   * now on, also when no work connection can be had: then it is destroyed.
   *
   * @param halfClose whether the user keeps one direction open when the other has ended. @defaultValue true
   */
  serve(user: ByteStream, address: UserAddress, halfClose?: boolean): void
  /**
   * A connection to the service, with the proxy's layers and limits upon it and counted until it closes.
   * @throws TunnelError TUNNEL_NO_BACKEND, TUNNEL_TIMEOUT (after `userConnTimeout`), TUNNEL_FORBIDDEN (a limit)
   */
  connect(address: UserAddress): Promise<ByteStream>
}

/** Whom a route leads to: one proxy, or the next member of its group. Undefined: none is there at the moment. */
export interface BackendPicker {
  next(): Backend | undefined
}
