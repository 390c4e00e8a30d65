import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Clock, systemClock, type Timer } from '../../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { SessionDirectory, SessionInfo } from '../../../foundation/session-info.ts'
import {
  type Balancer,
  type Claim,
  type Hold,
  type KeyRules,
  type OriginId,
  type StreamKey,
  streamKeyOfHttp,
} from '../../../mechanisms/balancer/index.ts'
import { type Dial, dialTcp } from '../../../mechanisms/net/index.ts'
import { Counter, Gauge, type Logger, type Registry } from '../../../mechanisms/telemetry/index.ts'
import type { BodyFraming, ResponseHead } from '../../../protocols/http/index.ts'
import { BodyJoin } from './body-join.ts'
import { clientHeaders, corsHeaders } from './client-response.ts'
import { rawOfFields } from './end-to-end-headers.ts'
import { type HttpErrorCode, httpError } from './errors.ts'
import { type HttpHandler, replyError } from './handler.ts'
import { errorsCounter } from './metrics.ts'
import { OriginExchange } from './origin-exchange.ts'
import { isLoop, originRequest } from './origin-request.ts'
import { parseRequestTarget, type RequestTarget } from './request-target.ts'

export interface FlvProxyOptions {
  readonly balancer: Pick<Balancer, 'pick'>
  readonly keyRules: KeyRules
  readonly logger: Logger
  readonly registry: Registry
  readonly clock?: Clock
  /** Opens connections to origins. @defaultValue node:net's */
  readonly dial?: Dial
  /** How long the connection to an origin may take, in milliseconds. @defaultValue 3000 */
  readonly connectTimeoutMs?: number
  /**
   * From there to the end of its response head, in milliseconds. SRS answers for a stream that nobody publishes yet only
   * when it begins, so this is how long a player waits. @defaultValue 60000
   */
  readonly headTimeoutMs?: number
  /** A viewer that takes nothing for so many milliseconds is cut. @defaultValue 30000 */
  readonly stallMs?: number
  /** A body in which nothing comes for so many milliseconds is ended: players wait for a publisher who reconnects. @defaultValue 60000 */
  readonly idleMs?: number
  /** Most origins that are tried for one request. @defaultValue 3 */
  readonly maxOrigins?: number
}

const DEFAULTS = {
  connectTimeoutMs: 3000,
  headTimeoutMs: 60_000,
  dial: dialTcp,
  stallMs: 30_000,
  idleMs: 60_000,
  maxOrigins: 3,
}

/** Live bodies that are passed on as they come. */
const LIVE_EXTENSIONS = ['.flv']
const ALLOW = 'GET, HEAD, OPTIONS'

interface Viewer {
  readonly id: string
  readonly streamKey: StreamKey
  readonly originId: OriginId
  readonly sinceMs: number
  readonly join: BodyJoin
}

interface Answer {
  readonly claim: Claim
  readonly exchange: OriginExchange
  readonly head: ResponseHead
  readonly framing: BodyFraming
}

/**
 * HTTP-FLV: `GET /{app}/{stream}.flv` is led to the origin that carries the stream, and the body is joined socket to socket
 * behind the response head. Query, end-to-end headers, status and framing pass both ways; an origin that cannot be
 * reached is passed over, one that refuses is believed.
 */
export class FlvProxy implements HttpHandler, SessionDirectory {
  readonly #options: FlvProxyOptions & typeof DEFAULTS
  readonly #clock: Clock
  readonly #log: Logger
  readonly #errors: Counter<'code'>
  readonly #pseudonym = `sluice-${randomBytes(6).toString('hex')}`
  readonly #viewers = new Map<string, Viewer>()
  /** Every body that is being sent, refusals too. */
  readonly #joins = new Set<BodyJoin>()
  #sweep: Timer | undefined
  /** Bytes of bodies that have ended. */
  #endedBytes = 0

  constructor(options: FlvProxyOptions) {
    this.#options = { ...DEFAULTS, ...options }
    this.#clock = options.clock ?? systemClock
    this.#log = options.logger.child({ component: 'flv' })
    this.#errors = errorsCounter(options.registry)
    this.#declareMetrics(options.registry)
  }

  matches(pathname: string): boolean {
    return LIVE_EXTENSIONS.some((extension) => pathname.endsWith(extension))
  }

  /** Resolves when the answer is complete, or when its body is on the way. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'OPTIONS') return replyPreflight(response)
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return replyError(response, 405, 'HTTP_METHOD_NOT_ALLOWED', { ...corsHeaders, Allow: ALLOW })
    }
    const target = parseRequestTarget(request)
    if (target === undefined || hasBody(request)) {
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
      await this.#serve(request, response, target, gone.signal)
    } catch (error) {
      if (gone.signal.aborted) {
        socket.destroy()
        return
      }
      // The edge answers; a page of any site may read why.
      if (!response.headersSent) {
        for (const [name, value] of Object.entries(corsHeaders)) response.setHeader(name, value)
      }
      throw error
    } finally {
      socket.off('close', onGone)
      socket.off('end', onGone)
    }
  }

  listSessions(): readonly SessionInfo[] {
    return [...this.#viewers.values()].map(({ id, streamKey, originId, sinceMs, join }) => ({
      id,
      protocol: 'http',
      role: 'play',
      streamKey,
      originId,
      sinceMs,
      bytesIn: 0,
      bytesOut: join.bytesOut,
    }))
  }

  kickSession(id: string): boolean {
    const viewer = this.#viewers.get(id)
    viewer?.join.cut('HTTP_SESSION_KICKED')
    return viewer !== undefined
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    target: RequestTarget,
    signal: AbortSignal,
  ): Promise<void> {
    if (isLoop(request, this.#pseudonym)) {
      throw httpError('HTTP_LOOP', 'the request came back to this gateway', {
        side: 'origin',
        retryable: false,
        status: 508,
      })
    }
    const { pathname, query } = target
    const key = streamKeyOfHttp(
      { host: request.headers.host, path: pathname, query, names: 'file' },
      this.#options.keyRules,
    )
    const answer = await this.#ask(key, request, target, signal)
    const { claim, exchange, head } = answer
    let hold: Hold | undefined
    try {
      // Only what plays makes the choice stick, so that asking for names at random leaves nothing behind.
      if (head.status < 300 || head.status === 304) hold = await claim.keep()
      else await claim.release()
      signal.throwIfAborted()
      this.#reply(key, answer, hold, request, response)
    } catch (error) {
      exchange.destroy()
      if (hold === undefined) await claim.release()
      else hold.end()
      throw error
    }
  }

  /** The answer of the first origin that gives one. */
  async #ask(
    key: StreamKey,
    request: IncomingMessage,
    target: RequestTarget,
    signal: AbortSignal,
  ): Promise<Answer> {
    const avoid: OriginId[] = []
    let failure: unknown
    while (avoid.length < this.#options.maxOrigins) {
      let claim: Claim
      try {
        claim = await this.#options.balancer.pick(key, 'flv', { role: 'play', avoid })
      } catch (error) {
        this.#log.warn({ streamKey: key, code: errorCode(error), tried: avoid.length }, 'no origin')
        throw failure ?? error
      }
      try {
        return { claim, ...(await this.#open(claim, request, target, signal)) }
      } catch (error) {
        if (signal.aborted) {
          await claim.release()
          throw error
        }
        failure = error
        avoid.push(claim.origin.id)
        const code = errorCode(error)
        this.#errors.inc({ code })
        const level = code === 'HTTP_ORIGIN_SILENT' ? 'info' : 'warn'
        this.#log[level](
          { streamKey: key, originId: claim.origin.id, code, reason: errorMessage(error) },
          'origin failed',
        )
        // What an origin does after it took the connection can hang on what was asked of it; strangers who ask for
        // streams that nobody publishes must not bring it into disrepute.
        if (code === 'HTTP_ORIGIN_UNREACHABLE') await claim.failed()
        else await claim.release()
        if (code === 'HTTP_ORIGIN_SILENT') throw error
      }
    }
    throw failure
  }

  #open(
    claim: Claim,
    request: IncomingMessage,
    target: RequestTarget,
    signal: AbortSignal,
  ): Promise<Omit<Answer, 'claim'>> {
    const { connectTimeoutMs, dial, headTimeoutMs } = this.#options
    const { origin } = claim
    const address = { host: origin.ip, port: origin.http[0] ?? 0 }
    return OriginExchange.open({
      ...address,
      dial,
      method: request.method ?? 'GET',
      request: originRequest(request, target, address, this.#pseudonym),
      connectTimeoutMs,
      headTimeoutMs,
      clock: this.#clock,
      signal,
    })
  }

  #reply(
    key: StreamKey,
    { claim, exchange, head, framing }: Answer,
    hold: Hold | undefined,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const headers = clientHeaders(head, { originHost: claim.origin.ip, clientHost: request.headers.host })
    if (headers.some(({ name }) => name.toLowerCase() === 'date')) response.sendDate = false
    if (framing.kind === 'none') {
      exchange.destroy()
      hold?.end()
      response.writeHead(head.status, head.reason, rawOfFields(headers))
      response.end()
      return
    }
    const takesFramingOut = framing.kind === 'chunked' && request.httpVersion === '1.0'
    // The bytes of the body carry their framing with them; node must not add one.
    response.removeHeader('Transfer-Encoding')
    if (framing.kind === 'chunked' && !takesFramingOut) {
      headers.push({ name: 'Transfer-Encoding', value: 'chunked' })
    }
    headers.push({ name: 'Connection', value: 'close' })
    const client = request.socket
    client.setNoDelay(true)
    // From here on the join watches over the connection.
    client.setTimeout(0)
    client.cork()
    try {
      response.writeHead(head.status, head.reason, rawOfFields(headers))
      response.flushHeaders()
      this.#join(key, claim.origin.id, hold, { exchange, client, framing, takesFramingOut })
    } finally {
      client.uncork()
    }
  }

  #join(
    streamKey: StreamKey,
    originId: OriginId,
    hold: Hold | undefined,
    ends: { exchange: OriginExchange; client: Socket; framing: BodyFraming; takesFramingOut: boolean },
  ): void {
    const id = randomBytes(8).toString('hex')
    const join = new BodyJoin({
      ...ends,
      stallMs: this.#options.stallMs,
      idleMs: this.#options.idleMs,
      nowMs: this.#clock.nowMs(),
      onOver: (code) => {
        hold?.end()
        this.#viewers.delete(id)
        this.#joins.delete(join)
        this.#endedBytes += join.bytesOut
        this.#onOver(id, streamKey, code)
      },
    })
    this.#joins.add(join)
    if (hold !== undefined) {
      this.#viewers.set(id, { id, streamKey, originId, sinceMs: this.#clock.wallMs(), join })
    }
    this.#sweepLater()
    join.start()
  }

  #onOver(id: string, streamKey: StreamKey, code: HttpErrorCode | undefined): void {
    if (code !== undefined && code !== 'HTTP_CLIENT_GONE') this.#errors.inc({ code })
    this.#log.debug({ id, streamKey, code }, 'body ended')
    if (this.#joins.size > 0) return
    this.#sweep?.cancel()
    this.#sweep = undefined
  }

  /** One timer looks after all viewers, instead of one for each that would be reset with each packet. */
  #sweepLater(): void {
    const everyMs = Math.max(10, Math.min(1000, this.#options.stallMs / 4, this.#options.idleMs / 4))
    this.#sweep ??= this.#clock.after(everyMs, () => {
      this.#sweep = undefined
      const nowMs = this.#clock.nowMs()
      for (const join of this.#joins) join.check(nowMs)
      if (this.#joins.size > 0) this.#sweepLater()
    })
  }

  #declareMetrics(registry: Registry): void {
    const viewers = this.#viewers
    const bytesOut = (): number => {
      let bytes = this.#endedBytes
      for (const join of this.#joins) bytes += join.bytesOut
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
      new Counter({
        name: 'sluice_http_bytes_total',
        help: 'Bytes of bodies passed from origins to viewers.',
        registers: [],
        collect() {
          this.reset()
          this.inc(bytesOut())
        },
      }),
    )
  }
}

/** `OPTIONS` goes no further; 200 is what clients of SRS get. */
function replyPreflight(response: ServerResponse): void {
  response.writeHead(200, {
    ...corsHeaders,
    Allow: ALLOW,
    'Access-Control-Max-Age': '7200',
    'Content-Length': '0',
  })
  response.end()
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

/** Waits for the answers to the requests before, where a client sent several without waiting. */
function hasTurn(response: ServerResponse, signal: AbortSignal): Promise<void> {
  if (response.socket !== null) return Promise.resolve()
  return new Promise((resolve, reject) => {
    response.once('socket', () => resolve())
    signal.addEventListener('abort', () => reject(new Error('left')), { once: true })
  })
}
