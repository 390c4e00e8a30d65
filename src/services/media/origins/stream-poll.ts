import type { Dispatcher } from 'undici'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { Balancer, OriginId, StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { withDeadline } from './deadline.ts'
import { type PublishedSource, publishedStreams, type StreamPlace } from './published-streams.ts'

/** What a poll is given. */
export interface StreamPollParts {
  readonly balancer: Pick<Balancer, 'follow'>
  readonly streamKeyOf: (place: StreamPlace) => StreamKey
  /** Whether it is for this gateway to ask. */
  readonly isAsker: (id: OriginId) => boolean
  readonly dispatcher: Dispatcher
  readonly clock: Clock
  readonly log: Logger
  readonly onPolled: (result: 'ok' | 'failed') => void
}

/** Asks one origin what is published there, and has the balancer follow it. */
export class StreamPoll {
  readonly #id: OriginId
  readonly #source: PublishedSource
  readonly #timeoutMs: number
  readonly #parts: StreamPollParts
  #live: ReadonlySet<StreamKey> = new Set()
  #isAsking = false
  #hasFailed = false

  constructor(id: OriginId, source: PublishedSource, timeoutMs: number, parts: StreamPollParts) {
    this.#id = id
    this.#source = source
    this.#timeoutMs = timeoutMs
    this.#parts = parts
  }

  /**
   * Asks once, unless it still does. What an origin does not answer changes nothing: whether it lives is told by its
   * heartbeat and by its connections.
   */
  async ask(stopped: AbortSignal): Promise<void> {
    if (this.#isAsking || stopped.aborted || !this.#parts.isAsker(this.#id)) return
    this.#isAsking = true
    let isLate = false
    try {
      const places = await withDeadline(this.#parts.clock, this.#timeoutMs, stopped, async (signal) => {
        signal.addEventListener('abort', () => {
          isLate = true
        })
        return await publishedStreams(this.#source, this.#parts.dispatcher, signal)
      })
      if (!stopped.aborted) await this.#tell(places, stopped)
      this.#parts.onPolled('ok')
      this.#hasFailed = false
    } catch (error) {
      if (!stopped.aborted) this.#failed(isLate ? 'ORIGINS_TIMEOUT' : errorCode(error))
    }
    this.#isAsking = false
  }

  async #tell(places: readonly StreamPlace[], stopped: AbortSignal): Promise<void> {
    const before = this.#live
    const live = new Set(places.flatMap((place) => this.#keyOf(place)))
    // Kept first: what fails halfway is told again in the next round.
    this.#live = new Set([...before, ...live])
    for (const key of before) if (!live.has(key) && !stopped.aborted) await this.#follow(key, false)
    // Told each time, for it may have been forgotten; to repeat it changes nothing.
    for (const key of live) if (!stopped.aborted) await this.#follow(key, true)
    this.#live = live
  }

  async #follow(key: StreamKey, isLive: boolean): Promise<void> {
    await this.#parts.balancer.follow(key, this.#id, isLive)
  }

  #keyOf(place: StreamPlace): readonly StreamKey[] {
    try {
      return [this.#parts.streamKeyOf(place)]
    } catch {
      // A stream that no client could ask for.
      return []
    }
  }

  #failed(code: string): void {
    this.#parts.onPolled('failed')
    if (!this.#hasFailed) this.#parts.log.warn({ origin: this.#id, code }, 'origin does not list its streams')
    this.#hasFailed = true
  }
}
