import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type Clock, systemClock } from '../../../../foundation/clock.ts'
import { errorCode, SluiceError } from '../../../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../../foundation/lifecycle.ts'
import {
  ConnectionCap,
  type ConnectionInfo,
  formatListenAddress,
  type ListenAddress,
} from '../../../../mechanisms/net/index.ts'
import { type Counter, LinePace, type Logger, type Registry } from '../../../../mechanisms/telemetry/index.ts'
import type { HttpErrorCode } from '../errors.ts'
import { errorBody, type HttpHandler, replyError, replyJson } from '../handler.ts'
import { EdgeListeners, type SecureHttpOptions } from './http-edge-listeners.ts'
import { errorsCounter, registerEdgeMetrics } from '../metrics.ts'
import { parseRequestTarget } from '../request-target.ts'

export interface HttpEdgeOptions {
  /** Where to listen for plain HTTP; a host that is absent means every address. */
  readonly listen: readonly ListenAddress[]
  /** Where to listen for HTTPS. @defaultValue nowhere */
  readonly secure?: SecureHttpOptions
  /** Balancers (addresses and CIDR ranges) that begin each connection with a PROXY protocol header. @defaultValue [] */
  readonly proxyProtocolFrom?: readonly string[]
  /**
   * Takes connections that speak RTMP, plain or TLS; all addresses are shared with it then. A connection on which nothing
   * comes for `headTimeoutMs` is closed. @defaultValue none: every connection is HTTP
   */
  readonly onRtmp?: (socket: Socket, info: ConnectionInfo) => void
  /** Asked in this order; the first that matches answers. */
  readonly handlers: readonly HttpHandler[]
  /** Shown at `/api/v1/versions`: `major.minor.revision`. */
  readonly version: string
  readonly logger: Logger
  readonly registry: Registry
  readonly clock?: Clock
  /** Most connections, those within a TLS handshake too; further ones are closed at once. @defaultValue 20000 */
  readonly maxConnections?: number
  /** The same for one client address. @defaultValue 2000 */
  readonly maxConnectionsPerAddress?: number
  /** Most bytes of a request's head; a larger one gets 431. @defaultValue 16384 */
  readonly maxHeadBytes?: number
  /** Most requests of one connection that wait for an answer; with one more it is cut. @defaultValue 16 */
  readonly maxPipelined?: number
  /** A head that is not complete after so many milliseconds gets 408. @defaultValue 10000 */
  readonly headTimeoutMs?: number
  /** The same for the whole request with its body. @defaultValue 30000 */
  readonly requestTimeoutMs?: number
  /** How long a connection may rest between two requests, in milliseconds. @defaultValue 30000 */
  readonly keepAliveMs?: number
  /**
   * A connection on which no byte moves for so many milliseconds is cut, unless a handler took it over. @defaultValue 90000
   */
  readonly socketIdleMs?: number
}

const DEFAULTS = {
  maxConnections: 20_000,
  maxConnectionsPerAddress: 2000,
  maxHeadBytes: 16_384,
  maxPipelined: 16,
  headTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveMs: 30_000,
  socketIdleMs: 90_000,
}

/** Most headers of a request; node:http leaves out what is over it. */
const MAX_HEADERS = 100
const MAX_REQUESTS_PER_CONNECTION = 10_000
/** How often node:http looks for requests that are late. */
const TIMEOUT_CHECK_MS = 500

interface Connection {
  /** Requests that have no complete answer yet. */
  waiting: number
}

/**
 * The HTTP server at the edge: WHIP, WHEP, HTTP-FLV and pages share its addresses. It reads requests, within bounds on
 * size, time and number, and hands each to the first handler that matches.
 */
export class HttpEdge implements Lifecycle {
  readonly #options: HttpEdgeOptions & typeof DEFAULTS
  readonly #clock: Clock
  readonly #log: Logger
  readonly #faults: LinePace
  readonly #errors: Counter<'code'>
  readonly #connections = new Map<Socket, Connection>()
  readonly #cap: ConnectionCap
  readonly #listeners: EdgeListeners
  /** It does not listen itself; undefined while nothing is served. */
  #server: Server | undefined
  #isDraining = false
  #isLeaving = false
  #onEmpty: (() => void) | undefined

  /** @throws NET_BAD_RANGE, NET_BAD_CERTIFICATE */
  constructor(options: HttpEdgeOptions) {
    this.#options = { ...DEFAULTS, ...options }
    this.#cap = new ConnectionCap(this.#options)
    this.#clock = options.clock ?? systemClock
    this.#log = options.logger.child({ component: 'http' })
    this.#faults = new LinePace(this.#clock)
    this.#errors = errorsCounter(options.registry)
    const { listen, secure, proxyProtocolFrom, onRtmp, headTimeoutMs } = this.#options
    this.#listeners = new EdgeListeners({
      listen,
      cap: this.#cap,
      clock: this.#clock,
      firstByteTimeoutMs: headTimeoutMs,
      ...(secure !== undefined && { secure }),
      ...(proxyProtocolFrom !== undefined && { proxyProtocolFrom }),
      ...(onRtmp !== undefined && { onRtmp }),
      onHttp: (socket) => this.#serve(socket),
      onRefused: () => this.#count('HTTP_TOO_MANY_CONNECTIONS'),
      // Accepting can fail later, for instance when descriptors run out; the server goes on.
      onAcceptError: (error) => this.#count(errorCode(error)),
    })
    registerEdgeMetrics(options.registry, {
      connections: () => this.connectionCount,
      unfinished: () => this.#listeners.counts,
    })
  }

  /** Where it listens without TLS, in the order of the options; empty before `start` and after `close`. */
  get addresses(): readonly AddressInfo[] {
    return this.#listeners.addresses
  }

  /** The same with TLS. */
  get secureAddresses(): readonly AddressInfo[] {
    return this.#listeners.secureAddresses
  }

  /** Open connections of clients. */
  get connectionCount(): number {
    return this.#connections.size
  }

  /** @throws NET_PORT_TAKEN and what else `TcpListener` throws */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.#server !== undefined) return
    this.#isDraining = false
    this.#isLeaving = false
    try {
      this.#server = this.#createServer()
      // What sets going the look for late requests, which node:http does when it begins to listen.
      this.#server.emit('listening')
      await this.#listeners.start(options)
    } catch (error) {
      await this.close()
      throw error
    }
    const [listen, secure] = [this.addresses.map(formatBound), this.secureAddresses.map(formatBound)]
    this.#log.info({ listen, secure }, 'HTTP listening')
  }

  /** While it is set, each connection ends with its next answer, so that clients come back through a load balancer. */
  setLeaving(isLeaving: boolean): void {
    this.#isLeaving = isLeaving
  }

  /**
   * Serves HTTP on a connection that was accepted elsewhere, plain or TLS, within the same bounds as on its own. Nobody
   * else may read it; what was put back into it is read first. Unless started, it is closed at once.
   */
  adopt(socket: Socket): void {
    if (this.#server !== undefined && !this.#cap.admit(socket)) {
      this.#count('HTTP_TOO_MANY_CONNECTIONS')
      socket.destroy()
    } else this.#serve(socket)
  }

  async close(options: CloseOptions = {}): Promise<void> {
    this.#server?.close()
    this.#server = undefined
    this.#isDraining = true
    const closed = this.#listeners.close(options)
    for (const [socket, connection] of this.#connections) {
      if (connection.waiting === 0) socket.destroy()
    }
    await this.#untilEmpty(options.graceMs ?? 0)
    for (const socket of this.#connections.keys()) socket.destroy()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #untilEmpty(graceMs: number): Promise<void> {
    if (graceMs <= 0 || this.#connections.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = this.#clock.after(graceMs, resolve)
      this.#onEmpty = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  #createServer(): Server {
    const { headTimeoutMs, requestTimeoutMs } = this.#options
    const server = createServer({
      maxHeaderSize: this.#options.maxHeadBytes,
      headersTimeout: Math.min(headTimeoutMs, requestTimeoutMs),
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: this.#options.keepAliveMs,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      noDelay: true,
    })
    server.timeout = this.#options.socketIdleMs
    server.maxHeadersCount = MAX_HEADERS
    server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION
    server.on('connection', (socket: Socket) => this.#onConnection(socket))
    server.on('request', (request, response) => void this.#onRequest(request, response))
    server.on('clientError', (error, socket) => this.#onClientError(error, socket as Socket))
    return server
  }

  /** A connection that is counted already. */
  #serve(socket: Socket): void {
    if (this.#server === undefined || socket.destroyed) socket.destroy()
    else this.#server.emit('connection', socket)
  }

  #onConnection(socket: Socket): void {
    // Each request that waits may listen for the end of the connection.
    socket.setMaxListeners(2 * this.#options.maxPipelined)
    this.#connections.set(socket, { waiting: 0 })
    socket.once('close', () => {
      this.#connections.delete(socket)
      if (this.#connections.size === 0) this.#onEmpty?.()
    })
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request
    const connection = this.#connections.get(socket)
    // What was parsed behind the request that ended the connection.
    if (connection === undefined || socket.destroyed) return
    // Late failures of a connection show in its 'close'; without a listener they would end the process.
    response.on('error', () => {})
    request.on('error', () => {})
    if (++connection.waiting > this.#options.maxPipelined) {
      this.#count('HTTP_TOO_MANY_PIPELINED')
      socket.destroy()
      return
    }
    if (this.#isDraining || this.#isLeaving) response.shouldKeepAlive = false
    response.once('close', () => {
      connection.waiting--
      if (this.#isDraining && connection.waiting === 0) socket.destroySoon()
    })
    try {
      await this.#dispatch(request, response)
    } catch (error) {
      this.#onHandlerError(error, response, socket)
    }
  }

  async #dispatch(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = parseRequestTarget(request)
    const method = request.method ?? ''
    if (target === undefined) return this.#refuse(response, 400, 'HTTP_BAD_REQUEST')
    // Handlers need not know of the absolute form.
    request.url = target.pathAndQuery
    if (target.pathname === '/api/v1/versions') return this.#replyVersions(method, response)
    const handler = this.#options.handlers.find((handler) =>
      handler.matches(target.pathname, method, target.query),
    )
    if (handler === undefined) return this.#refuse(response, 404, 'HTTP_NOT_FOUND')
    return handler.handle(request, response)
  }

  /**
   * Reference: HTTP stream server, signalling. SRS has `code`, `pid` and `data` on the port of streams and `signature` and `version`
   * on that of its API, which here are one: all of them.
   */
  #replyVersions(method: string, response: ServerResponse): void {
    if (method !== 'GET' && method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD')
      return this.#refuse(response, 405, 'HTTP_METHOD_NOT_ALLOWED')
    }
    const { version } = this.#options
    const [major = 0, minor = 0, revision = 0] = version.split(/[.+-]/, 3).map(Number)
    replyJson(response, 200, {
      code: 0,
      pid: String(process.pid),
      signature: 'Sluice',
      version,
      data: { major, minor, revision, version },
    })
  }

  #refuse(response: ServerResponse, status: number, code: HttpErrorCode): void {
    this.#count(code)
    replyError(response, status, code)
  }

  #onHandlerError(error: unknown, response: ServerResponse, socket: Socket): void {
    const isOurs = error instanceof SluiceError
    const code = isOurs ? error.code : 'HTTP_INTERNAL'
    const status = (isOurs ? error.status : undefined) ?? 500
    this.#count(code)
    // Of an origin's fault the handler has told, with the origin's name.
    if (isOurs && error.side !== 'self')
      this.#log.debug({ code, status, reason: error.message }, 'request failed')
    else {
      // Clients may cause it as often as they like.
      const due = this.#faults.due(code)
      if (due !== undefined) this.#log.error({ code, status, err: error, ...due }, 'request failed')
    }
    if (response.headersSent || response.destroyed) socket.destroy()
    else replyError(response, status, code)
  }

  #onClientError(error: Error, socket: Socket): void {
    const { status, code } = refusalOf(errorCode(error))
    this.#count(code)
    // While an answer is under way there is no place for another one.
    const isAnswering = (this.#connections.get(socket)?.waiting ?? 1) > 0
    if (isAnswering || !socket.writable || errorCode(error) === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const body = JSON.stringify(errorBody(status, code))
    socket.write(
      `HTTP/1.1 ${status} ${errorBody(status, code).message}\r\nContent-Type: application/json; charset=utf-8\r\n` +
        `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    )
    socket.destroySoon()
  }

  #count(code: string): void {
    this.#errors.inc({ code })
  }
}

function refusalOf(code: string): { readonly status: number; readonly code: HttpErrorCode } {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return { status: 431, code: 'HTTP_HEAD_TOO_LARGE' }
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: 408, code: 'HTTP_REQUEST_TIMEOUT' }
    case 'ECONNRESET':
      return { status: 400, code: 'HTTP_CLIENT_GONE' }
    default:
      return { status: 400, code: 'HTTP_BAD_REQUEST' }
  }
}

function formatBound(address: AddressInfo): string {
  return formatListenAddress({ host: address.address, port: address.port })
}
