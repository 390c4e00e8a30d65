import type { IncomingMessage } from 'node:http'
import type { Clock } from '../../../../foundation/clock.ts'
import { errorCode, errorMessage, type SluiceError } from '../../../../foundation/errors.ts'
import { sourceOf } from '../../../../foundation/source-of.ts'
import {
  type Balancer,
  type Claim,
  type Need,
  type OriginId,
  type OriginRegistry,
  originTarget,
  type StreamKey,
} from '../../../../mechanisms/balancer/index.ts'
import type { Dial, DialOptionsOf, HttpClient } from '../../../../mechanisms/net/index.ts'
import { type Counter, LinePace, type Logger } from '../../../../mechanisms/telemetry/index.ts'
import type { BodyFraming, ResponseHead } from '../../../../protocols/http/index.ts'
import { httpError } from '../errors.ts'
import { OriginExchange } from './origin-exchange.ts'
import { isOriginsPlace, isSamePlace, redirectOf } from '../origin-redirect.ts'
import { originRequest } from '../origin-request.ts'
import { type OriginUrl, originUrl } from '../origin-url.ts'
import type { RequestTarget } from '../request-target.ts'

/** Most redirects that are followed for one request. */
const MAX_REDIRECTS = 3

export interface OriginSearchOptions {
  readonly balancer: Pick<Balancer, 'pick'>
  readonly origins: Pick<OriginRegistry, 'list'>
  readonly dial: Dial
  readonly dialOptionsOf: DialOptionsOf
  readonly clock: Clock
  readonly logger: Logger
  readonly errors: Counter<'code'>
  readonly connectTimeoutMs: number
  readonly maxOrigins: number
  /** How this gateway names itself in `Via`. */
  readonly pseudonym: string
}

/** What a client wants of an origin. */
export interface Ask {
  readonly key: StreamKey
  readonly need: Need
  readonly request: IncomingMessage
  readonly target: RequestTarget
  readonly client: HttpClient
}

/** What an origin said. The claim is not ended yet, and the body waits. */
export interface Answer {
  readonly claim: Claim
  /** Who answered: another place than the claim's origin, when that sent us there. */
  readonly url: OriginUrl
  readonly exchange: OriginExchange
  readonly head: ResponseHead
  readonly framing: BodyFraming
}

/** Asks origins on behalf of a client until one of them answers. */
export class OriginSearch {
  readonly #options: OriginSearchOptions
  readonly #pace: LinePace

  constructor(options: OriginSearchOptions) {
    this.#options = options
    this.#pace = new LinePace(options.clock)
  }

  /**
   * The answer of the first origin that gives one, whatever it is. An origin that cannot be reached, or breaks off before the
   * end of its response head, is passed over; one that keeps silent is waiting for the stream, and no other is asked.
   *
   * @throws what `pick` throws, or the failure of the last origin
   */
  async find(ask: Ask, headTimeoutMs: number, signal: AbortSignal): Promise<Answer> {
    const avoid: OriginId[] = []
    let failure: unknown
    while (avoid.length < this.#options.maxOrigins) {
      let claim: Claim
      try {
        claim = await this.#options.balancer.pick(ask.key, ask.need, { role: 'play', avoid })
      } catch (error) {
        const fields = { streamKey: ask.key, code: errorCode(error), tried: avoid.length }
        this.#tell('warn', sourceOf(ask.client.address), fields, 'no origin')
        throw failure ?? error
      }
      try {
        return { claim, ...(await this.#open(claim, ask, headTimeoutMs, signal)) }
      } catch (error) {
        if (signal.aborted) {
          await claim.release()
          throw error
        }
        failure = error
        avoid.push(claim.origin.id)
        const isWaiting = await this.#onFailure(ask, claim, error)
        if (isWaiting) throw error
      }
    }
    throw failure
  }

  /** Strangers can cause each of these as often as they like. */
  #tell(level: 'info' | 'warn', source: string, fields: { readonly code: string }, message: string): void {
    const due = this.#pace.due(`${source} ${fields.code}`)
    if (due !== undefined) this.#options.logger[level]({ ...fields, ...due }, message)
  }

  /** Says whether the origin only waits for the stream. */
  async #onFailure({ key }: Ask, claim: Claim, error: unknown): Promise<boolean> {
    const code = errorCode(error)
    this.#options.errors.inc({ code })
    const isWaiting = code === 'HTTP_ORIGIN_SILENT'
    const originId = claim.origin.id
    const fields = { streamKey: key, originId, code, reason: errorMessage(error) }
    this.#tell(isWaiting ? 'info' : 'warn', originId, fields, 'origin failed')
    // What an origin does after it took the connection can hang on what was asked of it; strangers who ask for
    // streams that nobody publishes must not bring it into disrepute.
    if (code === 'HTTP_ORIGIN_UNREACHABLE') await claim.failed()
    else await claim.release()
    return isWaiting
  }

  async #open(
    { origin }: Claim,
    ask: Ask,
    headTimeoutMs: number,
    signal: AbortSignal,
  ): Promise<Omit<Answer, 'claim'>> {
    const place = originTarget(origin, ask.need, ask.key)
    let url = place && originUrl(place, ask.target)
    if (url === undefined) throw badAnswer('it is not asked over HTTP')
    for (let redirects = 0; ; redirects++) {
      const opened = await this.#exchange(url, ask, headTimeoutMs, signal, redirects > 0)
      const next = await this.#whereToFollow(opened.head, url, ask)
      if (next === undefined) return { url, ...opened }
      opened.exchange.destroy()
      if (redirects === MAX_REDIRECTS) throw badAnswer(`more than ${MAX_REDIRECTS} redirects`)
      url = next
    }
  }

  async #exchange(
    url: OriginUrl,
    { request, client }: Ask,
    headTimeoutMs: number,
    signal: AbortSignal,
    isRedirected: boolean,
  ): Promise<Omit<Answer, 'claim' | 'url'>> {
    const { connectTimeoutMs, dial, dialOptionsOf, clock, pseudonym } = this.#options
    try {
      return await OriginExchange.open({
        where: dialOptionsOf(url),
        dial,
        method: request.method ?? 'GET',
        request: originRequest(request, url, client, { pseudonym }),
        connectTimeoutMs,
        headTimeoutMs,
        clock,
        signal,
      })
    } catch (error) {
      // It is not the picked origin that could not be reached.
      if (!isRedirected || errorCode(error) !== 'HTTP_ORIGIN_UNREACHABLE') throw error
      throw badAnswer(`redirected to where nobody answers: ${errorMessage(error)}`, error)
    }
  }

  /**
   * A redirect is followed to a place of another origin, which the client could not reach, and to nowhere else. Within an SRS
   * origin it is passed on as a path: the client comes back for it, and access is asked for the stream that it names.
   */
  async #whereToFollow(
    head: ResponseHead,
    asked: OriginUrl,
    { need, key }: Ask,
  ): Promise<OriginUrl | undefined> {
    const next = redirectOf(head, asked)
    if (next === undefined) return undefined
    if (isSamePlace(next, asked)) return asked.isAsAsked ? undefined : next
    return isOriginsPlace(next, await this.#options.origins.list(), need, key) ? next : undefined
  }
}

function badAnswer(what: string, cause?: unknown): SluiceError {
  return httpError('HTTP_ORIGIN_BAD_RESPONSE', what, { side: 'origin', retryable: true, status: 502, cause })
}
