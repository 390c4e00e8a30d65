import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import findMyWay from 'find-my-way'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorCode, errorMessage, SluiceError } from '../../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import type { WebServerConfig } from '../../../mechanisms/frp-config/index.ts'
import { CertificateFiles, formatListenAddress, hostOf, listenTcp } from '../../../mechanisms/net/index.ts'
import { readBody } from '../../../mechanisms/http-api/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { isCrossSite, isLoopback, isRebound, WebPassword } from './web-access.ts'
import { WebError } from './web-error.ts'

const METHODS = ['GET', 'POST', 'PUT', 'DELETE'] as const

/** One path of the web server. */
export interface WebRoute {
  readonly method: (typeof METHODS)[number]
  /** As find-my-way takes it: `/api/clients/:key`. */
  readonly path: string
  /** Needs no password. @defaultValue false */
  readonly isOpen?: boolean
  /** Not for pages of other sites. @defaultValue true unless the method is GET */
  readonly changesState?: boolean
  /** JSON of an error. @defaultValue frp's `{"Code": 404, "Msg": "..."}` */
  readonly errorJson?: (status: number, message: string) => unknown
  /** @throws WebError */
  readonly handle: (request: WebRequest) => Promise<WebReply> | WebReply
}

/** What a route is told. */
export interface WebRequest {
  /** The named parts of the path, decoded. */
  readonly params: Readonly<Record<string, string | undefined>>
  readonly query: URLSearchParams
  /** @throws API_BODY_TOO_LARGE (413), API_BODY_INCOMPLETE (400) */
  readonly readBody: () => Promise<Buffer>
}

/** What a route answers: JSON, a text, or nothing. */
export interface WebReply {
  /** @defaultValue 200 */
  readonly status?: number
  readonly json?: unknown
  readonly text?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** What a web server is made of. */
export interface WebServerParts {
  readonly config: WebServerConfig
  readonly routes: readonly WebRoute[]
  readonly log: Logger
  readonly clock: Clock
}

const MAX_BODY_BYTES = 1_048_576
const MAX_HEAD_BYTES = 16_384
const MAX_HEADERS = 100
const MAX_CONNECTIONS = 1024
const HEAD_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 60_000
const KEEP_ALIVE_MS = 5000
/** How often node:http looks for requests that are late. */
const TIMEOUT_CHECK_MS = 500
/** A connection on which nothing moves, for instance an answer that nobody reads, is cut. */
const SOCKET_IDLE_MS = 60_000
/** Who guesses passwords waits, as at frp. */
const WRONG_PASSWORD_DELAY_MS = 200

const NOT_FOUND: WebReply = { status: 404, text: '404 page not found\n' }
/** Where paths lead that cannot be decoded. */
const badUrlRoute: WebRoute = { method: 'GET', path: '', handle: () => NOT_FOUND }

/** frp's web server: Basic authentication, TLS where files are named, everything bounded. */
export class WebServer implements Lifecycle {
  readonly #parts: WebServerParts
  readonly #password: WebPassword
  readonly #certificates: CertificateFiles | undefined
  readonly #delays = new Set<Timer>()
  readonly #router = findMyWay({
    maxParamLength: MAX_HEAD_BYTES,
    defaultRoute: (request, response) => void this.#respond(request, response, {}, undefined),
    onBadUrl: (_path, request, response) => void this.#respond(request, response, {}, badUrlRoute),
  })
  #server: Server | TlsServer | undefined

  constructor(parts: WebServerParts) {
    this.#parts = parts
    this.#password = new WebPassword(parts.config)
    const { tls } = parts.config
    if (tls !== undefined) this.#certificates = this.#certificateFiles(tls)
    for (const route of parts.routes) {
      const { method, changesState = method !== 'GET' } = route
      this.#router.on(changesState ? [method] : [method, 'HEAD'], route.path, (request, response, params) => {
        void this.#respond(request, response, params, route)
      })
    }
  }

  /** Where it listens; undefined before `start` and after `close`. */
  get address(): AddressInfo | undefined {
    const address = this.#server?.address()
    return typeof address === 'object' && address !== null ? address : undefined
  }

  /** @throws NET_PORT_TAKEN and what else `listenTcp` throws, NET_BAD_CERTIFICATE */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#server !== undefined) return
    signal?.throwIfAborted()
    await this.#certificates?.start()
    const server = this.#createServer()
    const { config, log } = this.#parts
    try {
      await listenTcp(server, { ...hostOf(config.addr), port: config.port })
    } catch (error) {
      await this.#certificates?.close()
      throw error
    }
    // Accepting can fail later, for instance when descriptors run out; the server goes on.
    server.on('error', (error) => log.warn({ code: errorCode(error) }, 'web server cannot accept'))
    this.#server = server
    const { address: host, port } = this.address ?? { address: '', port: 0 }
    const listen = formatListenAddress({ host, port })
    log.info({ listen }, 'web server listens')
    if (!this.#password.isSet && !isLoopback(host)) log.warn({ listen }, 'web server asks for no password')
  }

  /** Requests are short: those that run are cut when `graceMs` is over. */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    await this.#certificates?.close()
    for (const delay of this.#delays) delay.cancel()
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    const cut = this.#parts.clock.after(graceMs, () => server.closeAllConnections())
    await closed
    cut.cancel()
  }

  #certificateFiles(files: { readonly certFile: string; readonly keyFile: string }): CertificateFiles {
    const { log, clock } = this.#parts
    return new CertificateFiles({
      ...files,
      clock,
      onChange: (certificate) => {
        if (this.#server !== undefined && 'setSecureContext' in this.#server) {
          this.#server.setSecureContext(certificate)
        }
      },
      onError: (error) => {
        log.warn({ code: errorCode(error), reason: errorMessage(error) }, 'certificate of web server stays')
      },
    })
  }

  #createServer(): Server | TlsServer {
    const options = {
      maxHeaderSize: MAX_HEAD_BYTES,
      headersTimeout: HEAD_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      noDelay: true,
    }
    const certificate = this.#certificates?.certificate
    const server =
      certificate === undefined
        ? createServer(options)
        : createTlsServer({ ...options, ...certificate, handshakeTimeout: HEAD_TIMEOUT_MS })
    server.timeout = SOCKET_IDLE_MS
    server.maxHeadersCount = MAX_HEADERS
    server.maxConnections = MAX_CONNECTIONS
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#router.lookup(request, response)
    })
    return server
  }

  async #respond(
    request: IncomingMessage,
    response: ServerResponse,
    params: WebRequest['params'],
    route: WebRoute | undefined,
  ): Promise<void> {
    // Late failures of a connection show in its 'close'; without a listener they would end the process.
    request.on('error', () => {})
    response.on('error', () => {})
    try {
      this.#send(request, response, await this.#answer(request, params, route))
    } catch (error) {
      this.#sendError(request, response, route, error)
    }
  }

  async #answer(
    request: IncomingMessage,
    params: WebRequest['params'],
    route: WebRoute | undefined,
  ): Promise<WebReply> {
    if (route?.isOpen !== true) {
      if (!this.#password.isGivenIn(request)) return this.#unauthorized()
      if (!this.#password.isSet && isRebound(request)) {
        throw new WebError(403, 'on a loopback address, a host name with a dot needs a password')
      }
    }
    if (route === undefined) return this.#nothingThere(request)
    const { changesState = route.method !== 'GET' } = route
    if (changesState && isCrossSite(request)) throw new WebError(403, 'pages of other sites are not allowed')
    return route.handle({
      params,
      query: queryOf(request.url ?? ''),
      readBody: () => readBody(request, MAX_BODY_BYTES),
    })
  }

  async #unauthorized(): Promise<WebReply> {
    await new Promise<void>((resolve) => {
      const delay = this.#parts.clock.after(WRONG_PASSWORD_DELAY_MS, () => {
        this.#delays.delete(delay)
        resolve()
      })
      this.#delays.add(delay)
    })
    return {
      status: 401,
      text: 'Unauthorized\n',
      headers: { 'WWW-Authenticate': 'Basic realm="Restricted"' },
    }
  }

  #nothingThere({ url = '' }: IncomingMessage): WebReply {
    const isKnown = METHODS.some((method) => this.#router.find(method, url) !== null)
    return isKnown ? { status: 405 } : NOT_FOUND
  }

  #sendError(
    request: IncomingMessage,
    response: ServerResponse,
    route: WebRoute | undefined,
    error: unknown,
  ): void {
    const { log } = this.#parts
    const path = request.url?.split('?')[0]
    const refusal = error instanceof SluiceError && error.status !== undefined ? error : undefined
    if (refusal !== undefined)
      log.warn({ path, status: refusal.status, reason: refusal.message }, 'web request refused')
    else log.error({ path, code: errorCode(error), reason: errorMessage(error) }, 'web request failed')
    if (response.headersSent) {
      request.socket.destroy()
      return
    }
    const status = refusal?.status ?? 500
    const { errorJson = (Code: number, Msg: string) => ({ Code, Msg }) } = route ?? {}
    this.#send(request, response, {
      status,
      json: errorJson(status, refusal?.message ?? 'internal error'),
    })
  }

  #send(request: IncomingMessage, response: ServerResponse, reply: WebReply): void {
    const { status = 200, json, text, headers } = reply
    const body = json === undefined ? (text ?? '') : `${JSON.stringify(json)}\n`
    // What is left of a body is not worth reading.
    if (!request.complete || this.#server === undefined) response.shouldKeepAlive = false
    response.writeHead(status, {
      ...(json !== undefined && { 'Content-Type': 'application/json' }),
      ...(text !== undefined && { 'Content-Type': 'text/plain; charset=utf-8' }),
      'Content-Length': Buffer.byteLength(body),
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      ...headers,
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}

function queryOf(url: string): URLSearchParams {
  const at = url.indexOf('?')
  return new URLSearchParams(at < 0 ? '' : url.slice(at + 1))
}
