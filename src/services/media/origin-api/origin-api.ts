import { Agent, errors, request } from 'undici'
import { errorCode, errorMessage, SluiceError } from '../../../foundation/errors.ts'
import {
  isOriginId,
  type Origin,
  type OriginId,
  type OriginRegistry,
  originTarget,
  parseStreamKey,
} from '../../../mechanisms/balancer/index.ts'
import type { ApiReply, ApiRequest, ApiRoute } from '../../../mechanisms/http-api/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { originApiError } from './errors.ts'

export interface OriginApiOptions {
  readonly origins: Pick<OriginRegistry, 'findOrigin' | 'list'>
  readonly logger: Logger
  /** How long an origin may take to connect, to begin its answer, and to pause within it, each in milliseconds. @defaultValue 5000 */
  readonly timeoutMs?: number
  /** Most bytes of an answer. @defaultValue 16777216 */
  readonly maxAnswerBytes?: number
  /** Most origins asked at the same time for a merged list. @defaultValue 16 */
  readonly maxConcurrent?: number
}

const DEFAULTS = { timeoutMs: 5000, maxAnswerBytes: 16 * 1024 * 1024, maxConcurrent: 16 }

/** Lists of SRS that are asked of all origins, by the name of their array. */
const LISTS = ['streams', 'clients', 'vhosts'] as const

interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: Buffer
}

/**
 * The HTTP APIs of the origins (`/api/v1/clients`, `streams`, `summaries` …) behind the gateway's own: of one origin
 * at `/origins/{id}/api/…`, and merged over all of them at `/api/v1/origins/streams`, `clients`, `vhosts`, `summaries`.
 */
export class OriginApi {
  readonly #options: OriginApiOptions & typeof DEFAULTS
  readonly #log: Logger
  readonly #agent: Agent

  constructor(options: OriginApiOptions) {
    this.#options = { ...DEFAULTS, ...options }
    this.#log = options.logger.child({ component: 'origin-api' })
    const { timeoutMs, maxAnswerBytes } = this.#options
    this.#agent = new Agent({
      connect: { timeout: timeoutMs },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      maxResponseSize: maxAnswerBytes,
      connections: 4,
    })
  }

  /** To be mounted where operators are let in. */
  get routes(): readonly ApiRoute[] {
    const path = '/origins/:id/api/*'
    const pass = (request: ApiRequest): Promise<ApiReply> => this.#pass(request)
    return [
      { method: 'GET', path, handle: pass },
      { method: 'DELETE', path, handle: pass },
      { method: ['POST', 'PUT'], path, handle: pass },
      ...LISTS.map(
        (list): ApiRoute => ({
          method: 'GET',
          path: `/api/v1/origins/${list}`,
          handle: ({ query }) => this.#merged(list, query),
        }),
      ),
      { method: 'GET', path: '/api/v1/origins/summaries', handle: () => this.#summaries() },
    ]
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  /** One origin's answer as it is. */
  async #pass({ method, params, query, readBody }: ApiRequest): Promise<ApiReply> {
    const id = params['id'] ?? ''
    const origin = isOriginId(id) ? await this.#options.origins.findOrigin(id) : undefined
    if (origin === undefined) throw originApiError('ORIGIN_API_NO_SUCH_ORIGIN', `no origin ${id}`, 404)
    const path = `/api/${pathOf(params['*'] ?? '')}`
    const body = method === 'POST' || method === 'PUT' ? await readBody() : undefined
    const { status, contentType, body: answer } = await this.#ask(origin, method, path, query, body)
    return { status, contentType, body: answer }
  }

  /** The entries of all origins in one list, each with its `origin`; who did not answer is named in `failed`. */
  async #merged(list: (typeof LISTS)[number], query: URLSearchParams): Promise<ApiReply> {
    const entries: object[] = []
    const failed = await this.#askAll(`/api/v1/${list}`, query, (origin, answer) => {
      const items = answer[list]
      if (!Array.isArray(items)) return false
      for (const item of items) if (isObject(item)) entries.push({ ...item, origin })
      return true
    })
    return { json: { code: 0, [list]: entries, failed } }
  }

  async #summaries(): Promise<ApiReply> {
    const summaries: object[] = []
    const failed = await this.#askAll('/api/v1/summaries', new URLSearchParams(), (origin, { data }) => {
      if (!isObject(data)) return false
      summaries.push({ ...data, origin })
      return true
    })
    return { json: { code: 0, summaries, failed } }
  }

  /** The ids of the origins that gave no answer of use. */
  async #askAll(
    path: string,
    query: URLSearchParams,
    take: (origin: OriginId, answer: Record<string, unknown>) => boolean,
  ): Promise<readonly OriginId[]> {
    const origins = (await this.#options.origins.list()).filter((origin) => targetOf(origin) !== undefined)
    const failed: OriginId[] = []
    const next = origins.values()
    const work = async (): Promise<void> => {
      for (const origin of next) {
        const answer = await this.#json(origin, path, query)
        if (answer === undefined || !take(origin.id, answer)) failed.push(origin.id)
      }
    }
    await Promise.all(Array.from({ length: this.#options.maxConcurrent }, work))
    return failed
  }

  async #json(
    origin: Origin,
    path: string,
    query: URLSearchParams,
  ): Promise<Record<string, unknown> | undefined> {
    try {
      const { status, body } = await this.#ask(origin, 'GET', path, query, undefined)
      const answer: unknown = JSON.parse(body.toString())
      return status === 200 && isObject(answer) ? answer : undefined
    } catch (error) {
      this.#log.warn(
        { origin: origin.id, code: errorCode(error), reason: errorMessage(error) },
        'origin failed',
      )
      return undefined
    }
  }

  async #ask(
    origin: Origin,
    method: string,
    path: string,
    query: URLSearchParams,
    body: Buffer | undefined,
  ): Promise<Answer> {
    const target = targetOf(origin)
    if (target === undefined) {
      throw originApiError('ORIGIN_API_NOT_OFFERED', `${origin.id} has no HTTP API of SRS`, 404)
    }
    const host = target.host.includes(':') ? `[${target.host}]` : target.host
    const search = query.size === 0 ? '' : `?${query.toString()}`
    try {
      const answer = await request(`${target.scheme}://${host}:${target.port}${path}${search}`, {
        dispatcher: this.#agent,
        method: method as 'GET',
        ...(body !== undefined && { body, headers: { 'content-type': 'application/json' } }),
      })
      const contentType = String(answer.headers['content-type'] ?? 'application/octet-stream')
      return { status: answer.statusCode, contentType, body: Buffer.from(await answer.body.arrayBuffer()) }
    } catch (error) {
      if (error instanceof SluiceError) throw error
      if (error instanceof errors.ResponseExceededMaxSizeError) {
        throw originApiError('ORIGIN_API_TOO_LARGE', `the answer of ${origin.id} is too large`, 502, error)
      }
      const reason = `${origin.id} did not answer: ${errorCode(error)}`
      throw originApiError('ORIGIN_API_UNREACHABLE', reason, 502, error)
    }
  }
}

/** Only SRS has this API; the stream does not matter. */
function targetOf(origin: Origin): ReturnType<typeof originTarget> {
  return origin.urls === undefined ? originTarget(origin, 'json', ANY_STREAM) : undefined
}

const ANY_STREAM = parseStreamKey('v/a/s')

/** What stands behind `/api/`, decoded, as a path again; never one that leads out of it. */
function pathOf(rest: string): string {
  const parts = rest.split('/')
  if (parts.some((part) => part === '.' || part === '..' || /[\p{Cc}\\]/u.test(part))) {
    throw originApiError('ORIGIN_API_BAD_PATH', 'the path must stay below /api/', 400)
  }
  return parts.map(encodeURIComponent).join('/')
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
