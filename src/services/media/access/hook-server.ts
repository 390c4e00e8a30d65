import { Pool } from 'undici'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import { readBounded, TooLongError } from './bounded-body.ts'

/**
 * What became of a question. `agreed`, `denied`: it was answered. `late`: it was sent, and no answer came in time; the
 * server may have taken it. `away`: it did not get there. `busy`: too many wait already. `aborted`: nobody wants it any more.
 */
export type HookResult = 'agreed' | 'denied' | 'late' | 'away' | 'busy' | 'aborted'

export interface HookAnswer {
  readonly result: HookResult
  /** For the log: a status, an error code. */
  readonly reason: string
}

export interface HookServerOptions {
  readonly url: string
  /** Questions on their way at a time, each on a connection of its own. */
  readonly maxInFlight: number
  /** Questions that wait for one of those; further ones are `busy`. */
  readonly maxWaiting: number
  readonly clock: Clock
}

const MAX_ANSWER_BYTES = 65_536
/** What stands before a server says when that is away. */
const AWAY_STATUS: ReadonlySet<number> = new Set([502, 503, 504])
/** A connection that was kept and is closed as the question goes out. */
const STALE: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

/** One URL that is asked, with its connections. Whoever makes it closes it. */
export class HookServer {
  readonly #options: HookServerOptions
  readonly #pool: Pool
  readonly #path: string
  readonly #closing = new AbortController()
  readonly #waiting = new Set<() => void>()
  #inFlight = 0
  #onIdle: (() => void) | undefined

  constructor(options: HookServerOptions) {
    this.#options = options
    const { origin, pathname, search } = new URL(options.url)
    this.#path = pathname + search
    // Its own time limits are off: the one of the question is for the whole of it.
    const times = { connectTimeout: 0, headersTimeout: 0, bodyTimeout: 0 }
    this.#pool = new Pool(origin, { connections: options.maxInFlight, ...times })
  }

  /** Posts a body. Never rejects. The time counts from now, waiting for a turn included. */
  async ask(body: string, timeoutMs: number, signal?: AbortSignal): Promise<HookAnswer> {
    const late = new AbortController()
    const timer = this.#options.clock.after(timeoutMs, () => late.abort())
    const ending = AbortSignal.any([late.signal, this.#closing.signal, ...(signal ? [signal] : [])])
    try {
      if (!(await this.#turn(ending))) return { result: 'busy', reason: 'too many questions wait' }
      try {
        return await this.#post(body, ending)
      } finally {
        this.#release()
      }
    } catch (error) {
      if (late.signal.aborted) return { result: 'late', reason: `no answer within ${timeoutMs} ms` }
      if (ending.aborted) return { result: 'aborted', reason: 'not wanted any more' }
      return { result: 'away', reason: errorCode(error) }
    } finally {
      timer.cancel()
    }
  }

  /** Resolves once nothing is asked any more; each question has its own time limit. */
  idle(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onIdle = resolve
    })
  }

  /** Ends what is being asked. May be called twice. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#pool.destroy()
  }

  async #turn(ending: AbortSignal): Promise<boolean> {
    ending.throwIfAborted()
    const { maxInFlight, maxWaiting } = this.#options
    if (this.#inFlight < maxInFlight) this.#inFlight++
    else if (this.#waiting.size >= maxWaiting) return false
    else await this.#wait(ending)
    return true
  }

  #wait(ending: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onTurn = (): void => {
        ending.removeEventListener('abort', onAbort)
        resolve()
      }
      const onAbort = (): void => {
        this.#waiting.delete(onTurn)
        reject(new Error('aborted while waiting'))
      }
      ending.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(onTurn)
    })
  }

  /** The turn goes to who waits longest. */
  #release(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      if (--this.#inFlight === 0) this.#onIdle?.()
    } else {
      this.#waiting.delete(next)
      next()
    }
  }

  async #post(body: string, signal: AbortSignal): Promise<HookAnswer> {
    try {
      return await this.#postOnce(body, signal)
    } catch (error) {
      if (signal.aborted || !STALE.has(errorCode(error))) throw error
      return this.#postOnce(body, signal)
    }
  }

  async #postOnce(body: string, signal: AbortSignal): Promise<HookAnswer> {
    const response = await this.#pool.request({
      path: this.#path,
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/plain' },
      body,
      signal,
    })
    const { statusCode } = response
    try {
      const answer = await readBounded(response.body, MAX_ANSWER_BYTES)
      if (AWAY_STATUS.has(statusCode)) return { result: 'away', reason: `status ${statusCode}` }
      if (statusCode !== 200) return { result: 'denied', reason: `status ${statusCode}` }
      return isConsent(answer) ? { result: 'agreed', reason: '' } : { result: 'denied', reason: 'the answer' }
    } catch (error) {
      if (error instanceof TooLongError) return { result: 'denied', reason: error.message }
      throw error
    }
  }
}

/** `0`, or an object whose `code` is 0: what SRS takes for a yes. */
function isConsent(answer: Buffer): boolean {
  try {
    const json: unknown = JSON.parse(answer.toString())
    return json === 0 || (typeof json === 'object' && json !== null && 'code' in json && json.code === 0)
  } catch {
    return false
  }
}
