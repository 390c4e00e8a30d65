import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import { type AddressInfo, isIP, type Socket } from 'node:net'
import findMyWay from 'find-my-way'
import { systemClock } from '../../foundation/clock.ts'
import { errorCode, errorMessage, SluiceError } from '../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import {
  AddressRanges,
  ConnectionCap,
  formatListenAddress,
  type ListenAddress,
  listenTcp,
} from '../net/index.ts'
import { LinePace, type Logger } from '../telemetry/index.ts'
import { apiError } from './errors.ts'
import { readBody } from './request-body.ts'

/** Options of a control API. */
export interface HttpApiOptions {
  readonly listen: ListenAddress
  readonly log: Logger
  /** What `Server` says. */
  readonly serverHeader: string
  readonly routes: readonly ApiRoute[]
  /** Bearer token that routes ask for unless they are open. Absent: none is asked for. */
  readonly token?: string
  /** Addresses and CIDR ranges that may ask at all. Empty: every address. @defaultValue [] */
  readonly allow?: readonly string[]
  /** Fields that stand before `error` in the body of an error. @defaultValue none */
  readonly errorFields?: (status: number) => Readonly<Record<string, unknown>>
  /** Told of each request that ends in an error. */
  readonly onError?: (error: SluiceError, request: ApiRequest) => void
  /** Most bytes of a body; a longer one gets 413. @defaultValue 65536 */
  readonly maxBodyBytes?: number
  /** A request whose head is not there after so many milliseconds gets 408. @defaultValue 10000 */
  readonly headTimeoutMs?: number
  /** The same for the whole request. @defaultValue 20000 */
  readonly requestTimeoutMs?: number
  /** Most connections; further ones are closed at once. @defaultValue 1024 */
  readonly maxConnections?: number
  /** The same for one client address (IPv6: /64), so that nobody keeps out all others. @defaultValue 256 */
  readonly maxConnectionsPerAddress?: number
}

const DEFAULTS = {
  maxBodyBytes: 65_536,
  headTimeoutMs: 10_000,
  requestTimeoutMs: 20_000,
  maxConnections: 1024,
  maxConnectionsPerAddress: 256,
}

const MAX_HEAD_BYTES = 16_384
const MAX_HEADERS = 100
/** How often node:http looks for requests that are late. */
const TIMEOUT_CHECK_MS = 500
/** Statuses of what node:http could not read, where they are not 400. */
const PARSER_STATUS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}
const KEEP_ALIVE_MS = 5000
/** A connection on which nothing moves, for instance a reply that nobody reads, is cut. */
const SOCKET_IDLE_MS = 60_000

/** One path of a control API. */
export interface ApiRoute {
  readonly method: 'GET' | 'DELETE' | readonly ('POST' | 'PUT')[]
  /** As find-my-way takes it: `/api/v1/origins/:id`. */
  readonly path: string
  /** Needs no token. @defaultValue false */
  readonly isOpen?: boolean
  /** How long the reply may take, in milliseconds. @defaultValue 60000 */
  readonly replyWithinMs?: number
  readonly handle: (request: ApiRequest) => Promise<ApiReply> | ApiReply
}

/** What a route is told. */
export interface ApiRequest {
  readonly method: string
  readonly remoteAddress: string
  /** The named parts of the path, decoded. */
  readonly params: Readonly<Record<string, string | undefined>>
  /** What stands behind the `?`, decoded; empty without one. */
  readonly query: URLSearchParams
  /** @throws API_BODY_TOO_LARGE, API_BODY_INCOMPLETE */
  readonly readBody: () => Promise<Buffer>
  /** Aborted when whoever asked has left. */
  readonly signal: AbortSignal
}

/** What a route answers: JSON, or a text or bytes of their own type. */
export interface ApiReply {
  /** @defaultValue 200 */
  readonly status?: number
  readonly json?: unknown
  readonly text?: string
  readonly body?: Buffer
  /** Of `text` and `body`. @defaultValue text/plain */
  readonly contentType?: string
  /** What a browser saves it as. */
  readonly fileName?: string
}

/**
 * A small HTTP server for control: JSON in and out, bounds on size, time and number, a bearer token, an allow list.
 * Every error is one JSON body: `{"error": {"code", "message"}}`.
 */
export class HttpApi implements Lifecycle {
  readonly #options: HttpApiOptions & typeof DEFAULTS
  readonly #allow: AddressRanges | undefined
  readonly #token: Buffer | undefined
  readonly #faults = new LinePace(systemClock)
  readonly #router = findMyWay({
    maxParamLength: MAX_HEAD_BYTES,
    defaultRoute: (request, response) => void this.#respond(request, response, {}, undefined),
    onBadUrl: (_path, request, response) => void this.#respond(request, response, {}, undefined),
  })
  #server: Server | undefined

  /** @throws NET_BAD_RANGE */
  constructor(options: HttpApiOptions) {
    this.#options = { ...DEFAULTS, ...options }
    const { allow = [], token } = options
    this.#allow = allow.length > 0 ? new AddressRanges(allow) : undefined
    this.#token = token === undefined ? undefined : digest(token)
    for (const route of options.routes) {
      const methods = route.method === 'GET' ? (['GET', 'HEAD'] as const) : [route.method].flat()
      this.#router.on([...methods], route.path, (request, response, params) => {
        void this.#respond(request, response, params, route)
      })
    }
  }

  /** Where it listens; undefined before `start` and after `close`. */
  get address(): AddressInfo | undefined {
    const address = this.#server?.address()
    return typeof address === 'object' && address !== null ? address : undefined
  }

  /** @throws NET_PORT_TAKEN and what else `listenTcp` throws */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#server !== undefined) return
    signal?.throwIfAborted()
    const { listen, log, headTimeoutMs, requestTimeoutMs } = this.#options
    const cap = new ConnectionCap(this.#options)
    const server = createServer({
      maxHeaderSize: MAX_HEAD_BYTES,
      headersTimeout: headTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      noDelay: true,
    })
    server.timeout = SOCKET_IDLE_MS
    server.maxHeadersCount = MAX_HEADERS
    server.prependListener('connection', (socket: Socket) => {
      if (!cap.admit(socket)) socket.destroy()
    })
    server.on('request', (request, response) => void this.#router.lookup(request, response))
    // An Expect that is not 100-continue is served as if it were not there.
    server.on('checkExpectation', (request, response) => void this.#router.lookup(request, response))
    server.on('clientError', (error, socket) => this.#refuse(errorCode(error), socket as Socket))
    await listenTcp(server, listen)
    // Accepting can fail later, for instance when descriptors run out; the server goes on.
    server.on('error', (error) => log.warn({ code: errorCode(error) }, 'cannot accept'))
    this.#server = server
    const { address: host, port } = this.address ?? { address: '', port: 0 }
    log.info({ listen: formatListenAddress({ host, port }) }, 'listening')
  }

  /** Requests are short: those that run are cut when `graceMs` is over. */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    const cut = systemClock.after(graceMs, () => server.closeAllConnections())
    await closed
    cut.cancel()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #respond(
    request: IncomingMessage,
    response: ServerResponse,
    params: ApiRequest['params'],
    route: ApiRoute | undefined,
  ): Promise<void> {
    // Late failures of a connection show in its 'close'; without a listener they would end the process.
    request.on('error', () => {})
    response.on('error', () => {})
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    if (route?.replyWithinMs !== undefined) request.socket.setTimeout(route.replyWithinMs)
    const asked: ApiRequest = {
      method: request.method ?? '',
      remoteAddress: request.socket.remoteAddress ?? '',
      params,
      query: queryOf(request.url ?? ''),
      readBody: () => readBody(request, this.#options.maxBodyBytes),
      signal: gone.signal,
    }
    try {
      this.#admit(request, asked, route?.isOpen === true)
      if (route === undefined) throw apiError('API_NOT_FOUND', 'there is nothing here', { status: 404 })
      this.#send(request, response, await route.handle(asked))
    } catch (error) {
      try {
        this.#sendError(request, response, asked, error, route)
      } catch (failure) {
        this.#options.log.error({ code: errorCode(failure), reason: errorMessage(failure) }, 'cannot answer')
        request.socket.destroy()
      }
    }
  }

  #admit(request: IncomingMessage, { remoteAddress }: ApiRequest, isOpen: boolean): void {
    if (this.#allow?.has(remoteAddress) === false) {
      throw apiError('API_FORBIDDEN', 'this address is not allowed', { status: 403 })
    }
    if (isCrossSite(request)) {
      throw apiError('API_CROSS_SITE', 'pages of other sites are not allowed', { status: 403 })
    }
    if (isOpen) return
    if (this.#token === undefined) {
      if (!isRebound(request)) return
      throw apiError('API_CROSS_SITE', 'on a loopback address, a host name with a dot needs a token', {
        status: 403,
      })
    }
    const [, token = ''] = /^Bearer +([^ ]+) *$/i.exec(request.headers.authorization ?? '') ?? []
    if (timingSafeEqual(digest(token), this.#token)) return
    throw apiError('API_UNAUTHORIZED', 'a bearer token is needed', { status: 401 })
  }

  #sendError(
    request: IncomingMessage,
    response: ServerResponse,
    asked: ApiRequest,
    thrown: unknown,
    route: ApiRoute | undefined,
  ): void {
    const { log, errorFields, onError } = this.#options
    let error = thrown
    if (!(error instanceof SluiceError) || error.status === undefined) {
      const code = errorCode(thrown)
      // The path as the route has it: what was asked for may hold a token.
      const path = route?.path
      const due = this.#faults.due(`${code} ${path}`)
      if (due !== undefined) log.error({ code, reason: errorMessage(thrown), path, ...due }, 'request failed')
      error = apiError('API_INTERNAL', 'the request failed', { side: 'self', status: 500, cause: thrown })
    }
    if (!(error instanceof SluiceError)) return
    const { code, message, status = 500 } = error
    onError?.(error, asked)
    if (response.headersSent) {
      request.socket.destroy()
      return
    }
    if (status === 401) response.setHeader('WWW-Authenticate', 'Bearer')
    this.#send(request, response, { status, json: { ...errorFields?.(status), error: { code, message } } })
  }

  /** Answers what node:http could not read. */
  #refuse(parserCode: string, socket: Socket): void {
    // Behind an answer that has begun there is no place for another one.
    if (!socket.writable || socket.bytesWritten > 0 || parserCode === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const status = PARSER_STATUS[parserCode] ?? 400
    const { code, message } = apiError('API_BAD_REQUEST', 'no HTTP request could be read')
    const body = JSON.stringify({ ...this.#options.errorFields?.(status), error: { code, message } })
    socket.write(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    )
    socket.destroySoon()
  }

  #send(request: IncomingMessage, response: ServerResponse, reply: ApiReply): void {
    const {
      status = 200,
      json,
      text = JSON.stringify(json),
      body = text,
      contentType = 'text/plain; charset=utf-8',
      fileName,
    } = reply
    // What is left of a body is not worth reading.
    if (!request.complete || this.#server === undefined) response.shouldKeepAlive = false
    response.writeHead(status, {
      'Content-Type': json === undefined ? contentType : 'application/json',
      'Content-Length': Buffer.byteLength(body),
      'Cache-Control': 'no-store',
      Server: this.#options.serverHeader,
      ...(fileName !== undefined && { 'Content-Disposition': `attachment; filename="${fileName}"` }),
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}

function queryOf(url: string): URLSearchParams {
  const at = url.indexOf('?')
  return new URLSearchParams(at < 0 ? '' : url.slice(at + 1))
}

/** Browsers say where a page is from; one of another site must not reach what only this machine is meant to reach. */
function isCrossSite({ headers }: IncomingMessage): boolean {
  const { origin, host } = headers
  if (headers['sec-fetch-site'] === 'cross-site') return true
  if (origin === undefined) return false
  return !URL.canParse(origin) || new URL(origin).host !== host
}

/**
 * Whether a page may have made its own domain point at this machine (DNS rebinding), so that it passes for one of ours.
 * Public names have a dot; who knows the token is no such page.
 */
function isRebound({ headers, socket }: IncomingMessage): boolean {
  const name = headers.host?.replace(/:\d*$/, '').toLowerCase() ?? ''
  const isPublicName =
    name.includes('.') && isIP(name) === 0 && !name.endsWith('.localhost') && !name.startsWith('[')
  return isPublicName && LOOPBACK.has(socket.localAddress ?? '')
}

const LOOPBACK = new AddressRanges(['127.0.0.0/8', '::1'])

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
