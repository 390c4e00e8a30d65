import { connect, isIP, type OnReadOpts, type Socket, type TcpNetConnectOpts } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'

/** How a connection to an origin is opened. */
export interface DialOptions extends TcpNetConnectOpts {
  /**
   * Speak TLS, with these options. Then `secureConnect` comes behind `connect`, and what is written before waits for it;
   * a certificate that does not hold ends the connection by its `error`, with Node's code. A `servername` that is an address
   * is left out (RFC 6066 §3); the certificate is checked against `host` then. Absent: plain.
   */
  readonly tls?: Pick<
    ConnectionOptions,
    'servername' | 'ca' | 'rejectUnauthorized' | 'ALPNProtocols' | 'secureContext'
  >
  /** A PROXY protocol header, sent ahead of everything, TLS included. Absent: none. */
  readonly proxyHeader?: Uint8Array
}

/**
 * Opens a TCP or TLS connection. Services are given one, so that a test can stand in for the network. `onread` works on
 * both; over TLS the bytes are its callback's own, and its `buffer` is not used.
 */
export type Dial = (options: DialOptions) => Socket

/** The dial of the machine. */
export const dialTcp: Dial = ({ tls: wanted, proxyHeader, onread, ...options }) => {
  if (wanted === undefined) {
    const socket = connect({ ...options, ...(onread !== undefined && { onread }) })
    if (proxyHeader !== undefined) socket.write(proxyHeader)
    return socket
  }
  const { servername = '', ...rest } = wanted
  const tls = isIP(servername) === 0 && servername !== '' ? wanted : rest
  const secure =
    proxyHeader === undefined
      ? connectTls({ ...options, ...tls })
      : secureBehind(connectTls({ ...options, ...tls, socket: behindHeader(options, proxyHeader) }))
  if (onread !== undefined) readByCallback(secure, onread)
  return secure
}

/** A connection that sends the header as soon as it stands: before the handshake, which waits for the same event. */
function behindHeader(options: TcpNetConnectOpts, header: Uint8Array): Socket {
  const socket = connect(options)
  socket.write(header)
  // Told of by the TLS socket above it.
  socket.on('error', () => {})
  return socket
}

/** Node tells an error of the connection beneath twice, and the second time nobody may listen any more. */
function secureBehind(socket: Socket): Socket {
  return socket.on('error', () => {})
}

/**
 * Node's own `onread` of a TLS socket goes on after a pause with what it had decrypted, and would write over what the
 * callback still holds.
 */
function readByCallback(socket: Socket, onread: OnReadOpts): void {
  socket.on('data', (bytes: Buffer) => {
    if (!onread.callback(bytes.length, bytes)) socket.pause()
  })
}
