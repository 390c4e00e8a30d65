import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import { peekBytes } from '../../../mechanisms/net/index.ts'
import {
  duplexStream,
  joinStreams,
  socketStream,
  type StreamJoin,
} from '../../../mechanisms/streams/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { UserAddress } from '../server/backend.ts'
import {
  areCredentialsRight,
  BASIC_CHALLENGE,
  type BasicCredentials,
  readBasicCredentials,
} from './basic-credentials.ts'
import type { HttpRules, VhostRegistry, VhostRoute } from './contract.ts'
import { type ExchangeParts, fail, type FailureStatus } from './exchange.ts'
import { hostName } from './host-name.ts'
import { HeaderRules } from './http-rules.ts'
import { openTunnel, replyRaw } from './http-tunnel.ts'
import { Http1Exchange } from './http1-exchange.ts'
import { Http1Front, type TunnelRequest } from './http1-front.ts'
import { Http1Backends } from './http2-backends.ts'
import { Http2Exchange } from './http2-exchange.ts'
import { Http2Front } from './http2-front.ts'
import { NotFoundPage } from './not-found-page.ts'
import { headerValue, type RawHeaders } from './raw-headers.ts'
import { RouteTable } from './route-table.ts'
import { UserConnection } from './user-connection.ts'
import { reply, type UserAnswer, type UserRequest } from './user-exchange.ts'
import { VhostPort, type VhostPortOptions } from './vhost-port.ts'

export interface HttpVhostOptions extends VhostPortOptions {
  /**
   * `vhostHTTPTimeout`, but in milliseconds: how long a backend may take from the end of a request to the status of its
   * answer; then the user gets 504. 0 and less are the default, as in frp. @defaultValue 60,000
   */
  readonly responseHeaderTimeoutMs?: number
  /** `custom404Page`: a file, sent with 404. @defaultValue our own page */
  readonly custom404Page?: string
  /** A request's head that is not complete after so many milliseconds gets 408. @defaultValue 60,000 */
  readonly headerTimeoutMs?: number
  /** A user's connection without a request for so many milliseconds is closed. @defaultValue 180,000 */
  readonly keepAliveMs?: number
  /** Most bytes of a request's head; a larger one gets 431. @defaultValue 65,536 */
  readonly maxHeaderBytes?: number
}

const DEFAULTS = {
  responseHeaderTimeoutMs: 60_000,
  custom404Page: '',
  headerTimeoutMs: 60_000,
  keepAliveMs: 180_000,
  maxHeaderBytes: 65_536,
}

/** In numbers since the vhost was made; `connections` and `routes` are how many there are now. */
export interface HttpVhostCounts {
  readonly connections: number
  readonly routes: number
  /** Answers by the first digit of their status; our own refusals are among them. */
  readonly answers: Readonly<Record<StatusClass, number>>
  /** No route. */
  readonly notFound: number
  /** 401 and 407. */
  readonly unauthorized: number
  /** 502: a backend that cannot be connected, or broke off before its answer was complete. */
  readonly badGateway: number
  /** 503: a route, and no member of its group behind it, or a limit was reached. */
  readonly unavailable: number
  /** 504. */
  readonly gatewayTimeout: number
  /** Connections that were closed at once, there were too many. */
  readonly refused: number
}

export type StatusClass = '1xx' | '2xx' | '3xx' | '4xx' | '5xx'

interface Entry {
  readonly route: VhostRoute
  readonly rules: HttpRules
  readonly headers: HeaderRules
}

/** The first bytes of HTTP/2 with prior knowledge (RFC 9113 §3.4), as far as no request of HTTP/1.1 begins so. */
const HTTP2_BEGINNING = 'PRI '

/**
 * The reverse proxy for proxies of type http (reference §13): finds the route of each request by host, user and path, and
 * leads it to a backend. Requests come in HTTP/1.1 or, with prior knowledge, cleartext HTTP/2; the latter reach backends
 * that speak it in HTTP/2 too, others in HTTP/1.1. Upgrades (WebSocket) and CONNECT become raw connections.
 */
export class HttpVhost implements Lifecycle, VhostRegistry<HttpRules> {
  readonly #options: HttpVhostOptions & typeof DEFAULTS
  readonly #clock: Clock
  readonly #log: Logger
  readonly #routes = new RouteTable<Entry>()
  readonly #page: NotFoundPage
  readonly #port: VhostPort
  readonly #http1: Http1Front
  readonly #http2: Http2Front
  readonly #http1Backends: Http1Backends
  readonly #users = new Set<UserConnection>()
  readonly #joins = new Set<StreamJoin>()
  readonly #answers: Record<StatusClass, number> = { '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0 }
  readonly #failures: Record<FailureStatus, number> = { 502: 0, 503: 0, 504: 0 }
  #notFound = 0
  #unauthorized = 0

  constructor(options: HttpVhostOptions) {
    const given = { ...DEFAULTS, ...options }
    const responseHeaderTimeoutMs =
      given.responseHeaderTimeoutMs > 0 ? given.responseHeaderTimeoutMs : DEFAULTS.responseHeaderTimeoutMs
    this.#options = { ...given, responseHeaderTimeoutMs }
    this.#clock = options.clock ?? systemClock
    this.#log = options.logger.child({ component: 'vhost-http' })
    this.#page = new NotFoundPage(this.#options.custom404Page, this.#log)
    this.#http1Backends = new Http1Backends(this.#clock)
    this.#port = new VhostPort(options, (socket, address) => void this.#take(socket, address))
    const { headerTimeoutMs, keepAliveMs, maxHeaderBytes } = this.#options
    const front = {
      headerTimeoutMs,
      keepAliveMs,
      maxHeaderBytes,
      clock: this.#clock,
      onStatus: (status: number) => this.#count(status),
    }
    this.#http1 = new Http1Front({
      ...front,
      onRequest: (request, answer, user, raw) => void this.#serve(request, answer, user, raw),
      onTunnel: (request, user) => void this.#tunnel(request, user),
    })
    this.#http2 = new Http2Front({
      ...front,
      onRequest: (request, answer, user) => void this.#serve(request, answer, user),
    })
  }

  /** Port in use; undefined while not listening, or without a port. */
  get port(): number | undefined {
    return this.#port.port
  }

  get counts(): HttpVhostCounts {
    return {
      connections: this.#port.connections,
      routes: this.#routes.size,
      answers: { ...this.#answers },
      notFound: this.#notFound,
      unauthorized: this.#unauthorized,
      badGateway: this.#failures[502],
      unavailable: this.#failures[503],
      gatewayTimeout: this.#failures[504],
      refused: this.#port.refused,
    }
  }

  /**
   * @throws TunnelError TUNNEL_ROUTE_TAKEN `router config conflict`; TUNNEL_BAD_PROXY when the rules have a header that
   * cannot be sent
   */
  add(route: VhostRoute, rules: HttpRules): () => void {
    return this.#routes.add(route, { route, rules, headers: new HeaderRules(rules) })
  }

  /** @throws NetError when the port cannot be opened */
  async start(options: StartOptions = {}): Promise<void> {
    this.#http1.start()
    try {
      await this.#port.start(options)
    } catch (error) {
      this.#http1.stop()
      throw error
    }
  }

  /** Takes a connection that was accepted elsewhere; see `VhostPort.adopt`. */
  adopt(socket: Socket): void {
    this.#port.adopt(socket)
  }

  /** Connections without a request are closed; requests and raw connections may go on for `graceMs`. */
  async close(options: CloseOptions = {}): Promise<void> {
    this.#http1.stop()
    this.#http2.stop()
    for (const user of this.#users) if (user.busy === 0) user.socket.destroy()
    await this.#port.close(options)
    for (const join of this.#joins) join.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #take(socket: Socket, { remoteAddress, remotePort }: UserAddress): Promise<void> {
    // As frp does, a request is told where it comes from, but not which address it came to.
    const user = new UserConnection(socket, { remoteAddress, remotePort }, this.#http1Backends, this.#clock)
    this.#users.add(user)
    socket.once('close', () => this.#users.delete(user))
    const first = await peekBytes(socket, HTTP2_BEGINNING.length, {
      timeoutMs: this.#options.headerTimeoutMs,
      clock: this.#clock,
    })
    if (first === undefined || first.length === 0) socket.destroy()
    else if (Buffer.from(first).toString('latin1') === HTTP2_BEGINNING) this.#http2.take(user)
    else this.#http1.take(user)
  }

  async #serve(request: UserRequest, answer: UserAnswer, user: UserConnection, raw?: Duplex): Promise<void> {
    const { target, headers, method } = request
    const given = credentialsOf(headers, target.isProxyForm)
    const entry = this.#routes.find(hostName(target.host), target.path, given.toRoute?.user ?? '')
    if (entry === undefined) {
      this.#notFound++
      this.#log.debug({ host: target.host, path: target.path }, 'no route for a request')
      reply(answer, method, 404, { reason: 'Not Found', body: await this.#page.read() })
      return
    }
    if (!areCredentialsRight(given.toEnter, entry.rules)) {
      this.#unauthorized++
      const { status, reason, header } = target.isProxyForm ? PROXY_CHALLENGE : CHALLENGE
      reply(answer, method, status, { reason, headers: [header, BASIC_CHALLENGE] })
      return
    }
    const parts: ExchangeParts = {
      request,
      answer,
      user,
      backends: entry.route.backends,
      rules: entry.headers,
      responseHeaderTimeoutMs: this.#options.responseHeaderTimeoutMs,
      clock: this.#clock,
      log: this.#log,
      onFailed: (status) => this.#failures[status]++,
      ...(raw !== undefined && { onSwitched: (backend: ByteStream) => this.#join(raw, backend) }),
    }
    const backend = entry.route.backends.next()
    if (backend === undefined) fail(parts, 503, new Error('no member is there'))
    else if (request.isHttp2) new Http2Exchange(parts, backend).start()
    else new Http1Exchange(parts, backend).start()
  }

  async #tunnel(request: TunnelRequest, user: UserConnection): Promise<void> {
    const { authority, headers, socket } = request
    const given = credentialsOf(headers, true)
    const entry = this.#routes.find(hostName(authority), '', given.toRoute?.user ?? '')
    if (entry === undefined) {
      this.#notFound++
      this.#count(404)
      replyRaw(socket, '404 Not Found', ['Content-Type', 'text/html; charset=utf-8'], await this.#page.read())
      return
    }
    if (!areCredentialsRight(given.toEnter, entry.rules)) {
      this.#unauthorized++
      this.#count(407)
      replyRaw(socket, '407 Proxy Authentication Required', ['Proxy-Authenticate', BASIC_CHALLENGE])
      return
    }
    const opened = await openTunnel(request, entry.route.backends, user)
    if (typeof opened !== 'number') {
      this.#join(socket, opened)
      return
    }
    this.#failures[opened]++
    this.#count(opened)
    replyRaw(socket, opened === 503 ? '503 Service Unavailable' : '502 Bad Gateway')
  }

  /** What each side sends goes to the other from now on, as it is. */
  #join(socket: Duplex, backend: ByteStream): void {
    const stream = socket instanceof Socket ? socketStream(socket) : duplexStream(socket)
    const join = joinStreams(stream, backend, { clock: this.#clock })
    this.#joins.add(join)
    void join.done.then(() => this.#joins.delete(join))
  }

  #count(status: number): void {
    this.#answers[`${Math.floor(status / 100)}xx` as StatusClass]++
  }
}

const CHALLENGE = { status: 401, reason: 'Unauthorized', header: 'WWW-Authenticate' }
const PROXY_CHALLENGE = { status: 407, reason: 'Proxy Authentication Required', header: 'Proxy-Authenticate' }

/** To a proxy users show themselves by `Proxy-Authorization`; routes are also found by the other one, as in frp. */
function credentialsOf(
  headers: RawHeaders,
  isProxyForm: boolean,
): { readonly toRoute: BasicCredentials | undefined; readonly toEnter: BasicCredentials | undefined } {
  const direct = readBasicCredentials(headerValue(headers, 'authorization'))
  if (!isProxyForm) return { toRoute: direct, toEnter: direct }
  const proxyAuthorization = headerValue(headers, 'proxy-authorization')
  const proxied = readBasicCredentials(proxyAuthorization)
  return { toRoute: proxyAuthorization === undefined ? direct : proxied, toEnter: proxied }
}
