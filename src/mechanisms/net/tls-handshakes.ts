import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { type Certificate, tlsContextOptions } from './certificate.ts'
import { type CertificateSource, fixedCertificates } from './certificate-source.ts'
import { peekClientHello } from './client-hello-reader.ts'
import type { ConnectionInfo } from './connection-info.ts'
import { ServerContexts } from './server-contexts.ts'

/** How a listener speaks TLS: version 1.2 or 1.3, without certificates of clients. */
export interface TlsOptions {
  /** One that stays until `setCertificate`, or several that may change, by the name that a client asks for. */
  readonly certificate: Certificate | CertificateSource
  /**
   * Protocols to agree on by ALPN, the dearest first. A client that offers none of them, or none at all, is served as
   * well, with no `alpn` in its info. @defaultValue []
   */
  readonly alpn?: readonly string[]
  /** Serves connections that begin otherwise than TLS does as plain ones. @defaultValue false */
  readonly servesPlain?: boolean
}

/** What the handshake brought. */
export type TlsAgreement = Pick<ConnectionInfo, 'alpn' | 'servername'>

type OnSecure = (socket: TLSSocket, agreement: TlsAgreement) => void

/** RFC 8737 §6.2: the only protocol that a validating authority offers. */
const ACME_TLS_ALPN = 'acme-tls/1'

/**
 * The server's side of TLS on connections that were accepted elsewhere. Deadlines and bounds are the caller's: a
 * handshake ends by telling `onSecure`, by having answered a challenge, or by the end of the connection.
 */
export class TlsHandshakes {
  readonly #alpn: readonly string[]
  readonly #server: Server
  readonly #source: CertificateSource
  #contexts: ServerContexts
  readonly #waiting = new Map<string, OnSecure>()

  /** @throws NET_BAD_CERTIFICATE */
  constructor({ certificate, alpn = [] }: TlsOptions) {
    this.#alpn = alpn
    this.#source = 'certificates' in certificate ? certificate : fixedCertificates([certificate])
    this.#contexts = new ServerContexts(this.#source.certificates, this.#source.minVersion)
    // It never listens: it makes sockets secure that are given to it by its `connection` event.
    this.#server = createServer({
      ...this.#contexts.defaultOptions,
      SNICallback: (name, callback) => callback(null, this.#contexts.contextFor(name)),
      ...(alpn.length > 0 && {
        ALPNCallback: ({ protocols }: { readonly protocols: readonly string[] }) => this.#select(protocols),
      }),
    })
    this.#server.on('secureConnection', (socket: TLSSocket) => this.#onSecure(socket))
  }

  /** Follows its source from now on; the function that it gives ends that. */
  follow(): () => void {
    return this.#source.onChange(() => this.#use(this.#source.certificates))
  }

  /**
   * Holds for handshakes that begin from now on.
   * @throws NET_BAD_CERTIFICATE; then the one before stays
   */
  setCertificate(certificate: Certificate): void {
    this.#use([certificate])
  }

  /** Takes the socket over; what it had read before belongs to the handshake. `onAnswered`: it was only a challenge. */
  begin(socket: Socket, onSecure: OnSecure, onAnswered: () => void): void {
    const { challenges } = this.#source
    if (challenges === undefined || challenges.size === 0) {
      this.#shake(this.#server, socket, onSecure)
      return
    }
    // Node tells of ALPN when the certificate has been chosen, so that it has to be read before.
    peekClientHello(socket, (hello) => {
      const asksOnly = hello?.protocols.length === 1 && hello.protocols[0] === ACME_TLS_ALPN
      const challenge = asksOnly ? challenges.get(hello.name) : undefined
      if (challenge === undefined) {
        this.#shake(this.#server, socket, onSecure)
        return
      }
      this.#shake(this.#challengeServer(challenge), socket, (secure) => {
        onAnswered()
        secure.on('error', () => {})
        secure.destroySoon()
      })
    })
  }

  #use(certificates: readonly Certificate[]): void {
    const contexts = new ServerContexts(certificates, this.#source.minVersion)
    this.#server.setSecureContext(contexts.defaultOptions)
    this.#contexts = contexts
  }

  #challengeServer(certificate: Certificate): Server {
    const server = createServer({ ...tlsContextOptions(certificate), ALPNProtocols: [ACME_TLS_ALPN] })
    server.on('secureConnection', (socket: TLSSocket) => this.#onSecure(socket))
    return server
  }

  #shake(server: Server, socket: Socket, onSecure: OnSecure): void {
    const key = fourTuple(socket)
    this.#waiting.set(key, onSecure)
    socket.once('close', () => {
      if (this.#waiting.get(key) === onSecure) this.#waiting.delete(key)
    })
    // Who ends its side within the handshake is gone; the secure socket takes this over.
    socket.allowHalfOpen = false
    server.emit('connection', socket)
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
