import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import { Http1Answer } from './http1-answer.ts'
import { endToEndTrailers, headerCount, headerPairs, headerValue, hasToken } from './raw-headers.ts'
import { readRequestTarget } from './request-target.ts'
import type { UserConnection } from './user-connection.ts'
import { reply, type UserAnswer, type UserRequest } from './user-exchange.ts'

/** A CONNECT request; `socket` is raw from its head on, what came behind it put back. */
export interface TunnelRequest {
  readonly authority: string
  readonly headers: readonly string[]
  readonly httpVersion: string
  readonly socket: Duplex
}

export interface Http1FrontOptions {
  /** A head that is not complete after so many milliseconds gets 408. */
  readonly headerTimeoutMs: number
  /** How long a connection may rest between two requests, in milliseconds. */
  readonly keepAliveMs: number
  /** A larger head gets 431. */
  readonly maxHeaderBytes: number
  readonly clock: Clock
  readonly onRequest: (request: UserRequest, answer: UserAnswer, user: UserConnection, raw: Duplex) => void
  readonly onTunnel: (request: TunnelRequest, user: UserConnection) => void
  readonly onStatus: (status: number) => void
}

/** How node:http hands a request over: as any other, asking for 100-continue, or asking to go on in another protocol. */
type Kind = 'plain' | 'continue' | 'upgrade'

/** Requests of one connection that wait for those before them; with one more it is cut. */
const MAX_PIPELINED = 16
/** How often node:http looks for requests that are late. */
const TIMEOUT_CHECK_MS = 1000

/** Reads requests in HTTP/1.1 and 1.0 with node:http's strict parser, one after another of each connection. */
export class Http1Front {
  readonly #options: Http1FrontOptions
  readonly #users = new WeakMap<Duplex, UserConnection>()
  readonly #queues = new WeakMap<UserConnection, (() => void)[]>()
  #server: Server | undefined
  #isDraining = false

  constructor(options: Http1FrontOptions) {
    this.#options = options
  }

  start(): void {
    const { maxHeaderBytes, headerTimeoutMs, keepAliveMs } = this.#options
    this.#isDraining = false
    const server = createServer({
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headerTimeoutMs,
      requestTimeout: 0,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    })
    server.timeout = 0
    // They are bounded in bytes.
    server.maxHeadersCount = 0
    server.on('request', (request, response) => this.#enqueue(request, response, 'plain'))
    server.on('checkContinue', (request, response) => this.#enqueue(request, response, 'continue'))
    server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head))
    server.on('connect', (request, socket, head) => this.#onConnect(request, socket, head))
    server.on('clientError', (error, socket) => this.#onClientError(error, socket))
    // What sets going the look for late requests, which node:http does when it begins to listen.
    server.emit('listening')
    this.#server = server
  }

  /** Reads the connection from now on. */
  take(user: UserConnection): void {
    if (this.#server === undefined) {
      user.socket.destroy()
      return
    }
    this.#users.set(user.socket, user)
    this.#server.emit('connection', user.socket)
  }

  /** Each connection ends behind the request that it has under way. */
  stop(): void {
    this.#isDraining = true
    this.#server?.close()
    this.#server = undefined
  }

  #enqueue(request: IncomingMessage, response: ServerResponse, kind: Kind): void {
    const { socket } = request
    const user = this.#users.get(socket)
    if (user === undefined || socket.destroyed) return
    const queue = this.#queues.get(user) ?? []
    this.#queues.set(user, queue)
    if (queue.length >= MAX_PIPELINED) {
      socket.destroy()
      return
    }
    user.busy++
    response.once('close', () => {
      user.busy--
      queue.shift()
      if (this.#isDraining && user.busy === 0) socket.destroySoon()
      else queue[0]?.()
    })
    queue.push(() => this.#serve(request, response, user, kind))
    if (queue.length === 1) queue[0]?.()
  }

  #serve(request: IncomingMessage, response: ServerResponse, user: UserConnection, kind: Kind): void {
    if (response.destroyed || request.socket.destroyed) return
    if (this.#isDraining) response.shouldKeepAlive = false
    const { clock, onRequest, onStatus } = this.#options
    const answer = new Http1Answer(request, response, clock, onStatus)
    const read = readRequest(request, kind)
    if (typeof read === 'object') {
      onRequest(read, answer, user, request.socket)
      return
    }
    response.shouldKeepAlive = false
    reply(answer, request.method ?? '', read, { reason: read === 501 ? 'Not Implemented' : 'Bad Request' })
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const user = this.#users.get(socket)
    // The answers that are still owed would get into what follows.
    if (user === undefined || user.busy > 0) {
      socket.destroy()
      return
    }
    // Java's client offers h2c with every first request, those with a body too. A server may pay no heed to an offer
    // (RFC 9110 §7.8): the request is read again without it.
    if (hasBody(request) || hasToken(request.rawHeaders, 'upgrade', 'h2c')) {
      socket.unshift(Buffer.concat([headWithoutUpgrade(request), head]))
      this.take(user)
      return
    }
    if (head.length > 0) socket.unshift(head)
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(request.socket)
    response.once('finish', () => {
      response.detachSocket(request.socket)
      request.socket.destroySoon()
    })
    user.busy++
    socket.once('close', () => user.busy--)
    this.#serve(request, response, user, 'upgrade')
  }

  #onConnect(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const user = this.#users.get(socket)
    if (user === undefined || user.busy > 0) {
      socket.destroy()
      return
    }
    user.busy++
    socket.once('close', () => user.busy--)
    if (head.length > 0) socket.unshift(head)
    const { rawHeaders, httpVersion, url = '' } = request
    this.#options.onTunnel({ authority: url, headers: rawHeaders, httpVersion, socket }, user)
  }

  /** Answers what node:http could not read. */
  #onClientError(error: Error, socket: Duplex): void {
    const user = this.#users.get(socket)
    // While an answer is under way there is no place for another one.
    if (!socket.writable || (user?.busy ?? 0) > 0 || errorCode(error) === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const status = CLIENT_ERRORS[errorCode(error)] ?? '400 Bad Request'
    this.#options.onStatus(Number(status.slice(0, 3)))
    socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`, () => socket.destroy())
  }
}

const CLIENT_ERRORS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/** A number is the status of the refusal. */
function readRequest(request: IncomingMessage, kind: Kind): UserRequest | 400 | 501 {
  const { method = '', url = '', rawHeaders } = request
  // Two hosts: which one counts is a matter of taste, and two readers may have two.
  if (headerCount(rawHeaders, 'host') > 1) return 400
  const target = readRequestTarget(method, url, request.headers.host ?? '')
  if (target === undefined) return 400
  const coding = request.headers['transfer-encoding']
  // Other codings would have to be taken off here, as they are of the connection.
  if (coding !== undefined && coding.trim().toLowerCase() !== 'chunked') return 501
  const body = hasBody(request) ? request : undefined
  return {
    method,
    target,
    headers: rawHeaders,
    body,
    trailers: () => endToEndTrailers(request.rawTrailers),
    expectsContinue: kind === 'continue' && body !== undefined,
    upgrade: kind === 'upgrade' ? headerValue(rawHeaders, 'upgrade') : undefined,
    isHttp2: false,
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

function headWithoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (const [name, value] of headerPairs(rawHeaders)) {
    const lower = name.toLowerCase()
    if (lower !== 'upgrade' && lower !== 'http2-settings' && lower !== 'connection')
      lines.push(`${name}: ${value}`)
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
}
