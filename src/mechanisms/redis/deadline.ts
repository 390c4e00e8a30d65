import type { Clock } from '../../foundation/clock.ts'
import { RedisError } from './errors.ts'

/**
 * What `work` gives, or an error at its deadline; what it gives later is dropped.
 * @throws REDIS_SLOW
 */
export async function within<T>(clock: Clock, ms: number, name: string, work: Promise<T>): Promise<T> {
  let fail: (error: RedisError) => void = () => undefined
  const late = new Promise<never>((_, reject) => {
    fail = reject
  })
  const timer = clock.after(ms, () => {
    const error = new RedisError('REDIS_SLOW', `${name}: Redis did not answer within ${ms} ms`)
    // What has come while this process was busy is read before that.
    setImmediate(() => fail(error))
  })
  try {
    return await Promise.race([work, late])
  } finally {
    timer.cancel()
  }
}
