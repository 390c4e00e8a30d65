import { LRUCache } from 'lru-cache'
import { Agent } from 'undici'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { Credential, CredentialClaim, CredentialSource } from './contract.ts'
import { CredentialError } from './errors.ts'
import type { UserBounds } from './user-bounds.ts'
import { type AnsweredCredential, parseWebhookAnswer } from './webhook-answer.ts'

/** Options of `Webhook`. */
export interface WebhookOptions {
  /** Where questions are posted: `https:`, or `http:` on networks that are trusted. */
  readonly url: string
  /** Bearer token that goes with each question. @defaultValue none */
  readonly token?: string
  /** How long an answer may take, in milliseconds; then the client gets 500. @defaultValue 2000 */
  readonly timeoutMs?: number
  /** Questions on their way at a time; further ones fail at once. @defaultValue 256 */
  readonly maxInFlight?: number
  /** Answers that are remembered, and as many of nobody known; the oldest go. 0: none is. @defaultValue 10,000 */
  readonly maxRemembered?: number
  /** For how long, in seconds, when the answer has no `max-age`. @defaultValue 30 */
  readonly rememberSeconds?: number
  /** The same when nobody is known. @defaultValue 5 */
  readonly rememberUnknownSeconds?: number
  /** The most that `max-age` of an answer counts. @defaultValue 300 */
  readonly maxRememberSeconds?: number
  /** Most bytes of an answer. @defaultValue 16,384 */
  readonly maxAnswerBytes?: number
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

const defaults = {
  timeoutMs: 2000,
  maxInFlight: 256,
  maxRemembered: 10_000,
  rememberSeconds: 30,
  rememberUnknownSeconds: 5,
  maxRememberSeconds: 300,
  maxAnswerBytes: 16_384,
  clock: systemClock,
}

interface Remembered {
  readonly untilMs: number
  readonly credentials: readonly Credential[]
}

/**
 * Asks an HTTP service who a claim could be. The exchange is written down in the guide to TURN credentials. Answers are
 * remembered; identical questions at the same time are one. Whoever makes it closes it.
 */
export class Webhook implements CredentialSource, UserBounds {
  readonly #options: WebhookOptions & typeof defaults
  readonly #url: URL
  readonly #agent: Agent
  readonly #known: LRUCache<string, Remembered> | undefined
  /** Apart from the known, so that guessed names cannot push those out. */
  readonly #unknown: LRUCache<string, Remembered> | undefined
  readonly #bounds: LRUCache<string, number>
  readonly #asked = new Map<string, Promise<readonly Credential[]>>()
  readonly #closing = new AbortController()

  /** @throws TURN_CREDENTIAL_BAD_OPTION */
  constructor(options: WebhookOptions) {
    this.#options = { ...defaults, ...options }
    this.#url = checkUrl(options.url)
    const { maxInFlight, maxRemembered, timeoutMs } = checkNumbers(this.#options)
    this.#agent = new Agent({ connections: maxInFlight, connect: { timeout: timeoutMs } })
    // An LRUCache takes no bound of 0.
    if (maxRemembered > 0) {
      this.#known = new LRUCache({ max: maxRemembered })
      this.#unknown = new LRUCache({ max: maxRemembered })
    }
    this.#bounds = new LRUCache({ max: Math.max(maxRemembered, maxInFlight) })
  }

  /**
   * Rejects with TURN_WEBHOOK_BUSY, TURN_WEBHOOK_TIMEOUT, TURN_WEBHOOK_UNREACHABLE, TURN_WEBHOOK_BAD_ANSWER or
   * TURN_WEBHOOK_CLOSED.
   */
  find(claim: CredentialClaim): readonly Credential[] | Promise<readonly Credential[]> {
    if (claim.username === undefined && claim.userhash === undefined) return []
    const question = questionOf(claim)
    const remembered = this.#recall(question)
    if (remembered !== undefined) return remembered
    const asked = this.#asked.get(question)
    if (asked !== undefined) return asked
    const { maxInFlight } = this.#options
    if (this.#asked.size >= maxInFlight) {
      const message = `${maxInFlight} questions are waiting for the webhook`
      return Promise.reject(new CredentialError('TURN_WEBHOOK_BUSY', message, { retryable: true }))
    }
    const answer = this.#ask(question, claim).finally(() => this.#asked.delete(question))
    this.#asked.set(question, answer)
    return answer
  }

  /** What the webhook said last of a user, while it is remembered. */
  maxAllocations(userId: string): number | undefined {
    return this.#bounds.get(userId)
  }

  /** Ends what is being asked, and all that is asked later. May be called twice. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#agent.destroy()
  }

  #recall(question: string): readonly Credential[] | undefined {
    const { clock } = this.#options
    const remembered = this.#known?.get(question) ?? this.#unknown?.get(question)
    if (remembered === undefined || remembered.untilMs <= clock.nowMs()) return undefined
    const wallMs = clock.wallMs()
    return remembered.credentials.filter(({ expiresAtMs = Infinity }) => expiresAtMs >= wallMs)
  }

  async #ask(question: string, claim: CredentialClaim): Promise<readonly Credential[]> {
    // What the claim has of the received message is gone when the answer comes.
    const { userhash } = claim
    const kept = { ...claim, ...(userhash !== undefined && { userhash: Uint8Array.from(userhash) }) }
    const { body, maxAgeSeconds } = await this.#post(question)
    const answered = body === undefined ? [] : parseWebhookAnswer(body, kept)
    this.#keep(question, answered, maxAgeSeconds)
    const wallMs = this.#options.clock.wallMs()
    return answered.flatMap(({ credential }) =>
      (credential.expiresAtMs ?? Infinity) >= wallMs ? credential : [],
    )
  }

  #keep(question: string, answered: readonly AnsweredCredential[], maxAgeSeconds: number | undefined): void {
    for (const { credential, maxAllocations } of answered) {
      if (maxAllocations === undefined) this.#bounds.delete(credential.userId)
      else this.#bounds.set(credential.userId, maxAllocations)
    }
    const { clock, rememberSeconds, rememberUnknownSeconds, maxRememberSeconds } = this.#options
    const isKnown = answered.length > 0
    const seconds = Math.min(
      maxAgeSeconds ?? (isKnown ? rememberSeconds : rememberUnknownSeconds),
      maxRememberSeconds,
    )
    this.#known?.delete(question)
    this.#unknown?.delete(question)
    if (seconds <= 0) return
    const cache = isKnown ? this.#known : this.#unknown
    cache?.set(question, {
      untilMs: clock.nowMs() + seconds * 1000,
      credentials: answered.map(({ credential }) => credential),
    })
  }

  /** The body of a 200; undefined when nobody is known. */
  async #post(
    question: string,
  ): Promise<{ readonly body: Buffer | undefined; readonly maxAgeSeconds: number | undefined }> {
    const { clock, timeoutMs, token, maxAnswerBytes } = this.#options
    const late = new AbortController()
    const timer = clock.after(timeoutMs, () => late.abort())
    try {
      const { statusCode, headers, body } = await this.#agent.request({
        origin: this.#url.origin,
        path: this.#url.pathname + this.#url.search,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json',
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        },
        body: question,
        signal: AbortSignal.any([late.signal, this.#closing.signal]),
        // The timer above is for the whole of it.
        headersTimeout: 0,
        bodyTimeout: 0,
      })
      const maxAgeSeconds = maxAgeOf(headers['cache-control'])
      if (statusCode === 200) return { body: await readAll(body, maxAnswerBytes), maxAgeSeconds }
      await body.dump({ limit: maxAnswerBytes })
      if (statusCode === 404 || statusCode === 403) return { body: undefined, maxAgeSeconds }
      throw new CredentialError('TURN_WEBHOOK_BAD_ANSWER', `the webhook answered with status ${statusCode}`, {
        retryable: true,
      })
    } catch (cause) {
      throw this.#failureOf(cause, late.signal.aborted)
    } finally {
      timer.cancel()
    }
  }

  #failureOf(cause: unknown, isLate: boolean): CredentialError {
    if (cause instanceof CredentialError) return cause
    if (this.#closing.signal.aborted) {
      return new CredentialError('TURN_WEBHOOK_CLOSED', 'the webhook was closed')
    }
    if (isLate) {
      const message = `the webhook did not answer within ${this.#options.timeoutMs} ms`
      return new CredentialError('TURN_WEBHOOK_TIMEOUT', message, { retryable: true, cause })
    }
    return new CredentialError('TURN_WEBHOOK_UNREACHABLE', 'the webhook cannot be reached', {
      retryable: true,
      cause,
    })
  }
}

/** The body of a question; two that are alike are the same question. */
function questionOf({ username, userhash, realm, clientAddress, listener }: CredentialClaim): string {
  return JSON.stringify({
    username,
    userhash: userhash === undefined ? undefined : Buffer.from(userhash).toString('hex'),
    realm,
    clientAddress,
    listener,
  })
}

async function readAll(body: AsyncIterable<unknown>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    if (!Buffer.isBuffer(chunk)) continue
    bytes += chunk.length
    if (bytes > maxBytes) {
      const message = `the answer of the webhook has more than ${maxBytes} bytes`
      throw new CredentialError('TURN_WEBHOOK_BAD_ANSWER', message, { retryable: true })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** For how long Cache-Control lets an answer be remembered, in seconds; undefined when it says nothing of that. */
function maxAgeOf(header: string | readonly string[] | undefined): number | undefined {
  if (header === undefined) return undefined
  const directives = [header]
    .flat()
    .join(',')
    .toLowerCase()
    .split(',')
    .map((directive) => directive.trim())
  if (directives.includes('no-store') || directives.includes('no-cache')) return 0
  const [age] = directives.flatMap((directive) => /^max-age="?(\d{1,10})"?$/.exec(directive)?.[1] ?? [])
  return age === undefined ? undefined : Number(age)
}

function checkUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new CredentialError('TURN_CREDENTIAL_BAD_OPTION', 'the webhook has no http: or https: URL')
  }
  if (url.username !== '' || url.password !== '') {
    throw new CredentialError(
      'TURN_CREDENTIAL_BAD_OPTION',
      'the URL of the webhook holds a user or password: use token',
    )
  }
  return url
}

function checkNumbers<T extends typeof defaults>(options: T): T {
  for (const [name, least] of leastOf) {
    const value = options[name]
    if (Number.isInteger(value) && value >= least) continue
    throw new CredentialError(
      'TURN_CREDENTIAL_BAD_OPTION',
      `${name} of the webhook is ${value}, not a whole number from ${least}`,
    )
  }
  return options
}

const leastOf = [
  ['timeoutMs', 1],
  ['maxInFlight', 1],
  ['maxRemembered', 0],
  ['rememberSeconds', 0],
  ['rememberUnknownSeconds', 0],
  ['maxRememberSeconds', 0],
  ['maxAnswerBytes', 1],
] as const
