import type { Clock, Timer } from '../../../foundation/clock.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { HookAnswer, HookServer } from './hook-server.ts'

export interface HookNoticesOptions {
  readonly server: Pick<HookServer, 'ask'>
  /** The URL without its query, for the log. */
  readonly url: string
  /** Notices that wait; on top the oldest is dropped. */
  readonly maxWaiting: number
  readonly clock: Clock
  readonly logger: Logger
  /** Told of each notice that was dropped: too many wait, or the server was away for too long. */
  readonly onDrop: () => void
}

interface Notice {
  readonly body: string
  readonly timeoutMs: number
  tries: number
}

/** On their way at a time. More would finish an outage sooner, and would mix up what happened when even more. */
const MAX_IN_FLIGHT = 4
const MAX_TRIES = 6
const RETRY_MS = 1000

/**
 * Tells a hook server what nobody waits for: that sessions are over. In the order in which they ended, as long as the
 * server answers; a server that is away is tried again after 1, 2, 4, 8 and 16 seconds.
 */
export class HookNotices {
  readonly #options: HookNoticesOptions
  readonly #waiting: Notice[] = []
  #inFlight = 0
  #failures = 0
  #timer: Timer | undefined
  #isClosed = false
  #onIdle: (() => void) | undefined

  constructor(options: HookNoticesOptions) {
    this.#options = options
  }

  tell(body: string, timeoutMs: number): void {
    this.#waiting.push({ body, timeoutMs, tries: 0 })
    if (this.#waiting.length > this.#options.maxWaiting) {
      this.#waiting.shift()
      this.#options.onDrop()
    }
    this.#send()
  }

  /** Sends what waits, for so long at most, unless the server is away; then drops the rest. */
  async close(waitMs: number): Promise<void> {
    if (this.#isClosed) return
    if (!this.#isIdle && this.#failures === 0 && waitMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#options.clock.after(waitMs, resolve)
        this.#onIdle = () => {
          timer.cancel()
          resolve()
        }
      })
    }
    this.#isClosed = true
    this.#timer?.cancel()
    const left = this.#waiting.splice(0).length
    for (let i = 0; i < left; i++) this.#options.onDrop()
    if (left > 0) this.#log('closed with hooks that were not told', { dropped: left })
  }

  get #isIdle(): boolean {
    return this.#waiting.length === 0 && this.#inFlight === 0
  }

  #send(): void {
    while (!this.#isClosed && this.#timer === undefined && this.#inFlight < MAX_IN_FLIGHT) {
      // One at a time until the server is back.
      if (this.#failures > 0 && this.#inFlight > 0) return
      const notice = this.#waiting.shift()
      if (notice === undefined) break
      this.#inFlight++
      void this.#sendOne(notice)
    }
    if (this.#isIdle) this.#onIdle?.()
  }

  async #sendOne(notice: Notice): Promise<void> {
    const answer = await this.#options.server.ask(notice.body, notice.timeoutMs)
    this.#inFlight--
    // What it says does not matter: the session is over.
    if (answer.result === 'agreed' || answer.result === 'denied') {
      if (this.#failures > 0) this.#options.logger.info({ url: this.#options.url }, 'hooks are told again')
      this.#failures = 0
    } else this.#failed(notice, answer)
    this.#send()
  }

  #failed(notice: Notice, { reason }: HookAnswer): void {
    const { clock, onDrop, maxWaiting } = this.#options
    // One line for an outage.
    if (this.#failures === 0) this.#log('hooks cannot be told', { reason })
    notice.tries++
    if (this.#isClosed || notice.tries >= MAX_TRIES || this.#waiting.length >= maxWaiting) onDrop()
    else this.#waiting.unshift(notice)
    if (this.#isClosed || this.#timer !== undefined) {
      if (!this.#isClosed) return
      this.#onIdle?.()
      return
    }
    const delayMs = RETRY_MS * 2 ** Math.min(4, this.#failures++)
    this.#timer = clock.after(delayMs, () => {
      this.#timer = undefined
      this.#send()
    })
    // The end of a drain is not put off by a server that is away.
    this.#onIdle?.()
  }

  #log(message: string, fields: object): void {
    this.#options.logger.warn({ url: this.#options.url, ...fields }, message)
  }
}
