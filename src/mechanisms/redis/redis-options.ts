import type { Clock } from '../../foundation/clock.ts'
import type { Logger, Registry } from '../telemetry/index.ts'
import type { RedisPlaceOptions } from './redis-target.ts'

/** Options of `createRedis`: those of the `[redis]` section, and what it works with. */
export interface RedisOptions extends RedisPlaceOptions {
  /** Goes before every key, with a colon. @defaultValue nothing */
  readonly prefix?: string | undefined
  /** Longest wait for an answer, in seconds; then a command fails with REDIS_SLOW. @defaultValue 1 */
  readonly timeoutSeconds?: number | undefined
  /** Most commands on a connection that wait for answers; further ones fail with REDIS_AWAY. @defaultValue 10000 */
  readonly maxInFlight?: number | undefined
  /** Lookup, TCP, TLS and login of one attempt together, in milliseconds. @defaultValue 3000 */
  readonly connectMs?: number | undefined
  /** Longest pause between two attempts to connect, in milliseconds. @defaultValue 3000 */
  readonly maxRetryMs?: number | undefined
  readonly logger: Logger
  /** Where its metrics are declared; absent: nowhere. */
  readonly registry?: Registry | undefined
  readonly clock?: Clock | undefined
  /** 0 to 1, anew at each call; of pauses. @defaultValue Math.random */
  readonly random?: (() => number) | undefined
}
