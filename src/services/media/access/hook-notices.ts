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
  /** Told how many notices were dropped: too many wait, or the server was away for too long. */
  readonly onDrop: (count: number) => void
}

interface Notice {
  readonly number: number
  readonly body: string
  readonly timeoutMs: number
  tries: number
}

/** On their way at a time. More would finish an outage sooner, and would mix up what happened when even more. */
const MAX_IN_FLIGHT = 4
const MAX_TRIES = 6
const RETRY_MS = 1000
const LOG_INTERVAL_MS = 60_000

/**
 * Tells a hook server what nobody waits for: that sessions are over. In the order in which they ended, as long as the
 * server answers; a server that is away is tried again after 1, 2, 4, 8 and 16 seconds.
 */
export class HookNotices {
  readonly #options: HookNoticesOptions
  readonly #waiting: Notice[] = []
  #told = 0
  #inFlight = 0
  #failures = 0
  #dropped = 0
  #droppedLoggedMs = Number.NEGATIVE_INFINITY
  #timer: Timer | undefined
  #isClosed = false
  #onIdle: (() => void) | undefined

  constructor(options: HookNoticesOptions) {
    this.#options = options
  }

  tell(body: string, timeoutMs: number): void {
    this.#waiting.push({ number: this.#told++, body, timeoutMs, tries: 0 })
    if (this.#waiting.length > this.#options.maxWaiting) {
      this.#waiting.shift()
      this.#drop(1)
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
    this.#drop(this.#waiting.splice(0).length)
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
    const { clock, maxWaiting } = this.#options
    // One line for an outage.
    if (this.#failures === 0) this.#log('hooks cannot be told', { reason })
    notice.tries++
    if (this.#isClosed || notice.tries >= MAX_TRIES || this.#waiting.length >= maxWaiting) this.#drop(1)
    else this.#putBack(notice)
    if (!this.#isClosed && this.#timer === undefined) {
      const delayMs = RETRY_MS * 2 ** Math.min(4, this.#failures++)
      this.#timer = clock.after(delayMs, () => {
        this.#timer = undefined
        this.#send()
      })
    }
    // The end of a drain is not put off by a server that is away.
    this.#onIdle?.()
  }

  /** Where it was: before all that came later. */
  #putBack(notice: Notice): void {
    const at = this.#waiting.findIndex(({ number }) => number > notice.number)
    this.#waiting.splice(at === -1 ? this.#waiting.length : at, 0, notice)
  }

  #drop(count: number): void {
    const { clock, onDrop } = this.#options
    if (count === 0) return
    onDrop(count)
    this.#dropped += count
    if (clock.nowMs() - this.#droppedLoggedMs < LOG_INTERVAL_MS) return
    this.#droppedLoggedMs = clock.nowMs()
    this.#log('hooks are not told and dropped', { dropped: this.#dropped })
  }

  #log(message: string, fields: object): void {
    this.#options.logger.warn({ url: this.#options.url, ...fields }, message)
  }
}
