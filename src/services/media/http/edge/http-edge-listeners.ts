import type { AddressInfo, Socket } from 'node:net'
import type { Clock } from '../../../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../../foundation/lifecycle.ts'
import {
  type Certificate,
  type CertificateSource,
  type ConnectionCap,
  type ConnectionInfo,
  httpAlpn,
  type ListenAddress,
  type ListenerCounts,
  mediaPortProtocol,
  peekBytes,
  TcpListener,
} from '../../../../mechanisms/net/index.ts'

/** Where the edge serves HTTPS (HTTP/1.1; HTTP/2 is not offered). */
export interface SecureHttpOptions {
  readonly listen: readonly ListenAddress[]
  readonly certificate: Certificate | CertificateSource
  /** Serves plain HTTP on the same ports, told apart by the first byte. @defaultValue false */
  readonly servesPlain?: boolean
}

export interface EdgeListenersOptions {
  readonly listen: readonly ListenAddress[]
  readonly secure?: SecureHttpOptions
  readonly proxyProtocolFrom?: readonly string[]
  readonly cap: ConnectionCap
  readonly clock: Clock
  /** How long a connection may be silent on a port that is shared, in milliseconds. */
  readonly firstByteTimeoutMs: number
  readonly onHttp: (socket: Socket) => void
  /** Absent: no port is shared. */
  readonly onRtmp?: (socket: Socket, info: ConnectionInfo) => void
  readonly onRefused: () => void
  readonly onAcceptError: (error: Error) => void
}

/** The ports of the edge. They hand on connections that are within the cap, behind balancers and TLS. */
export class EdgeListeners implements Lifecycle {
  readonly #options: EdgeListenersOptions
  readonly #plain: readonly TcpListener[]
  readonly #secure: readonly TcpListener[]

  /** @throws NET_BAD_RANGE, NET_BAD_CERTIFICATE */
  constructor(options: EdgeListenersOptions) {
    this.#options = options
    const { cap, clock, proxyProtocolFrom = [], onRefused, onAcceptError, secure } = options
    const common = {
      cap,
      clock,
      proxyProtocolFrom,
      onRefused,
      onAcceptError,
      onConnection: (socket: Socket, info: ConnectionInfo) => void this.#accept(socket, info),
    }
    this.#plain = options.listen.map((listen) => new TcpListener({ ...common, listen }))
    this.#secure = (secure?.listen ?? []).map((listen) => {
      const { certificate, servesPlain = false } = secure ?? {}
      if (certificate === undefined) throw new TypeError('HTTPS needs a certificate')
      return new TcpListener({ ...common, listen, tls: { certificate, servesPlain, alpn: httpAlpn } })
    })
  }

  /** Where it listens without TLS, in the order of the options; empty before `start` and after `close`. */
  get addresses(): readonly AddressInfo[] {
    return this.#plain.flatMap(({ address }) => address ?? [])
  }

  /** The same with TLS. */
  get secureAddresses(): readonly AddressInfo[] {
    return this.#secure.flatMap(({ address }) => address ?? [])
  }

  /** Of all ports together. */
  get counts(): ListenerCounts {
    const total = { badProxyHeaders: 0, failedHandshakes: 0, overdue: 0, displaced: 0 }
    for (const { counts } of this.#all) {
      total.badProxyHeaders += counts.badProxyHeaders
      total.failedHandshakes += counts.failedHandshakes
      total.overdue += counts.overdue
      total.displaced += counts.displaced
    }
    return total
  }

  /** @throws NET_PORT_TAKEN and what else a listener throws; those that were opened are closed by `close` */
  async start(options: StartOptions = {}): Promise<void> {
    for (const listener of this.#all) await listener.start(options)
  }

  async close(options: CloseOptions = {}): Promise<void> {
    await Promise.all(this.#all.map((listener) => listener.close(options)))
  }

  get #all(): readonly TcpListener[] {
    return [...this.#plain, ...this.#secure]
  }

  async #accept(socket: Socket, info: ConnectionInfo): Promise<void> {
    const { onHttp, onRtmp, firstByteTimeoutMs: timeoutMs, clock } = this.#options
    if (onRtmp === undefined) {
      onHttp(socket)
      return
    }
    const [first] = (await peekBytes(socket, 1, { timeoutMs, clock })) ?? []
    const protocol = mediaPortProtocol(first, info.alpn)
    if (protocol === 'http') onHttp(socket)
    else if (protocol === 'rtmp') onRtmp(socket, info)
    else socket.destroy()
  }
}
