import type { IncomingMessage, ServerResponse } from 'node:http'
import { errorCode, SluiceError } from '../../../foundation/errors.ts'
import { publicAnswer } from './answer.ts'
import { clientError, clientGone, WebRtcError } from './errors.ts'
import { allowCrossOrigin, passHeadersBack } from './forwarded-headers.ts'
import { Offers } from './offer.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { OriginClient, OriginResponse } from './origin-client.ts'
import { readBody } from './request-body.ts'
import { type EndpointRoute, routeOf, sessionPathPrefix } from './route.ts'
import type { Session } from './session.ts'
import { SessionRequests } from './session-requests.ts'
import type { Sessions } from './sessions.ts'

/** How long a client should wait that was told 503, in seconds. */
const retryAfterSeconds = 5

/** WHIP and WHEP over HTTP (RFC 9725): requests of clients in, their responses out. */
export class Signalling {
  /** Errors by code, for the metric. */
  readonly errors: Map<string, number> = new Map()
  readonly #options: CompleteWebRtcOptions
  readonly #sessions: Sessions
  readonly #offers: Offers
  readonly #requests: SessionRequests
  /** Requests that are being answered; aborted when their client goes away. */
  readonly #running = new Set<AbortController>()
  #isDraining = false

  constructor(options: CompleteWebRtcOptions, origins: OriginClient, sessions: Sessions) {
    this.#options = options
    this.#sessions = sessions
    this.#offers = new Offers(options, origins, sessions)
    this.#requests = new SessionRequests(options, origins, sessions)
  }

  /** New offers get 503 from now on. */
  drain(): void {
    this.#isDraining = true
  }

  /** Gives up requests that wait for an origin. */
  stop(): void {
    for (const running of this.#running) running.abort(draining())
  }

  /** Answers a request for a path that `routeOf` knows; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const client = new AbortController()
    const onClose = (): void => client.abort(clientGone())
    // Not the response's 'close': one that waits for the answer before it has none.
    const { socket } = request
    socket.once('close', onClose)
    this.#running.add(client)
    // What the client's socket does is seen as 'close'.
    response.on('error', () => {})
    try {
      allowCrossOrigin(response)
      await this.#dispatch(request, response, client.signal)
    } catch (error) {
      this.#fail(error, response)
    } finally {
      socket.off('close', onClose)
      this.#running.delete(client)
    }
  }

  async #dispatch(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const url = request.url ?? ''
    const at = url.indexOf('?')
    const path = at === -1 ? url : url.slice(0, at)
    const query = at === -1 ? '' : url.slice(at + 1)
    const route = routeOf(path)
    if (route === undefined) throw clientError('WEBRTC_NO_SESSION', 404, 'there is nothing here')
    if (route.kind === 'endpoint') {
      if (request.method === 'OPTIONS') return preflight(response, 'POST', 'Accept-Post', 'application/sdp')
      if (request.method !== 'POST') throw wrongMethod(response, 'POST, OPTIONS')
      return this.#post(request, response, route, { path, query, signal })
    }
    if (request.method === 'OPTIONS') {
      return preflight(response, 'PATCH, DELETE', 'Accept-Patch', 'application/trickle-ice-sdpfrag')
    }
    const isPatch = request.method === 'PATCH'
    if (!isPatch && request.method !== 'DELETE') throw wrongMethod(response, 'PATCH, DELETE, OPTIONS')
    const session = this.#sessions.table.byToken(route.token)
    if (session === undefined) throw clientError('WEBRTC_NO_SESSION', 404, 'there is no such session')
    if (isPatch) return this.#patch(session, request, response, signal)
    passBack(
      (await this.#requests.delete(session, request)) ?? { status: 200, headers: {}, body: nothing },
      response,
    )
  }

  async #post(
    request: IncomingMessage,
    response: ServerResponse,
    route: EndpointRoute,
    { path, query, signal }: { readonly path: string; readonly query: string; readonly signal: AbortSignal },
  ): Promise<void> {
    if (this.#isDraining) throw draining()
    if (!this.#sessions.enter()) throw unavailable('WEBRTC_TOO_MANY_SESSIONS', 'too many sessions')
    try {
      const body = await this.#body(request)
      const { response: answer, accepted } = await this.#offers.post({
        request,
        route,
        path,
        query,
        body,
        signal,
      })
      if (accepted === undefined) {
        passBack(answer, response)
        return
      }
      const { session, answer: description } = accepted
      try {
        signal.throwIfAborted()
        response.setHeader('Location', sessionPathPrefix + session.token)
        response.setHeader('Content-Type', 'application/sdp')
        const { media } = this.#sessions
        const publicBody = publicAnswer(description, session.requestAddress, media, this.#options)
        passBack({ ...answer, body: publicBody }, response)
      } catch (error) {
        // Nobody will learn of the session.
        await this.#sessions.end(session, 'failed')
        throw error
      }
      const { id, originId, role } = session
      this.#options.logger.debug({ session: id, origin: originId, role }, 'session began')
    } finally {
      this.#sessions.leave()
    }
  }

  async #patch(
    session: Session,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const body = await this.#body(request)
    passBack(await this.#requests.patch(session, request, body, signal), response)
  }

  #body(request: IncomingMessage): Promise<Buffer> {
    const { maxOfferBytes: maxBytes, requestTimeoutMs: timeoutMs, clock } = this.#options
    return readBody(request, { maxBytes, timeoutMs, clock })
  }

  #fail(error: unknown, response: ServerResponse): void {
    const { status, code, message } = this.#publicError(error)
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
    if (response.headersSent || response.destroyed) {
      response.destroy()
      return
    }
    if (status === 503) response.setHeader('Retry-After', retryAfterSeconds)
    // What is left of a body that was refused is not read.
    if (status === 408 || status === 413) response.setHeader('Connection', 'close')
    response.setHeader('Content-Type', 'application/json')
    response.statusCode = status
    response.end(JSON.stringify({ code, message }))
  }

  /** Errors of our own and of the balancer say what a client may know; any other may name an origin. */
  #publicError(error: unknown): { status: number; code: string; message: string } {
    if (
      error instanceof SluiceError &&
      (error instanceof WebRtcError || error.code.startsWith('BALANCER_'))
    ) {
      return { status: error.status ?? 503, code: error.code, message: error.message }
    }
    this.#options.logger.error({ code: errorCode(error), err: error }, 'a WebRTC request failed')
    return { status: 500, code: 'WEBRTC_INTERNAL', message: 'the gateway could not answer' }
  }
}

const nothing = Buffer.alloc(0)

/** The origin's status, its end-to-end headers, and a body. */
function passBack({ status, headers, body }: OriginResponse, response: ServerResponse): void {
  passHeadersBack(headers, response)
  response.statusCode = status
  // These have none, and no length either (RFC 9110 §8.6).
  if (status === 204 || status === 304) response.end()
  else response.setHeader('Content-Length', body.length).end(body)
}

function preflight(response: ServerResponse, methods: string, acceptHeader: string, accepted: string): void {
  response.setHeader('Access-Control-Allow-Methods', `${methods}, OPTIONS`)
  // `*` does not stand for Authorization (Fetch, CORS protocol), and for nothing in older browsers.
  response.setHeader('Access-Control-Allow-Headers', 'Authorization, Content-Type, If-Match, *')
  response.setHeader('Access-Control-Max-Age', '86400')
  response.setHeader(acceptHeader, accepted)
  response.setHeader('Content-Length', '0')
  response.end()
}

function wrongMethod(response: ServerResponse, allowed: string): WebRtcError {
  response.setHeader('Allow', allowed)
  return clientError('WEBRTC_METHOD', 405, `this path takes ${allowed}`)
}

function draining(): WebRtcError {
  return unavailable('WEBRTC_DRAINING', 'the gateway is shutting down')
}

function unavailable(code: 'WEBRTC_DRAINING' | 'WEBRTC_TOO_MANY_SESSIONS', message: string): WebRtcError {
  return new WebRtcError(code, message, 503, { side: 'self', retryable: true })
}
