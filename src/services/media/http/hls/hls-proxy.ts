import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { systemClock } from '../../../../foundation/clock.ts'
import { errorCode, SluiceError } from '../../../../foundation/errors.ts'
import type { SessionDirectory, SessionInfo } from '../../../../foundation/session-info.ts'
import { type OriginTarget, streamKeyParts } from '../../../../mechanisms/balancer/index.ts'
import type { Logger } from '../../../../mechanisms/telemetry/index.ts'
import { corsHeaders } from '../client-response.ts'
import { httpError } from '../errors.ts'
import { dropBody } from './gather-body.ts'
import { type HttpHandler, replyError } from '../handler.ts'
import { hasBody, hasTurn, MEDIA_METHODS, replyPreflight } from '../media-request.ts'
import { HlsIds } from './hls-ids.ts'
import { HlsMetrics } from './hls-metrics.ts'
import { HlsNames } from './hls-names.ts'
import { HLS_DEFAULTS, type HlsProxyOptions, type HlsSettings } from './hls-options.ts'
import { HlsOutages } from './hls-outages.ts'
import { isPlainPath, OriginPaths } from './hls-origin-path.ts'
import { contextOf, credentialsOf, isBlockingReload, withoutSpbhid } from './hls-query.ts'
import { type Asked, HlsReplies } from './hls-reply.ts'
import { type HlsRoute, HlsRoutes } from './hls-routes.ts'
import { type HlsAnswer, HlsSearch } from './hls-search.ts'
import type { HlsViewer } from './hls-viewer.ts'
import { HlsViewers } from './hls-viewers.ts'
import { isLoop, originRequest } from '../origin-request.ts'
import { OriginPool } from './origin-pool.ts'
import { originUrl, type OriginUrl } from '../origin-url.ts'
import { parseRequestTarget, type RequestTarget } from '../request-target.ts'

/**
 * HLS and DASH: playlists, manifests and segments are led to the origin that carries the stream. Their URIs are changed so
 * that they come back here and, by `spbhid`, find the stream again, at any gateway of the same store. A viewer is let in
 * once, listed, and over when it has asked for nothing for a while.
 */
export class HlsProxy implements HttpHandler, SessionDirectory {
  readonly #options: HlsSettings
  readonly #log: Logger
  readonly #metrics: HlsMetrics
  readonly #pseudonym = `sluice-${randomBytes(6).toString('hex')}`
  readonly #names: HlsNames
  readonly #ids: HlsIds
  readonly #routes: HlsRoutes
  readonly #viewers: HlsViewers
  readonly #pool: OriginPool
  readonly #outages: HlsOutages
  readonly #search: HlsSearch
  readonly #replies: HlsReplies

  constructor(options: HlsProxyOptions) {
    const clock = options.clock ?? systemClock
    this.#options = { ...HLS_DEFAULTS, ...options, clock }
    this.#log = options.logger.child({ component: 'hls' })
    const { idleConnectionMs: idleMs, maxNames, sessionTtlMs } = this.#options
    this.#names = new HlsNames({ clock, ttlMs: sessionTtlMs, maxEntries: maxNames })
    this.#ids = new HlsIds(options.balancer, clock, this.#log)
    this.#routes = new HlsRoutes(options.keyRules, this.#ids, this.#names)
    this.#viewers = new HlsViewers(this.#options)
    this.#pool = new OriginPool({ ...this.#options, idleMs })
    this.#outages = new HlsOutages(this.#options)
    this.#metrics = new HlsMetrics(options.registry, {
      viewers: () => this.#viewers.size,
      waiting: () => this.#outages.waiting,
      originConnections: () => this.#pool.size,
      bodies: () => this.#replies.bodies,
    })
    this.#search = new HlsSearch(
      this.#options,
      { pool: this.#pool, outages: this.#outages },
      this.#log,
      this.#metrics.errors,
    )
    this.#replies = new HlsReplies(this.#options, {
      ids: this.#ids,
      names: this.#names,
      routes: this.#routes,
      metrics: this.#metrics,
      log: this.#log,
      tell: (originId, error) => this.#search.tell(originId, error),
      onDone: (viewer) => this.#viewers.done(viewer),
    })
  }

  matches(pathname: string, _method: string, query: string): boolean {
    return this.#routes.matches(pathname, query)
  }

  /** Resolves when the answer is complete, or when its body is on the way. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'OPTIONS') return replyPreflight(response)
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return replyError(response, 405, 'HTTP_METHOD_NOT_ALLOWED', { ...corsHeaders, Allow: MEDIA_METHODS })
    }
    const target = parseRequestTarget(request)
    if (target === undefined || hasBody(request)) {
      response.shouldKeepAlive = false
      return replyError(response, 400, 'HTTP_BAD_REQUEST', corsHeaders)
    }
    const gone = new AbortController()
    const onGone = (): void => gone.abort()
    // A response that waits for its turn behind others is not told of the end of its connection.
    request.socket.once('close', onGone)
    const asked = { request, response, target, client: this.#options.clientOf(request), signal: gone.signal }
    try {
      await hasTurn(response, gone.signal)
      await this.#serve(asked)
    } catch (error) {
      if (gone.signal.aborted) return
      if (!response.headersSent) prepareRefusal(response, error)
      throw error
    } finally {
      request.socket.off('close', onGone)
    }
  }

  get sessionCount(): number {
    return this.#viewers.size
  }

  listSessions(): readonly SessionInfo[] {
    return this.#viewers.list()
  }

  kickSession(id: string): boolean {
    return this.#viewers.kick(id)
  }

  /** Ends all sessions and closes the connections to origins. */
  async close(): Promise<void> {
    this.#replies.close()
    this.#viewers.close()
    this.#pool.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #serve(asked: Asked): Promise<void> {
    const { request, target } = asked
    if (isLoop(request, this.#pseudonym)) {
      throw httpError('HTTP_LOOP', 'the request came back to this gateway', {
        side: 'origin',
        retryable: false,
        status: 508,
      })
    }
    const routes = isPlainPath(target.pathname) ? await this.#routes.find(target, request.headers.host) : []
    for (const [index, route] of routes.entries()) {
      if (await this.#serveRoute(asked, route, index === routes.length - 1)) return
    }
    if (routes.length === 0) replyError(asked.response, 404, 'HTTP_NOT_FOUND', corsHeaders)
  }

  /** False when the route was a guess that proved wrong, and there is another one. */
  async #serveRoute(asked: Asked, route: HlsRoute, isLast: boolean): Promise<boolean> {
    this.#metrics.requests.inc({ kind: route.kind })
    const viewer = await this.#viewers.enter(this.#viewerRequest(asked, route))
    let isHanded = false
    try {
      const found = await this.#ask(asked, route, viewer).catch((error: unknown) => {
        if (isLast || errorCode(error) !== 'HTTP_NOT_FOUND') throw error
      })
      if (found === undefined) return false
      const { status } = found.answer.head
      if (status === 404 && !isLast) {
        dropBody(found.answer)
        return false
      }
      if (status < 400) {
        if (route.isGuess) await this.#admitToGuess(asked, route, viewer, found)
        viewer.isServed = true
        this.#outages.wasServed(route.key)
      }
      isHanded = await this.#replies.reply(asked, route, viewer, found)
      return true
    } finally {
      if (!isHanded) this.#viewers.done(viewer)
    }
  }

  /** Where the stream of a segment is a guess at its name, it is for those who may play each that the name could mean. */
  async #admitToGuess(
    asked: Asked,
    route: HlsRoute,
    viewer: HlsViewer,
    { answer }: HlsAnswer,
  ): Promise<void> {
    const { address, bearer, access } = this.#viewerRequest(asked, route)
    const who = { address, ...access, ...(bearer !== undefined && { bearer }), sessionId: viewer.id }
    try {
      for (const key of this.#routes.ownersOf(asked.target, asked.request.headers.host)) {
        if (key === route.key) continue
        const admission = await this.#options.access.admit({ protocol: 'hls', role: 'play', key, ...who })
        admission.end()
      }
    } catch (error) {
      answer.destroy()
      throw error
    }
  }

  #viewerRequest({ request, target, client }: Asked, route: HlsRoute): Parameters<HlsViewers['enter']>[0] {
    const { query } = target
    const { authorization, host = '', referer } = request.headers
    const { app } = streamKeyParts(route.key)
    return {
      key: route.key,
      address: client.address,
      credentials: credentialsOf(query),
      bearer: /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1],
      context: contextOf(query),
      isCovered: route.isCovered || route.kind === 'segment',
      access: {
        query: withoutSpbhid(query),
        tcUrl: `${client.isSecure ? 'https' : 'http'}://${host}/${app}`,
        ...(referer === undefined ? {} : { pageUrl: referer }),
      },
    }
  }

  #ask(asked: Asked, route: HlsRoute, viewer: HlsViewer): Promise<HlsAnswer> {
    const { request, target, client, signal } = asked
    const isText = route.kind !== 'segment'
    return this.#search.ask({
      route,
      viewer,
      method: request.method ?? 'GET',
      isBlocking: isBlockingReload(target.query),
      signal,
      urlAt: (place) => this.#urlAt(place, route, target),
      bytesFor: (url) =>
        originRequest(request, url, client, { pseudonym: this.#pseudonym, isKept: true, isText }),
    })
  }

  /** A name that only looks like the stream's own, and that another stream's playlist gave, is that one's. */
  #mayAskFor({ key, isGuess }: HlsRoute, path: string, isOwn: boolean): boolean {
    if (this.#names.isNamed(key, path)) return true
    return (isOwn || isGuess) && !this.#names.isNamedByOther(key, path)
  }

  /** Where a request is to be asked for; undefined where its path is none of the stream's. */
  #urlAt(place: OriginTarget, route: HlsRoute, target: RequestTarget): OriginUrl | undefined {
    const query = withoutSpbhid(target.query)
    if (route.isTop) return originUrl(place, { ...target, query })
    const paths = new OriginPaths(route.playlistPath, place, route.key)
    const there = paths.toOrigin(target.pathname)
    if (there === undefined) return undefined
    if (!this.#mayAskFor(route, target.pathname, there.isOwn)) return undefined
    // SRS gets the query as it came, `spbhid` included.
    const pathAndQuery = paths.isAsAsked
      ? target.pathAndQuery
      : there.path + (query === '' ? '' : `?${query}`)
    return originUrl({ ...place, name: undefined }, { ...target, pathAndQuery })
  }
}

/** A page of any site may read why; whoever may not play is told how to say who it is. */
function prepareRefusal(response: ServerResponse, error: unknown): void {
  for (const [name, value] of Object.entries(corsHeaders)) response.setHeader(name, value)
  const status = error instanceof SluiceError ? error.status : undefined
  if (status === 401) response.setHeader('WWW-Authenticate', 'Bearer')
  if (status === 503 || errorCode(error) === 'ACCESS_TOO_MANY') response.setHeader('Retry-After', '5')
}
