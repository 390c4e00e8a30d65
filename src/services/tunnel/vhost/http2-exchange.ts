import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2'
import type { Timer } from '../../../foundation/clock.ts'
import type { Backend } from '../server/backend.ts'
import {
  type ExchangeParts,
  fail,
  type FailureStatus,
  isRepeatable,
  statusOfConnectError,
} from './exchange.ts'
import { isOpen } from './http2-backends.ts'
import { Http1Exchange } from './http1-exchange.ts'
import { endToEnd, endToEndTrailers, headerObject, rawOfObject } from './raw-headers.ts'

/**
 * Leads one request that came in HTTP/2 to a backend that speaks it too, with its trailers, as gRPC needs it. A backend that
 * does not is asked in HTTP/1.1.
 */
export class Http2Exchange {
  readonly #parts: ExchangeParts
  #backend: Backend
  #hasTriedNext = false
  #hasTriedAnew = false
  #isOver = false
  #stream: ClientHttp2Stream | undefined
  #headerTimer: Timer | undefined

  constructor(parts: ExchangeParts, backend: Backend) {
    this.#parts = parts
    this.#backend = backend
  }

  start(): void {
    this.#parts.answer.onGone(() => this.#finish())
    void this.#find()
  }

  /** Never rejects. */
  async #find(): Promise<void> {
    const { user, backends } = this.#parts
    try {
      const session = await user.http2.session(this.#backend)
      if (this.#isOver) return
      if (session === undefined) new Http1Exchange(this.#parts, this.#backend).start()
      else this.#send(session)
    } catch (error) {
      const next = this.#hasTriedNext ? undefined : backends.next()
      this.#hasTriedNext = true
      if (next === undefined || next === this.#backend) {
        this.#fail(statusOfConnectError(error), error)
        return
      }
      this.#backend = next
      await this.#find()
    }
  }

  #send(session: ClientHttp2Session): void {
    const { request, rules, user, clock, responseHeaderTimeoutMs } = this.#parts
    const { body, target } = request
    const use = user.http2.use(session)
    const stream = session.request(
      {
        ...headerObject(rules.forBackend(request.headers, target, user.address)),
        ':method': request.method,
        ':scheme': 'http',
        ':authority': rules.hostFor(target),
        ':path': target.pathAndQuery,
        ...(request.expectsContinue && { expect: '100-continue' }),
      },
      { endStream: body === undefined, waitForTrailers: body !== undefined },
    )
    this.#stream = stream
    const awaitHeaders = (): void => {
      if (this.#isOver || this.#parts.answer.isBegun) return
      const late = new Error(`no answer within ${responseHeaderTimeoutMs} ms`)
      this.#headerTimer = clock.after(responseHeaderTimeoutMs, () => this.#fail(504, late))
    }
    stream.on('headers', (headers) => this.#onInterim(headers))
    stream.on('response', (headers) => this.#onResponse(stream, headers))
    let reason = new Error('the answer broke off')
    stream.on('error', (error: Error) => {
      reason = error
    })
    stream.once('close', () => {
      use.end()
      if (!this.#tryAnew(session)) this.#fail(502, reason)
    })
    if (body === undefined) {
      awaitHeaders()
      return
    }
    stream.once('wantTrailers', () => {
      awaitHeaders()
      stream.sendTrailers(headerObject(request.trailers()))
    })
    body.pipe(stream)
  }

  /** The connection had ended before the request reached anybody. */
  #tryAnew(session: ClientHttp2Session): boolean {
    const { answer, request } = this.#parts
    if (this.#isOver || answer.isBegun || isOpen(session)) return false
    if (this.#hasTriedAnew || !isRepeatable(request)) return false
    this.#hasTriedAnew = true
    this.#headerTimer?.cancel()
    void this.#find()
    return true
  }

  #onInterim(headers: object): void {
    const { answer, request } = this.#parts
    const { status, raw } = rawOfObject(headers)
    if (!this.#isOver && (status !== 100 || request.expectsContinue)) answer.interim(status, endToEnd(raw))
  }

  #onResponse(stream: ClientHttp2Stream, headers: object): void {
    if (this.#isOver) return
    const { answer, rules } = this.#parts
    this.#headerTimer?.cancel()
    let trailers: string[] = []
    stream.on('trailers', (late: object) => {
      trailers = endToEndTrailers(rawOfObject(late).raw)
    })
    const { status, raw } = rawOfObject(headers)
    try {
      stream.pipe(answer.begin(status, '', rules.forUser(raw), true), { end: false })
    } catch (error) {
      this.#fail(502, error)
      return
    }
    stream.once('end', () => {
      // A reset ends a stream too.
      if (this.#isOver || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return
      this.#isOver = true
      answer.finish(trailers)
    })
  }

  #fail(status: FailureStatus, error: unknown): void {
    if (this.#isOver) return
    this.#finish()
    fail(this.#parts, status, error, this.#backend)
  }

  #finish(): void {
    this.#isOver = true
    this.#headerTimer?.cancel()
    const { body } = this.#parts.request
    if (this.#stream === undefined) return
    body?.unpipe(this.#stream)
    this.#stream.close(constants.NGHTTP2_CANCEL)
  }
}
