import type { Clock } from '../../../foundation/clock.ts'

/** What a promise brings, or a rejection when that takes too long. */
export function inTime<T>(promise: Promise<T>, clock: Clock, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(timeoutMs, () => reject(new Error(`no answer after ${timeoutMs} ms`)))
    promise.then(resolve, reject).finally(() => timer.cancel())
  })
}
