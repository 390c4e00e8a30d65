import { expect } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { eventually } from '../../foundation/eventually.testkit.ts'
import { createLogger, Registry } from '../telemetry/index.ts'
import { createRedis } from './create-redis.ts'
import type { RedisLink } from './redis-link.ts'
import type { RedisOptions } from './redis-options.ts'

/** A link under a clock that is moved by hand, with what it logged and counted. */
export interface TestLink extends AsyncDisposable {
  readonly redis: RedisLink
  readonly clock: ManualClock
  readonly lines: string[]
  readonly changes: boolean[]
  readonly registry: Registry
}

/** Makes a link and starts it. */
export async function startLink(options: Partial<RedisOptions>): Promise<TestLink> {
  const link = makeLink(options)
  await link.redis.start()
  return link
}

export function makeLink(options: Partial<RedisOptions>): TestLink {
  const clock = new ManualClock()
  const lines: string[] = []
  const changes: boolean[] = []
  const registry = new Registry()
  const logger = createLogger({ stream: { write: (line) => void lines.push(line) } })
  const redis = createRedis({ logger, clock, registry, random: () => 0.5, ...options })
  redis.onChange((isUp) => void changes.push(isUp))
  return { redis, clock, lines, changes, registry, [Symbol.asyncDispose]: () => redis.close() }
}

/** Waits for a state that comes without the clock. */
export async function until(check: () => boolean): Promise<void> {
  await eventually(() => expect(check()).toBe(true))
}
