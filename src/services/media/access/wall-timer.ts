import type { Clock, Timer } from '../../../foundation/clock.ts'

/** Timers of the machine cannot be longer than 24 days, and do not see the wall clock being set. */
const LONGEST_MS = 3_600_000

/** Calls back once when the wall clock shows the time, in milliseconds since the Unix epoch; never at once. */
export function atWallTime(clock: Clock, atMs: number, callback: () => void): Timer {
  let timer: Timer | undefined
  const arm = (): void => {
    const leftMs = atMs - clock.wallMs()
    timer = clock.after(Math.min(Math.max(0, leftMs), LONGEST_MS), leftMs <= LONGEST_MS ? callback : arm)
  }
  arm()
  return { cancel: () => timer?.cancel() }
}
