import { createLocalJWKSet, type CryptoKey, errors, type JSONWebKeySet, type JWSHeaderParameters } from 'jose'
import { Agent } from 'undici'
import type { Clock } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { readBounded } from './bounded-body.ts'
import { AccessError } from './errors.ts'

export interface RemoteKeysOptions {
  readonly url: string
  readonly timeoutMs: number
  /** Keys older than this are fetched again. */
  readonly maxAgeMs: number
  /** A key that is not there makes them be fetched again, no more often than this. */
  readonly cooldownMs: number
  readonly clock: Clock
  readonly logger: Logger
  /** Told how each fetch ended. */
  readonly onFetch: (result: 'ok' | 'failed') => void
}

const MAX_BYTES = 262_144
const MAX_KEYS = 64
/** Keys that a token without `kid` may be tried with. */
const MAX_TRIED = 8
/** After a failure, however long the cooldown is: nobody gets in meanwhile. */
const RETRY_MS = 5000
/** For so long behind their age keys are used that cannot be fetched again. */
const MAX_STALE_MS = 86_400_000

type Resolve = ReturnType<typeof createLocalJWKSet>

/** The public keys at a URL (JWKS), fetched when they are needed. Whoever makes it closes it. */
export class RemoteKeys {
  readonly #options: RemoteKeysOptions
  readonly #agent: Agent
  readonly #closing = new AbortController()
  #keys: { readonly resolve: Resolve; readonly fetchedMs: number } | undefined
  #fetching: Promise<void> | undefined
  #nextMs = Number.NEGATIVE_INFINITY
  #isFailing = false

  constructor(options: RemoteKeysOptions) {
    this.#options = options
    this.#agent = new Agent({ connections: 1, connect: { timeout: options.timeoutMs } })
  }

  /** The keys that a token with this header may be signed with; empty when there is none. @throws ACCESS_KEYS_AWAY */
  async find(header: JWSHeaderParameters): Promise<readonly CryptoKey[]> {
    const { clock, maxAgeMs } = this.#options
    const ageMs = clock.nowMs() - (this.#keys?.fetchedMs ?? Number.NEGATIVE_INFINITY)
    if (ageMs > maxAgeMs) await this.#fetchAgain()
    const found = await this.#findNow(header)
    if (found.length > 0 || !(await this.#fetchAgain())) return found
    return this.#findNow(header)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#agent.destroy()
  }

  async #findNow(header: JWSHeaderParameters): Promise<readonly CryptoKey[]> {
    const { clock, maxAgeMs } = this.#options
    const keys = this.#keys
    if (keys === undefined || clock.nowMs() - keys.fetchedMs > maxAgeMs + MAX_STALE_MS) {
      throw new AccessError('ACCESS_KEYS_AWAY', 'tokens cannot be checked at the moment')
    }
    try {
      return [await keys.resolve(header)]
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) return []
      const several: CryptoKey[] = []
      for await (const key of error) if (several.push(key) === MAX_TRIED) break
      return several
    }
  }

  /** Once for all who ask at the same time. False when it was done too short ago. */
  async #fetchAgain(): Promise<boolean> {
    if (this.#fetching === undefined) {
      if (this.#options.clock.nowMs() < this.#nextMs) return false
      this.#fetching = this.#fetch().finally(() => {
        this.#fetching = undefined
      })
    }
    await this.#fetching
    return true
  }

  async #fetch(): Promise<void> {
    const { clock, cooldownMs, logger, onFetch } = this.#options
    // The address without its query, which may hold a password.
    const { origin, pathname } = new URL(this.#options.url)
    const url = origin + pathname
    try {
      const set = await this.#get()
      this.#keys = { resolve: createLocalJWKSet(set), fetchedMs: clock.nowMs() }
      this.#nextMs = clock.nowMs() + cooldownMs
      onFetch('ok')
      if (this.#isFailing) logger.info({ url }, 'keys of tokens are there again')
      this.#isFailing = false
    } catch (error) {
      this.#nextMs = clock.nowMs() + Math.min(RETRY_MS, cooldownMs)
      onFetch('failed')
      // One line for an outage.
      if (!this.#isFailing)
        logger.warn({ url, reason: errorMessage(error) }, 'keys of tokens cannot be fetched')
      this.#isFailing = true
    }
  }

  async #get(): Promise<JSONWebKeySet> {
    const { clock, timeoutMs } = this.#options
    const { origin, pathname, search } = new URL(this.#options.url)
    const late = new AbortController()
    const timer = clock.after(timeoutMs, () => late.abort(new Error(`no answer within ${timeoutMs} ms`)))
    try {
      const { statusCode, body } = await this.#agent.request({
        origin,
        path: pathname + search,
        method: 'GET',
        headers: { accept: 'application/jwk-set+json, application/json' },
        signal: AbortSignal.any([late.signal, this.#closing.signal]),
        // The timer above is for the whole of it.
        headersTimeout: 0,
        bodyTimeout: 0,
      })
      const bytes = await readBounded(body, MAX_BYTES)
      // A redirect may lead anywhere, and is an answer without keys.
      if (statusCode !== 200) throw new Error(`status ${statusCode}`)
      return keySetOf(bytes)
    } finally {
      timer.cancel()
    }
  }
}

function keySetOf(bytes: Buffer): JSONWebKeySet {
  const set: unknown = JSON.parse(bytes.toString())
  if (typeof set !== 'object' || set === null || !('keys' in set) || !Array.isArray(set.keys)) {
    throw new Error('no key set')
  }
  if (set.keys.length > MAX_KEYS) throw new Error(`more than ${MAX_KEYS} keys`)
  return set as JSONWebKeySet
}
