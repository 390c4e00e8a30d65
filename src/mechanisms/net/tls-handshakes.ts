import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { type Certificate, tlsContextOptions } from './certificate.ts'
import type { ConnectionInfo } from './connection-info.ts'

/** How a listener speaks TLS: version 1.2 or 1.3, without certificates of clients. */
export interface TlsOptions {
  readonly certificate: Certificate
  /**
   * Protocols to agree on by ALPN, the dearest first. A client that offers none of them, or none at all, is served as
   * well, with no `alpn` in its info. @defaultValue []
   */
  readonly alpn?: readonly string[]
}

/** What the handshake brought. */
export type TlsAgreement = Pick<ConnectionInfo, 'alpn' | 'servername'>

type OnSecure = (socket: TLSSocket, agreement: TlsAgreement) => void

/**
 * The server's side of TLS on connections that were accepted elsewhere. Deadlines and bounds are the caller's: a
 * handshake ends by telling `onSecure`, or by the end of the connection.
 */
export class TlsHandshakes {
  readonly #alpn: readonly string[]
  readonly #server: Server
  readonly #waiting = new Map<string, OnSecure>()

  /** @throws NET_BAD_CERTIFICATE */
  constructor({ certificate, alpn = [] }: TlsOptions) {
    this.#alpn = alpn
    // It never listens: it makes sockets secure that are given to it by its `connection` event.
    this.#server = createServer({
      ...tlsContextOptions(certificate),
      ...(alpn.length > 0 && {
        ALPNCallback: ({ protocols }: { readonly protocols: readonly string[] }) => this.#select(protocols),
      }),
    })
    this.#server.on('secureConnection', (socket: TLSSocket) => this.#onSecure(socket))
  }

  /**
   * Holds for handshakes that begin from now on.
   * @throws NET_BAD_CERTIFICATE; then the one before stays
   */
  setCertificate(certificate: Certificate): void {
    this.#server.setSecureContext(tlsContextOptions(certificate))
  }

  /** Takes the socket over; what it had read before belongs to the handshake. */
  begin(socket: Socket, onSecure: OnSecure): void {
    const key = fourTuple(socket)
    this.#waiting.set(key, onSecure)
    socket.once('close', () => {
      if (this.#waiting.get(key) === onSecure) this.#waiting.delete(key)
    })
    // Who ends its side within the handshake is gone; the secure socket takes this over.
    socket.allowHalfOpen = false
    this.#server.emit('connection', socket)
  }

  /** Node does not say which socket it made secure, but both have the same ends. */
  #onSecure(socket: TLSSocket): void {
    const key = fourTuple(socket)
    const onSecure = this.#waiting.get(key)
    this.#waiting.delete(key)
    if (onSecure === undefined) {
      socket.destroy()
      return
    }
    socket.allowHalfOpen = true
    const { alpnProtocol: alpn, servername } = socket
    onSecure(socket, {
      ...(typeof alpn === 'string' && this.#alpn.includes(alpn) && { alpn }),
      ...(typeof servername === 'string' && servername !== '' && { servername }),
    })
  }

  /**
   * Since version 20, Node ends a handshake in which ALPN was offered and nothing is chosen, and only what the client
   * offered can be chosen. So a client that offers none of ours gets its own first, which binds neither side to more
   * than to go on.
   */
  #select(offered: readonly string[]): string | undefined {
    return this.#alpn.find((protocol) => offered.includes(protocol)) ?? offered[0]
  }
}

function fourTuple(socket: Socket): string {
  return [socket.remoteAddress, socket.remotePort, socket.localAddress, socket.localPort].join(' ')
}
