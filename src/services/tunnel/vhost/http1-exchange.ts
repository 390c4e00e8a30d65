import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Timer } from '../../../foundation/clock.ts'
import { duplexStream } from '../../../mechanisms/streams/index.ts'
import type { Backend } from '../server/backend.ts'
import type { BackendRequestOptions } from './backend-agent.ts'
import {
  type ExchangeParts,
  fail,
  type FailureStatus,
  isRepeatable,
  statusOfConnectError,
} from './exchange.ts'
import { endToEnd, endToEndTrailers, hasToken, headerCount, headerPairs, headerValue } from './raw-headers.ts'

/** Most bytes of an answer's head. */
const MAX_HEAD_BYTES = 65_536
/** A backend that knows nothing of 100-continue says nothing to it; then the body is asked for all the same. */
const CONTINUE_AFTER_MS = 1000
/** Of these a receiver expects a body, so that none is said to be empty. */
const HAS_BODY_BY_NATURE = new Set(['POST', 'PUT', 'PATCH'])

/**
 * Leads one request to a backend that speaks HTTP/1.1, and its answer to the user, as a stream in both directions. It is
 * asked again when nothing can have come of the first try: the next member of a group when no connection can be had, and
 * the same one when an idle connection turns out to have ended, for requests that may be repeated.
 */
export class Http1Exchange {
  readonly #parts: ExchangeParts
  #backend: Backend
  #sent: ClientRequest | undefined
  #isConnected = false
  #hasTriedNext = false
  #hasTriedAnew = false
  #response: IncomingMessage | undefined
  #isOver = false
  #headerTimer: Timer | undefined
  #continueTimer: Timer | undefined

  constructor(parts: ExchangeParts, backend: Backend) {
    this.#parts = parts
    this.#backend = backend
  }

  start(): void {
    this.#parts.answer.onGone(() => this.#finish())
    this.#send()
  }

  #send(): void {
    const { request, user } = this.#parts
    const options: BackendRequestOptions = {
      agent: user.agent,
      backend: this.#backend,
      method: request.method,
      path: this.#path(),
      headers: this.#headers(),
      setHost: false,
      maxHeaderSize: MAX_HEAD_BYTES,
    }
    let sent: ClientRequest
    try {
      sent = httpRequest(options)
    } catch (error) {
      // Characters that node:http takes from a user, but not for a backend.
      this.#fail(502, error)
      return
    }
    // They are bounded in bytes.
    sent.maxHeadersCount = 0
    this.#sent = sent
    this.#isConnected = false
    sent.on('error', (error) => this.#onError(sent, error))
    sent.on('socket', () => this.#onConnected(sent))
    sent.on('finish', () => this.#awaitHeaders(sent))
    sent.on('information', ({ statusCode, rawHeaders }) => this.#onInterim(statusCode, rawHeaders))
    sent.on('response', (response) => this.#onResponse(response))
    sent.on('upgrade', (response, socket, head) => this.#onUpgrade(response, socket, head))
    if (request.body === undefined) sent.end()
  }

  #path(): string {
    const { target } = this.#parts.request
    if (!target.isProxyForm) return target.pathAndQuery
    return `http://${this.#parts.rules.hostFor(target)}${target.pathAndQuery}`
  }

  #headers(): string[] {
    const { request, rules, user } = this.#parts
    const { method, target, body, upgrade, expectsContinue } = request
    const headers = [
      'Host',
      rules.hostFor(target),
      ...rules.forBackend(request.headers, target, user.address),
    ]
    if (expectsContinue) headers.push('Expect', '100-continue')
    const hasLength = headerCount(request.headers, 'content-length') > 0
    if (body !== undefined && !hasLength) {
      const trailer = headerValue(request.headers, 'trailer')
      headers.push('Transfer-Encoding', 'chunked')
      if (trailer !== undefined) headers.push('Trailer', trailer)
    } else if (body === undefined && !hasLength && HAS_BODY_BY_NATURE.has(method)) {
      headers.push('Content-Length', '0')
    }
    if (upgrade !== undefined) headers.push('Connection', 'Upgrade', 'Upgrade', upgrade)
    return headers
  }

  #onConnected(sent: ClientRequest): void {
    const { request, answer, clock } = this.#parts
    const { body } = request
    this.#isConnected = true
    if (body === undefined || this.#isOver) return
    body.pipe(sent, { end: false })
    body.once('end', () => {
      const trailers = request.trailers()
      if (trailers.length > 0 && !sent.destroyed) sent.addTrailers(headerPairs(trailers))
      sent.end()
    })
    if (!request.expectsContinue) return
    sent.flushHeaders()
    this.#continueTimer = clock.after(CONTINUE_AFTER_MS, () => answer.interim(100, []))
  }

  #awaitHeaders(sent: ClientRequest): void {
    const { clock, responseHeaderTimeoutMs } = this.#parts
    if (this.#isOver || this.#response !== undefined || sent !== this.#sent) return
    this.#headerTimer = clock.after(responseHeaderTimeoutMs, () => {
      this.#fail(504, new Error(`no answer within ${responseHeaderTimeoutMs} ms`))
    })
  }

  #onInterim(status: number, rawHeaders: string[]): void {
    const { request, answer } = this.#parts
    if (status !== 100) answer.interim(status, endToEnd(rawHeaders))
    else if (request.expectsContinue && this.#continueTimer !== undefined) {
      this.#cancelContinue()
      answer.interim(100, [])
    }
  }

  #onResponse(response: IncomingMessage): void {
    if (this.#isOver) return
    const { request, answer, rules } = this.#parts
    this.#response = response
    this.#cancelTimers()
    response.on('error', () => undefined)
    const { statusCode = 502, statusMessage = '' } = response
    const headers = rules.forUser(response.rawHeaders)
    const hasBody = request.method !== 'HEAD' && statusCode !== 204 && statusCode !== 304
    const hasTrailers = hasBody && hasToken(response.rawHeaders, 'transfer-encoding', 'chunked')
    const trailer = hasTrailers ? headerValue(response.rawHeaders, 'trailer') : undefined
    if (trailer !== undefined) headers.push('Trailer', trailer)
    try {
      response.pipe(answer.begin(statusCode, statusMessage, headers, hasTrailers), { end: false })
    } catch (error) {
      this.#fail(502, error)
      return
    }
    response.once('end', () => {
      if (this.#isOver) return
      this.#isOver = true
      this.#letBodyGo()
      answer.finish(endToEndTrailers(response.rawTrailers))
    })
    response.once('close', () => {
      if (!this.#isOver) this.#fail(502, new Error('the answer broke off'))
    })
  }

  #onUpgrade(response: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { request, answer, rules, onSwitched } = this.#parts
    this.#response = response
    this.#cancelTimers()
    if (this.#isOver || request.upgrade === undefined || onSwitched === undefined) {
      socket.destroy()
      if (!this.#isOver) this.#fail(502, new Error('switched protocols without being asked to'))
      return
    }
    this.#isOver = true
    const upgrade = headerValue(response.rawHeaders, 'upgrade') ?? request.upgrade
    const headers = [...rules.forUser(response.rawHeaders), 'Connection', 'Upgrade', 'Upgrade', upgrade]
    try {
      answer.begin(101, response.statusMessage ?? '', headers, false)
    } catch {
      socket.destroy()
      answer.cut()
      return
    }
    if (head.length > 0) socket.unshift(head)
    onSwitched(duplexStream(socket))
  }

  #onError(sent: ClientRequest, error: Error): void {
    // Once an answer is there, its own end tells how it went.
    if (this.#isOver || sent !== this.#sent || this.#response !== undefined) return
    if (!this.#isConnected && this.#tryNext()) return
    if (this.#isConnected && sent.reusedSocket && this.#tryAnew()) return
    this.#fail(this.#isConnected ? 502 : statusOfConnectError(error), error)
  }

  #tryNext(): boolean {
    if (this.#hasTriedNext) return false
    this.#hasTriedNext = true
    const next = this.#parts.backends.next()
    if (next === undefined || next === this.#backend) return false
    this.#backend = next
    this.#send()
    return true
  }

  #tryAnew(): boolean {
    const { request, user } = this.#parts
    if (this.#hasTriedAnew || !isRepeatable(request)) return false
    this.#hasTriedAnew = true
    this.#cancelTimers()
    user.agent.dropIdle(this.#backend)
    this.#send()
    return true
  }

  #fail(status: FailureStatus, error: unknown): void {
    if (this.#isOver) return
    this.#finish()
    fail(this.#parts, status, error, this.#backend)
  }

  /** Ends the backend's side. */
  #finish(): void {
    if (this.#isOver && this.#response?.complete === true) return
    this.#isOver = true
    this.#cancelTimers()
    this.#letBodyGo()
    this.#sent?.destroy()
  }

  /** What is left of the request is nobody's any more. */
  #letBodyGo(): void {
    const { body } = this.#parts.request
    if (this.#sent !== undefined) body?.unpipe(this.#sent)
    if (body !== undefined && !body.readableEnded && this.#sent?.writableEnded === false) this.#sent.destroy()
  }

  #cancelContinue(): void {
    this.#continueTimer?.cancel()
    this.#continueTimer = undefined
  }

  #cancelTimers(): void {
    this.#cancelContinue()
    this.#headerTimer?.cancel()
    this.#headerTimer = undefined
  }
}
