import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { OriginRegistry } from '../../../mechanisms/balancer/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { withDeadline } from './deadline.ts'
import { failureOf, type HealthCheckParts } from './health-check.ts'
import type { ResolvedOrigin } from './resolved-origin.ts'

/** What a watch is given. */
export interface OriginWatchParts extends HealthCheckParts {
  readonly origins: Pick<OriginRegistry, 'announce' | 'suspect'>
  readonly clock: Clock
  readonly log: Logger
  readonly onChecked: (result: 'passed' | 'failed') => void
}

/**
 * Speaks for one static origin: announces it at start, and with each check that passes, so that what holds of heartbeats
 * holds of it; after some failed checks in a row it is suspect, until one passes.
 */
export class OriginWatch {
  readonly origin: ResolvedOrigin
  readonly #parts: OriginWatchParts
  readonly #stopped = new AbortController()
  #timer: Timer | undefined
  #failures = 0
  #hasFailed = false

  constructor(origin: ResolvedOrigin, parts: OriginWatchParts) {
    this.origin = origin
    this.#parts = parts
  }

  /** It is registered when this resolves, unless that failed, and its first check is under way. */
  async start(): Promise<void> {
    await this.#try(() => this.#announce())
    if (!this.#stopped.signal.aborted) void this.#check()
  }

  stop(): void {
    this.#stopped.abort()
    this.#timer?.cancel()
  }

  async #check(): Promise<void> {
    const failure = await this.#failure()
    if (this.#stopped.signal.aborted) return
    await this.#try(() => (failure === undefined ? this.#passed() : this.#failed(failure)))
    if (this.#stopped.signal.aborted) return
    this.#timer = this.#parts.clock.after(this.origin.checkIntervalMs, () => void this.#check())
  }

  /** The balancer may have no room, or its store may be away; the next check tries again. */
  async #try(act: () => Promise<void>): Promise<void> {
    try {
      await act()
    } catch (error) {
      const reason = errorMessage(error)
      this.#parts.log.warn({ origin: this.origin.id, code: errorCode(error), reason }, 'origin not announced')
    }
  }

  async #failure(): Promise<string | undefined> {
    const { check, timeoutMs } = this.origin
    if (check === undefined) return undefined
    return await withDeadline(this.#parts.clock, timeoutMs, this.#stopped.signal, (signal) =>
      failureOf(check, this.#parts, signal),
    )
  }

  async #passed(): Promise<void> {
    this.#parts.onChecked('passed')
    this.#failures = 0
    if (this.#hasFailed) this.#parts.log.info({ origin: this.origin.id }, 'origin passes its checks again')
    this.#hasFailed = false
    await this.#announce()
  }

  async #failed(failure: string): Promise<void> {
    this.#parts.onChecked('failed')
    this.#failures++
    if (this.#failures < this.origin.checkFailures) return
    if (!this.#hasFailed) this.#parts.log.warn({ origin: this.origin.id, failure }, 'origin fails its checks')
    this.#hasFailed = true
    await this.#parts.origins.suspect(this.origin.id)
  }

  async #announce(): Promise<void> {
    await this.#parts.origins.announce(this.origin.announcement)
  }
}
