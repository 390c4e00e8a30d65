import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'

/** How a connection to an origin is opened. */
export interface DialOptions extends TcpNetConnectOpts {
  /**
   * Speak TLS, with these options (`servername`, `ca`, `rejectUnauthorized`). Then `secureConnect` comes behind `connect`,
   * and what is written before waits for it. Absent: plain.
   */
  readonly tls?: Pick<ConnectionOptions, 'servername' | 'ca' | 'rejectUnauthorized' | 'ALPNProtocols'>
}

/** Opens a TCP or TLS connection. Services are given one, so that a test can stand in for the network. */
export type Dial = (options: DialOptions) => Socket

/** The dial of the machine. */
export const dialTcp: Dial = ({ tls, ...options }) =>
  tls === undefined ? connect(options) : connectTls({ ...options, ...tls })
