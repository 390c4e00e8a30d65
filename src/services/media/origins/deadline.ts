import type { Clock } from '../../../foundation/clock.ts'

/** Does work that is aborted after a time, or when all is stopped; neither leaves anything behind. */
export async function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  stopped: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  const abort = (): void => controller.abort()
  const timer = clock.after(timeoutMs, abort)
  // AbortSignal.any would keep a trace of each signal at `stopped`, which lives as long as the service.
  stopped.addEventListener('abort', abort)
  if (stopped.aborted) abort()
  try {
    return await work(controller.signal)
  } finally {
    timer.cancel()
    stopped.removeEventListener('abort', abort)
  }
}
