import type { Clock } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { Fleet } from '../../fleet/index.ts'
import type { Redis } from '../../redis/index.ts'
import { LinePace, type Logger } from '../../telemetry/index.ts'
import type { MemoryBalancerStore } from '../memory-store.ts'

/** What each part of the shared store stands on. */
export interface SharingParts {
  readonly redis: Redis
  readonly fleet: Fleet
  /** The copy of this gateway. */
  readonly local: MemoryBalancerStore
  readonly clock: Clock
  readonly logger: Logger
  /** A number in [0, 1). */
  readonly random: () => number
}

/** What can be said to Redis later, too: nothing comes of it while that is away, and a failure is a line in the log. */
export class Sharing {
  readonly #redis: Redis
  readonly #logger: Logger
  readonly #pace: LinePace
  readonly #message: string

  /** @param message of the line when it fails; one for each kind and while */
  constructor({ redis, logger, clock }: Pick<SharingParts, 'redis' | 'logger' | 'clock'>, message: string) {
    this.#redis = redis
    this.#logger = logger
    this.#pace = new LinePace(clock)
    this.#message = message
  }

  /** What came of it; undefined when nothing did. Never rejects. */
  async try<T>(act: () => Promise<T>): Promise<T | undefined> {
    if (!this.#redis.isUp) return undefined
    try {
      return await act()
    } catch (error) {
      this.failed(error)
      return undefined
    }
  }

  failed(error: unknown): void {
    const code = errorCode(error)
    const due = this.#pace.due(code)
    if (due !== undefined) this.#logger.warn({ code, ...due }, this.#message)
  }
}
