import type { Clock } from '../../../../foundation/clock.ts'
import type { StreamKey } from '../../../../mechanisms/balancer/index.ts'
import { httpError } from '../errors.ts'
import { ExpiringMap } from './expiring-map.ts'

export interface HlsOutagesOptions {
  readonly clock: Clock
  readonly sessionTtlMs: number
  readonly originWaitMs: number
  readonly maxWaiting: number
}

/** How often an origin that is away is tried again. */
const RETRY_MS = 500
/** Streams whose outages are noted. */
const MAX_STREAMS = 20_000

/** A stream that was served. */
interface Served {
  /** When its origin was last found away. */
  awayMs: number
}

/** Which streams were served and have lost their origin of late, and the requests that wait for it to come back. */
export class HlsOutages {
  readonly #options: HlsOutagesOptions
  readonly #served: ExpiringMap<Served>
  #waiting = 0

  constructor(options: HlsOutagesOptions) {
    this.#options = options
    const { clock, sessionTtlMs } = options
    this.#served = new ExpiringMap({ clock, ttlMs: sessionTtlMs, maxEntries: MAX_STREAMS })
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting
  }

  /** Something of the stream was served. */
  wasServed(key: StreamKey): void {
    if (this.#served.get(key) === undefined) this.#served.set(key, { awayMs: Number.NEGATIVE_INFINITY })
  }

  /** An origin of the stream was found away. Of a stream that was never served that says nothing. */
  wasAway(key: StreamKey): void {
    const served = this.#served.get(key)
    if (served !== undefined) served.awayMs = this.#options.clock.nowMs()
  }

  /** Whether the origin of a stream that was served was away a moment ago, so that its publisher may not be back yet. */
  isAway(key: StreamKey): boolean {
    const awayMs = this.#served.get(key)?.awayMs ?? Number.NEGATIVE_INFINITY
    return this.#options.clock.nowMs() - awayMs < this.#options.originWaitMs
  }

  /** Whether a request that began then may wait for another try. */
  mayWait(sinceMs: number): boolean {
    const { clock, maxWaiting, originWaitMs } = this.#options
    return clock.nowMs() + RETRY_MS <= sinceMs + originWaitMs && this.#waiting < maxWaiting
  }

  /** Resolves when it is time for another try. @throws HTTP_CLIENT_GONE */
  wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting++
      const over = (): void => {
        this.#waiting--
        timer.cancel()
        signal.removeEventListener('abort', onAbort)
      }
      const timer = this.#options.clock.after(RETRY_MS, () => {
        over()
        resolve()
      })
      const onAbort = (): void => {
        over()
        const details = { side: 'client', retryable: false, status: 499 } as const
        reject(httpError('HTTP_CLIENT_GONE', 'the client left', details))
      }
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort)
    })
  }
}
