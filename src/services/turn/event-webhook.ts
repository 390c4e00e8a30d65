import { Agent, request } from 'undici'
import { type Clock, systemClock, type Timer } from '../../foundation/clock.ts'
import { errorCode } from '../../foundation/errors.ts'
import type { Lifecycle } from '../../foundation/lifecycle.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import type { AllocationInfo } from './allocation-info.ts'
import type { AllocationEnd, TurnEvents } from './events.ts'

export interface EventWebhookOptions {
  /** Where events are posted. */
  readonly url: string
  /** Bearer token that goes with them. @defaultValue none */
  readonly token?: string
  readonly logger: Logger
  /** Events that wait while the service is slow or away; on top the oldest is lost, and counted. @defaultValue 10,000 */
  readonly maxWaiting?: number
  /** How long an answer may take, in milliseconds. @defaultValue 5000 */
  readonly timeoutMs?: number
  /** How long to wait after a failure, doubled up to 32 times as long while they go on. @defaultValue 500 */
  readonly retryMs?: number
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

const defaults = { maxWaiting: 10_000, timeoutMs: 5000, retryMs: 500, clock: systemClock }

const lastWordsMs = 1000

/** Events that one request may carry. */
const maxBatch = 100

/**
 * Tells an HTTP service of allocations: `POST` with `{"events": [...]}`, in the order in which they happened, up to 100 at
 * once. Every 2xx is taken for an answer; after anything else the same events are sent again.
 */
export class EventWebhook implements Lifecycle {
  /** Events that were lost because the service was away, for too long or at the end. */
  lost = 0
  readonly #options: EventWebhookOptions & typeof defaults
  readonly #log: Logger
  readonly #agent: Agent
  readonly #waiting: object[] = []
  /** How many of the first that wait are on their way. */
  #posting = 0
  #failures = 0
  #timer: Timer | undefined
  #isClosed = false
  /** Called when there is nothing more to post at once. */
  #onIdle: (() => void) | undefined

  constructor(options: EventWebhookOptions) {
    this.#options = { ...defaults, ...options }
    this.#log = options.logger.child({ component: 'turn-events' })
    this.#agent = new Agent({ connections: 1, connect: { timeout: this.#options.timeoutMs } })
  }

  /** What the TURN server is given. */
  readonly events: TurnEvents = {
    allocationCreated: (allocation) => this.#add('allocation-created', allocation),
    allocationRefreshed: (allocation) => this.#add('allocation-refreshed', allocation),
    allocationDeleted: (allocation, end) => this.#add('allocation-deleted', allocation, end),
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  /** Sends what waits, for a second at most, unless the service is away: the end of a drain is not to be put off. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    if (this.#waiting.length > 0 && this.#failures === 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#options.clock.after(lastWordsMs, resolve)
        this.#onIdle = () => {
          timer.cancel()
          resolve()
        }
      })
    }
    this.#isClosed = true
    this.#timer?.cancel()
    await this.#agent.destroy()
    const left = this.#waiting.length
    this.lost += left
    if (left > 0) this.#log.warn({ lost: left }, 'closed with events that were not taken')
  }

  #add(event: string, allocation: AllocationInfo, reason?: AllocationEnd): void {
    if (this.#isClosed) return
    const time = new Date(this.#options.clock.wallMs()).toISOString()
    this.#waiting.push({ event, time, ...(reason !== undefined && { reason }), allocation })
    // What is on its way stays at the front.
    if (this.#waiting.length > this.#options.maxWaiting) {
      this.#waiting.splice(Math.min(this.#posting, this.#waiting.length - 1), 1)
      this.lost++
    }
    if (this.#posting === 0 && this.#timer === undefined) void this.#post()
  }

  async #post(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#isClosed) {
      const batch = this.#waiting.slice(0, maxBatch)
      this.#posting = batch.length
      try {
        await this.#send(batch)
        this.#waiting.splice(0, batch.length)
        if (this.#failures > 0) this.#log.info({ lost: this.lost }, 'events are taken again')
        this.#failures = 0
      } catch (error) {
        if (this.#isClosed) break
        // One line for an outage.
        if (this.#failures++ === 0)
          this.#log.warn({ code: errorCode(error), err: error }, 'events are not taken')
        this.#later()
        break
      }
    }
    this.#posting = 0
    this.#onIdle?.()
  }

  #later(): void {
    const { clock, retryMs } = this.#options
    const delayMs = retryMs * 2 ** Math.min(5, this.#failures - 1)
    this.#timer = clock.after(delayMs, () => {
      this.#timer = undefined
      void this.#post()
    })
  }

  async #send(events: readonly object[]): Promise<void> {
    const { url, token, timeoutMs } = this.#options
    const { statusCode, body } = await request(url, {
      method: 'POST',
      dispatcher: this.#agent,
      headers: {
        'content-type': 'application/json',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify({ events }),
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      signal: AbortSignal.timeout(timeoutMs),
    })
    await body.dump({ limit: 65_536 })
    if (statusCode < 200 || statusCode > 299)
      throw new Error(`the service answered with status ${statusCode}`)
  }
}
