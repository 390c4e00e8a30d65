import { errorCode, errorMessage } from '../../../../foundation/errors.ts'
import {
  type Claim,
  type Origin,
  type OriginId,
  originTarget,
  type OriginTarget,
  type StreamKey,
} from '../../../../mechanisms/balancer/index.ts'
import type { Counter, Logger } from '../../../../mechanisms/telemetry/index.ts'
import { httpError } from '../errors.ts'
import { ExpiringMap } from './expiring-map.ts'
import { dropBody } from './gather-body.ts'
import type { HlsOutages } from './hls-outages.ts'
import type { HlsSettings } from './hls-options.ts'
import type { HlsRoute } from './hls-routes.ts'
import type { HlsViewer } from './hls-viewer.ts'
import type { OriginAnswer } from './origin-connection.ts'
import type { OriginPool } from './origin-pool.ts'
import { isOriginsPlace, isSamePlace, redirectOf } from '../origin-redirect.ts'
import type { OriginUrl } from '../origin-url.ts'

/** One request of a player, as an origin is asked. */
export interface HlsQuestion {
  readonly route: HlsRoute
  readonly viewer: HlsViewer
  readonly method: string
  /** Whether the origin may hold the answer back until there is something new. */
  readonly isBlocking: boolean
  readonly signal: AbortSignal
  /** Where it is at an origin; undefined: nowhere that may be asked for. */
  readonly urlAt: (place: OriginTarget) => OriginUrl | undefined
  readonly bytesFor: (url: OriginUrl) => Buffer
}

/** An origin's answer. */
export interface HlsAnswer {
  readonly answer: OriginAnswer
  readonly origin: Origin
  readonly place: OriginTarget
  /** What was asked for in the end. */
  readonly url: OriginUrl
}

const MAX_REDIRECTS = 3
/** A failure of one origin is told once in so many milliseconds. */
const COMPLAIN_MS = 10_000
/**
 * Finds an origin that answers. While a stream that was served before has none, a request waits for it to come back: a
 * player that gets an error stops, or starts over.
 */
export class HlsSearch {
  readonly #options: HlsSettings
  readonly #pool: OriginPool
  readonly #log: Logger
  readonly #errors: Counter<'code'>
  readonly #outages: HlsOutages
  readonly #told: ExpiringMap<number>

  constructor(
    options: HlsSettings,
    parts: { readonly pool: OriginPool; readonly outages: HlsOutages },
    log: Logger,
    errors: Counter<'code'>,
  ) {
    this.#options = options
    this.#pool = parts.pool
    this.#outages = parts.outages
    this.#log = log
    this.#errors = errors
    const { clock } = options
    this.#told = new ExpiringMap({ clock, ttlMs: COMPLAIN_MS, maxEntries: 1000 })
  }

  /**
   * The answer of the first origin that gives one. @throws what `Balancer.pick` and `OriginPool.ask` throw
   * @throws HTTP_NOT_FOUND when the path is nothing that the stream's origin may be asked for
   */
  async ask(question: HlsQuestion): Promise<HlsAnswer> {
    const sinceMs = this.#options.clock.nowMs()
    const { key } = question.route
    for (;;) {
      try {
        const found = await this.#askOnce(question)
        const isMissing = found.answer.head.status === 404
        if (!isMissing || !this.#outages.isAway(key) || !this.#outages.mayWait(sinceMs)) return found
        dropBody(found.answer)
      } catch (error) {
        if (!isAway(error, question)) throw error
        this.#outages.wasAway(key)
        if (!this.#outages.isAway(key) || !this.#outages.mayWait(sinceMs)) throw error
      }
      await this.#outages.wait(question.signal)
    }
  }

  async #askOnce(question: HlsQuestion): Promise<HlsAnswer> {
    const { route, viewer } = question
    const { origin } = viewer
    if (origin !== undefined) {
      try {
        return await this.#askOrigin(origin, question)
      } catch (error) {
        if (!isOriginFault(error)) throw error
        this.tell(origin.id, error, route.key)
        if (!isAway(error, question)) throw error
        this.#outages.wasAway(route.key)
        // Led anew: to the same one, which may be back, unless it takes connections and hangs.
        viewer.letGo()
        if (errorCode(error) === 'HTTP_ORIGIN_SILENT') return this.#askPicked(question, [origin.id], error)
      }
    }
    return this.#askPicked(question, [])
  }

  async #askPicked(question: HlsQuestion, tried: readonly OriginId[], failed?: unknown): Promise<HlsAnswer> {
    const { route, viewer } = question
    const avoid = [...tried]
    let failure = failed
    while (avoid.length < this.#options.maxOrigins) {
      let claim: Claim
      try {
        claim = await this.#options.balancer.pick(route.key, route.need, {
          role: 'play',
          avoid,
          ...(route.near !== undefined && { near: route.near }),
        })
      } catch (error) {
        this.tell('none', error, route.key)
        throw failure ?? error
      }
      let found: HlsAnswer
      try {
        found = await this.#askOrigin(claim.origin, question)
      } catch (error) {
        await this.#giveUp(claim, question, error)
        if (!isAway(error, question)) throw error
        this.#outages.wasAway(route.key)
        failure = error
        avoid.push(claim.origin.id)
        continue
      }
      // Only what plays makes the choice stick, so that asking for names at random leaves nothing behind.
      const isServed = found.answer.head.status < 400
      try {
        if (isServed) await viewer.keep(claim)
        else await claim.release()
      } catch (error) {
        found.answer.destroy()
        throw error
      }
      return found
    }
    throw failure
  }

  async #giveUp(claim: Claim, { isBlocking, route }: HlsQuestion, error: unknown): Promise<void> {
    const code = errorCode(error)
    if (isOriginFault(error)) this.tell(claim.origin.id, error, route.key)
    if (code === 'HTTP_ORIGIN_UNREACHABLE') return claim.failed()
    // What a player waits for may never come; strangers who ask for that must not bring an origin into disrepute.
    if (code === 'HTTP_ORIGIN_SILENT' && !isBlocking) return claim.failed('silent')
    return claim.release()
  }

  /** Asks one origin, and those that it redirects to. */
  async #askOrigin(origin: Origin, question: HlsQuestion): Promise<HlsAnswer> {
    const { route } = question
    const place = originTarget(origin, route.need, route.key)
    const url = place === undefined ? undefined : question.urlAt(place)
    if (place === undefined || url === undefined) {
      throw httpError('HTTP_NOT_FOUND', 'nothing that the origin of the stream may be asked for', {
        side: 'client',
        retryable: false,
        status: 404,
      })
    }
    let found: HlsAnswer = { answer: await this.#send(url, question), origin, place, url }
    for (let hop = 0; hop < MAX_REDIRECTS; hop++) {
      const next = await this.#redirected(found, question)
      if (next === undefined) break
      dropBody(found.answer)
      found = next
    }
    return found
  }

  #send(url: OriginUrl, { bytesFor, method, signal }: HlsQuestion): Promise<OriginAnswer> {
    const { headTimeoutMs } = this.#options
    return this.#pool.ask(url, { method, request: bytesFor(url), headTimeoutMs, signal })
  }

  /** The answer of another origin that an answer redirects to; undefined when it does not. */
  async #redirected(found: HlsAnswer, question: HlsQuestion): Promise<HlsAnswer | undefined> {
    const { route } = question
    const url = redirectOf(found.answer.head, found.url)
    // Within the origin the client is redirected, by a Location that leads back here.
    if (url === undefined || isSamePlace(url, found.url)) return undefined
    const origins = await this.#options.balancer.list()
    if (!isOriginsPlace(url, origins, route.need, route.key)) return undefined
    const { scheme, host, port } = url
    return {
      ...found,
      answer: await this.#send(url, question),
      place: { ...found.place, scheme, host, port },
      url,
    }
  }

  /** Notes a failure of an origin; the log has one line per origin and kind of failure in a while. */
  tell(originId: string, error: unknown, streamKey?: StreamKey): void {
    const code = errorCode(error)
    this.#errors.inc({ code })
    const name = `${originId} ${code}`
    const { clock } = this.#options
    if (clock.nowMs() - (this.#told.get(name) ?? Number.NEGATIVE_INFINITY) < COMPLAIN_MS) return
    this.#told.set(name, clock.nowMs())
    this.#log.warn({ originId, streamKey, code, reason: errorMessage(error) }, 'origin failed')
  }
}

/** What says that no origin is there for the moment. */
const AWAY = new Set([
  'HTTP_ORIGIN_UNREACHABLE',
  'HTTP_ORIGIN_BAD_RESPONSE',
  'HTTP_ORIGIN_SILENT',
  'BALANCER_NO_ORIGIN',
  'BALANCER_PROTOCOL_NOT_OFFERED',
])

/** Whether an error means that an origin is away, so that another one or another time may be better. */
function isAway(error: unknown, { isBlocking }: HlsQuestion): boolean {
  const code = errorCode(error)
  // What a player waits for may never come: the answer is that it did not.
  return AWAY.has(code) && !(isBlocking && code === 'HTTP_ORIGIN_SILENT')
}

function isOriginFault(error: unknown): boolean {
  return errorCode(error).startsWith('HTTP_ORIGIN_')
}
