import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Clock, systemClock, type Timer } from '../../../../foundation/clock.ts'
import { SluiceError } from '../../../../foundation/errors.ts'
import type { SessionDirectory, SessionInfo } from '../../../../foundation/session-info.ts'
import { type StreamKey, streamKeyOfHttp } from '../../../../mechanisms/balancer/index.ts'
import { AddressRanges, httpClientOf, type HttpClientOf } from '../../../../mechanisms/net/index.ts'
import { Counter, Gauge, type Logger, type Registry } from '../../../../mechanisms/telemetry/index.ts'
import type { Admission } from '../../access/index.ts'
import { accessRequestOf } from './access-request.ts'
import { isApiPath } from '../api-path.ts'
import { clientHeaders, corsHeaders } from '../client-response.ts'
import { rawOfFields } from '../end-to-end-headers.ts'
import { type HttpErrorCode, httpError } from '../errors.ts'
import { fileOwners, isFile } from '../file-owners.ts'
import { type HttpHandler, replyError } from '../handler.ts'
import { hasBody, hasTurn, MEDIA_METHODS, replyPreflight } from '../media-request.ts'
import { LIVE_DEFAULTS, type LiveProxyOptions } from './live-options.ts'
import type { LiveNeed } from './live-splice.ts'
import { isLiveBody, LiveViewer, type Stay } from './live-viewer.ts'
import { errorsCounter } from '../metrics.ts'
import { replyRefusal } from '../origin-refusal.ts'
import { isLoop } from '../origin-request.ts'
import { type Answer, type Ask, OriginSearch } from './origin-search.ts'
import { parseRequestTarget, type RequestTarget } from '../request-target.ts'
import { spliceOf } from './splice-of.ts'
import { StreamReturn } from './stream-return.ts'

/** How long an origin may take to say that it has a stream, where a file of the name is at hand. */
const FILE_WAIT_MS = 2000

const NEEDS: ReadonlyMap<string, LiveNeed> = new Map([
  ['.flv', 'flv'],
  ['.ts', 'ts'],
  ['.aac', 'aac'],
  ['.mp3', 'mp3'],
])

/**
 * Live bodies over HTTP: `GET /{app}/{stream}.flv`, or `.ts`, `.aac`, `.mp3`, is led to the origin that carries the stream, and
 * the body is joined socket to socket behind the response head. Query, end-to-end headers and status pass both ways; an
 * origin that cannot be reached is passed over, one that refuses is believed, and one that breaks off within a body is
 * replaced by the next one that has the stream.
 */
export class LiveProxy implements HttpHandler, SessionDirectory {
  readonly #options: LiveProxyOptions & typeof LIVE_DEFAULTS
  readonly #clock: Clock
  readonly #clientOf: HttpClientOf
  readonly #log: Logger
  readonly #errors: Counter<'code'>
  readonly #search: OriginSearch
  readonly #returns: StreamReturn
  readonly #pseudonym = `sluice-${randomBytes(6).toString('hex')}`
  readonly #viewers = new Map<string, LiveViewer>()
  /** Every body that is being sent, also of what does not play. */
  readonly #bodies = new Set<LiveViewer>()
  #sweep: Timer | undefined
  /** Bytes of bodies that have ended. */
  #endedBytes = 0

  constructor(options: LiveProxyOptions) {
    this.#options = { ...LIVE_DEFAULTS, ...options }
    this.#clock = options.clock ?? systemClock
    this.#clientOf = options.clientOf ?? httpClientOf(new AddressRanges([]))
    this.#log = options.logger.child({ component: 'live' })
    this.#errors = errorsCounter(options.registry)
    this.#returns = new StreamReturn(this.#options.maxWaiting)
    this.#search = new OriginSearch({
      ...this.#options,
      clock: this.#clock,
      logger: this.#log,
      errors: this.#errors,
      pseudonym: this.#pseudonym,
    })
    this.#declareMetrics(options.registry)
  }

  matches(pathname: string): boolean {
    return needOf(pathname) !== undefined && !isApiPath(pathname)
  }

  /** Resolves when the answer is complete, or when its body is on the way. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'OPTIONS') return replyPreflight(response)
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return replyError(response, 405, 'HTTP_METHOD_NOT_ALLOWED', { ...corsHeaders, Allow: MEDIA_METHODS })
    }
    const target = parseRequestTarget(request)
    const need = needOf(target?.pathname ?? '')
    if (target === undefined || need === undefined || hasBody(request)) {
      response.shouldKeepAlive = false
      return replyError(response, 400, 'HTTP_BAD_REQUEST', corsHeaders)
    }
    const gone = new AbortController()
    const { socket } = request
    const onGone = (): void => gone.abort()
    socket.once('close', onGone)
    socket.once('end', onGone)
    try {
      await hasTurn(response, gone.signal)
      await this.#serve(request, response, target, need, gone.signal)
    } catch (error) {
      if (gone.signal.aborted) {
        socket.destroy()
        return
      }
      // The edge answers; a page of any site may read why.
      if (!response.headersSent) {
        for (const [name, value] of Object.entries(corsHeaders)) response.setHeader(name, value)
        // RFC 9110 §11.6.1
        if (error instanceof SluiceError && error.status === 401)
          response.setHeader('WWW-Authenticate', 'Bearer')
      }
      throw error
    } finally {
      socket.off('close', onGone)
      socket.off('end', onGone)
    }
  }

  get sessionCount(): number {
    return this.#viewers.size
  }

  listSessions(): readonly SessionInfo[] {
    return [...this.#viewers.values()].map((viewer) => viewer.info)
  }

  kickSession(id: string): boolean {
    const viewer = this.#viewers.get(id)
    viewer?.cut('HTTP_SESSION_KICKED')
    return viewer !== undefined
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    target: RequestTarget,
    need: LiveNeed,
    gone: AbortSignal,
  ): Promise<void> {
    if (isLoop(request, this.#pseudonym)) {
      throw httpError('HTTP_LOOP', 'the request came back to this gateway', {
        side: 'origin',
        retryable: false,
        status: 508,
      })
    }
    const { pages } = this.#options
    const hasFile = (await pages?.has(target.pathname)) ?? false
    let admission: Admission | undefined
    try {
      const ask = this.#askOf(request, target, need)
      const id = randomBytes(8).toString('hex')
      admission = await this.#options.access.admit(accessRequestOf(ask, id, gone))
      const isSent = await this.#answer(id, ask, admission, hasFile, response, gone)
      if (isSent) return
    } catch (error) {
      admission?.end()
      // Who may not play does not get a file of the name instead.
      const isRefused = admission === undefined && !isNoKey(error)
      if (!hasFile || isRefused || gone.aborted || response.headersSent) throw error
    }
    await pages?.handle(request, response)
  }

  #askOf(request: IncomingMessage, target: RequestTarget, need: LiveNeed): Ask & { readonly need: LiveNeed } {
    const { host } = request.headers
    const { pathname: path, query } = target
    const key = streamKeyOfHttp({ host, path, query, names: 'file' }, this.#options.keyRules)
    return { key, need, request, target, client: this.#clientOf(request) }
  }

  /** False when the origin has nothing, and the file is to be sent. The admission is the viewer's once one has begun. */
  async #answer(
    id: string,
    ask: Ask & { readonly need: LiveNeed },
    admission: Admission,
    hasFile: boolean,
    response: ServerResponse,
    gone: AbortSignal,
  ): Promise<boolean> {
    const signal = AbortSignal.any([gone, admission.signal])
    const { headTimeoutMs } = this.#options
    const waitMs = hasFile ? Math.min(headTimeoutMs, FILE_WAIT_MS) : headTimeoutMs
    let answer: Answer
    try {
      answer = await this.#search.find(ask, waitMs, signal)
    } catch (error) {
      throw admission.signal.aborted ? admission.signal.reason : error
    }
    if (hasFile && answer.head.status === 404) {
      answer.exchange.destroy()
      await answer.claim.release()
      admission.end()
      return false
    }
    if (answer.head.status >= 400) {
      answer.exchange.destroy()
      await answer.claim.release()
      admission.end()
      const { status, reason } = answer.head
      this.#log.debug(
        { streamKey: ask.key, originId: answer.claim.origin.id, status, reason },
        'origin refused',
      )
      if (!gone.aborted) replyRefusal(response, answer.head)
      return true
    }
    if (answer.url.isAsAsked && isFile(answer.head)) {
      try {
        await this.#admitToFile(id, ask, signal)
      } catch (error) {
        answer.exchange.destroy()
        await answer.claim.release()
        throw error
      }
    }
    const viewer = this.#viewerOf(id, ask, admission, answer)
    let stay: Stay | undefined
    try {
      // Only what plays makes the choice stick, so that asking for names at random leaves nothing behind.
      if (answer.head.status < 300 || answer.head.status === 304) stay = await viewer.keep(answer)
      else await answer.claim.release()
      gone.throwIfAborted()
      if (admission.signal.aborted) throw admission.signal.reason
      if (!this.#replyHead(ask, answer, response)) {
        stay?.hold?.end()
        admission.end()
        return true
      }
    } catch (error) {
      answer.exchange.destroy()
      if (stay === undefined) await answer.claim.release()
      else stay.hold?.end()
      throw error
    }
    this.#bodies.add(viewer)
    if (stay !== undefined) this.#viewers.set(id, viewer)
    this.#sweepLater()
    viewer.start(answer, stay)
    // It was held so that the head and the first bytes leave together.
    ask.request.socket.uncork()
    return true
  }

  /** A segment or a recording is for those who may play the stream that it is of: each that its name could mean. */
  async #admitToFile(id: string, ask: Ask, signal: AbortSignal): Promise<void> {
    const { host } = ask.request.headers
    const { query, pathname } = ask.target
    for (const path of fileOwners(pathname)) {
      let key: StreamKey
      try {
        key = streamKeyOfHttp({ host, path, query, names: 'path' }, this.#options.keyRules)
      } catch (error) {
        if (isNoKey(error)) continue
        throw error
      }
      const admission = await this.#options.access.admit(accessRequestOf({ ...ask, key }, id, signal))
      admission.end()
    }
  }

  #viewerOf(
    id: string,
    ask: Ask & { readonly need: LiveNeed },
    admission: Admission,
    answer: Answer,
  ): LiveViewer {
    const { resumeMs, stallMs, idleMs } = this.#options
    const viewer: LiveViewer = new LiveViewer({
      id,
      ask,
      admission,
      client: ask.request.socket,
      isChunked: isChunkedOut(ask, answer),
      splice: isLiveBody(answer) ? spliceOf(ask.need) : undefined,
      search: this.#search,
      returns: this.#returns,
      resumeMs,
      stallMs,
      idleMs,
      clock: this.#clock,
      logger: this.#log,
      onOver: (code) => {
        this.#viewers.delete(id)
        this.#bodies.delete(viewer)
        this.#endedBytes += viewer.bytesOut
        this.#onOver(id, ask, code)
      },
    })
    return viewer
  }

  /** Sends the response head. False when no body follows; else the client's socket is corked. */
  #replyHead(ask: Ask, answer: Answer, response: ServerResponse): boolean {
    const { exchange, head, framing, url } = answer
    const { headers: asked, socket: client } = ask.request
    const headers = clientHeaders(head, { originHost: url.host, clientHost: asked.host })
    if (headers.some(({ name }) => name.toLowerCase() === 'date')) response.sendDate = false
    if (framing.kind === 'none') {
      exchange.destroy()
      response.writeHead(head.status, head.reason, rawOfFields(headers))
      response.end()
      return false
    }
    // The framing is written by the join; node must not add one.
    response.removeHeader('Transfer-Encoding')
    if (isChunkedOut(ask, answer)) headers.push({ name: 'Transfer-Encoding', value: 'chunked' })
    headers.push({ name: 'Connection', value: 'close' })
    client.setNoDelay(true)
    // From here on the join watches over the connection.
    client.setTimeout(0)
    client.cork()
    response.writeHead(head.status, head.reason, rawOfFields(headers))
    response.flushHeaders()
    return true
  }

  #onOver(id: string, { key }: Ask, code: HttpErrorCode | undefined): void {
    if (code !== undefined && code !== 'HTTP_CLIENT_GONE') this.#errors.inc({ code })
    this.#log.debug({ id, streamKey: key, code }, 'body ended')
    if (this.#bodies.size > 0) return
    this.#sweep?.cancel()
    this.#sweep = undefined
  }

  /** One timer looks after all viewers, instead of one for each that would be reset with each packet. */
  #sweepLater(): void {
    const everyMs = Math.max(10, Math.min(1000, this.#options.stallMs / 4, this.#options.idleMs / 4))
    this.#sweep ??= this.#clock.after(everyMs, () => {
      this.#sweep = undefined
      const nowMs = this.#clock.nowMs()
      for (const viewer of this.#bodies) viewer.check(nowMs)
      if (this.#bodies.size > 0) this.#sweepLater()
    })
  }

  #declareMetrics(registry: Registry): void {
    const viewers = this.#viewers
    const returns = this.#returns
    const bytesOut = (): number => {
      let bytes = this.#endedBytes
      for (const viewer of this.#bodies) bytes += viewer.bytesOut
      return bytes
    }
    registry.registerMetric(
      new Gauge({
        name: 'sluice_http_sessions',
        help: 'Viewers of live bodies over HTTP.',
        registers: [],
        collect() {
          this.set(viewers.size)
        },
      }),
    )
    registry.registerMetric(
      new Gauge({
        name: 'sluice_http_waiting_sessions',
        help: 'Viewers of live bodies whose origin has gone, and who are kept until the stream comes back.',
        registers: [],
        collect() {
          this.set(returns.waiting)
        },
      }),
    )
    registry.registerMetric(
      new Counter({
        name: 'sluice_http_bytes_total',
        help: 'Bytes of bodies passed from origins to viewers, without framing.',
        registers: [],
        collect() {
          this.reset()
          this.inc(bytesOut())
        },
      }),
    )
  }
}

function needOf(pathname: string): LiveNeed | undefined {
  return NEEDS.get(/\.[a-z0-9]+$/.exec(pathname)?.[0] ?? '')
}

/** A client of HTTP/1.0 gets a body until the connection ends. */
function isChunkedOut({ request }: Ask, { framing }: Answer): boolean {
  return framing.kind === 'chunked' && request.httpVersion !== '1.0'
}

/** The path names a file only: `/jingle.mp3`. */
function isNoKey(error: unknown): boolean {
  return error instanceof SluiceError && error.code === 'BALANCER_BAD_STREAM_KEY'
}
