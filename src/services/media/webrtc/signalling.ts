import type { IncomingMessage, ServerResponse } from 'node:http'
import { errorCode, SluiceError } from '../../../foundation/errors.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import { publicAnswer } from './answer.ts'
import { clientError, clientGone, OriginRefusal, unavailable, WebRtcError } from './errors.ts'
import { allowCrossOrigin, passHeadersBack, passRefusalBack } from './forwarded-headers.ts'
import { jsonAnswerBytes } from './json-envelope.ts'
import { type AcceptedOffer, Offers } from './offer.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { OriginResponse } from './origin-client.ts'
import type { OriginDialogue } from './origin-dialogue.ts'
import type { OriginLinks } from './origin-links.ts'
import { readBody } from './request-body.ts'
import { type EndpointRoute, routeOf, type SessionRoute, sessionPathPrefix } from './route.ts'
import type { SessionLookups } from './session-lookups.ts'
import { SessionRequests } from './session-requests.ts'
import type { Sessions } from './sessions.ts'

/** How long a client should wait that was told 429 or 503, in seconds. */
const retryAfterSeconds = 5

/** WHIP and WHEP over HTTP (RFC 9725), and SRS's older JSON: requests of clients in, their responses out. */
export class Signalling {
  /** Errors by code, for the metric. */
  readonly errors: Map<string, number> = new Map()
  readonly #options: CompleteWebRtcOptions
  readonly #sessions: Sessions
  readonly #offers: Offers
  readonly #requests: SessionRequests
  /** Requests that are being answered; aborted when their client goes away. */
  readonly #running = new Set<AbortController>()
  readonly #faults: LinePace
  #isDraining = false

  constructor(
    options: CompleteWebRtcOptions,
    dialogue: OriginDialogue,
    links: OriginLinks,
    sessions: Sessions,
    lookups: SessionLookups,
  ) {
    this.#options = options
    this.#sessions = sessions
    this.#faults = new LinePace(options.clock)
    this.#offers = new Offers(options, dialogue, links, sessions)
    this.#requests = new SessionRequests(options, dialogue, links, sessions, lookups)
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
    const url = request.url ?? ''
    const at = url.indexOf('?')
    const path = at === -1 ? url : url.slice(0, at)
    const query = at === -1 ? '' : url.slice(at + 1)
    const route = routeOf(path)
    try {
      allowCrossOrigin(response)
      if (route === undefined) throw clientError('WEBRTC_NO_SESSION', 404, 'there is nothing here')
      if (route.kind === 'session') await this.#onSession(request, response, route, client.signal)
      else await this.#onEndpoint(request, response, route, { path, query, signal: client.signal })
    } catch (error) {
      const isJson = route?.kind === 'endpoint' && route.form === 'json' && request.method === 'POST'
      this.#fail(error, response, isJson)
    } finally {
      socket.off('close', onClose)
      this.#running.delete(client)
    }
  }

  async #onEndpoint(
    request: IncomingMessage,
    response: ServerResponse,
    route: EndpointRoute,
    asked: { readonly path: string; readonly query: string; readonly signal: AbortSignal },
  ): Promise<void> {
    if (request.method === 'OPTIONS')
      return preflight(response, 'POST', 'Accept-Post', mediaTypes[route.form])
    if (request.method !== 'POST') throw wrongMethod(response, 'POST, OPTIONS')
    if (this.#isDraining) throw draining()
    if (!this.#sessions.enter()) throw unavailable('WEBRTC_TOO_MANY_SESSIONS', 'too many sessions')
    try {
      const client = this.#options.clientOf(request)
      const body = await this.#body(request)
      const accepted = await this.#offers.post({ request, client, route, body, ...asked })
      const { session } = accepted
      try {
        asked.signal.throwIfAborted()
        if (session.ended !== undefined)
          throw unavailable('WEBRTC_NO_SESSION', 'the session has ended already')
        this.#accept(accepted, route, request, response)
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

  #accept(
    { session: { hasTcp }, token, response: { status, headers }, answer, members }: AcceptedOffer,
    { form }: EndpointRoute,
    { socket }: IncomingMessage,
    response: ServerResponse,
  ): void {
    const context = { requestAddress: socket.localAddress, hasTcp }
    const sdp = publicAnswer(answer, context, this.#sessions, this.#options)
    response.setHeader('Content-Type', mediaTypes[form])
    if (form === 'json') {
      replyWith(response, 200, jsonAnswerBytes(members, sdp))
      return
    }
    response.setHeader('Location', sessionPathPrefix + token)
    passHeadersBack(headers, response)
    replyWith(response, status, sdp)
  }

  async #onSession(
    request: IncomingMessage,
    response: ServerResponse,
    { token }: SessionRoute,
    signal: AbortSignal,
  ): Promise<void> {
    if (request.method === 'OPTIONS') {
      return preflight(response, 'PATCH, DELETE', 'Accept-Patch', 'application/trickle-ice-sdpfrag')
    }
    const isPatch = request.method === 'PATCH'
    if (!isPatch && request.method !== 'DELETE') throw wrongMethod(response, 'PATCH, DELETE, OPTIONS')
    const client = this.#options.clientOf(request)
    const session = await this.#requests.find(token, client.address)
    if (isPatch) {
      const body = await this.#body(request)
      passBack(await this.#requests.patch(session, { request, client }, body, signal), response)
    } else {
      await this.#requests.delete(session, { request, client })
      replyWith(response, 200, nothing)
    }
  }

  #body(request: IncomingMessage): Promise<Buffer> {
    const { maxOfferBytes: maxBytes, requestTimeoutMs: timeoutMs, clock } = this.#options
    return readBody(request, { maxBytes, timeoutMs, clock })
  }

  #fail(error: unknown, response: ServerResponse, isJson: boolean): void {
    const { status, code, message } = this.#publicError(error)
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
    if (response.headersSent || response.destroyed) {
      response.destroy()
      return
    }
    if (error instanceof OriginRefusal) passRefusalBack(error.headers, response)
    if (status === 401 && !response.hasHeader('WWW-Authenticate'))
      response.setHeader('WWW-Authenticate', 'Bearer')
    if ((status === 429 || status === 503) && !response.hasHeader('Retry-After')) {
      response.setHeader('Retry-After', retryAfterSeconds)
    }
    // What is left of a body that was refused is not read.
    if (status === 408 || status === 413) response.setHeader('Connection', 'close')
    response.setHeader('Content-Type', 'application/json')
    // Clients of SRS's older API take any other status than 200 for an answer of somebody else.
    const jsonCode = (error instanceof OriginRefusal ? error.jsonCode : undefined) ?? status
    const body = isJson ? { code: jsonCode, error: code, message } : { code, message }
    replyWith(response, isJson ? 200 : status, Buffer.from(JSON.stringify(body)))
  }

  /** Errors of our own, of access and of the balancer say what a client may know; any other may name an origin. */
  #publicError(error: unknown): { status: number; code: string; message: string } {
    if (
      error instanceof SluiceError &&
      (error instanceof WebRtcError || /^(?:ACCESS|BALANCER)_/.test(error.code))
    ) {
      return { status: error.status ?? 503, code: error.code, message: error.message }
    }
    const code = errorCode(error)
    const due = this.#faults.due(code)
    if (due !== undefined) this.#options.logger.error({ code, err: error, ...due }, 'a WebRTC request failed')
    return { status: 500, code: 'WEBRTC_INTERNAL', message: 'the gateway could not answer' }
  }
}

const nothing = Buffer.alloc(0)

const mediaTypes = { sdp: 'application/sdp', json: 'application/json' } as const

/** The origin's status, its end-to-end headers, and a body. */
function passBack({ status, headers, body }: OriginResponse, response: ServerResponse): void {
  passHeadersBack(headers, response)
  replyWith(response, status, body)
}

function replyWith(response: ServerResponse, status: number, body: Buffer): void {
  response.statusCode = status
  // It has none, and no length either (RFC 9110 §8.6).
  if (status === 204) response.end()
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
