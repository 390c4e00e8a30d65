import { setTimeout as delay } from 'node:timers/promises'

export interface UntilOptions {
  /** How long the condition may take, in milliseconds. @defaultValue 10,000 */
  readonly deadlineMs?: number
  /** How often it is looked at, in milliseconds. @defaultValue 50 */
  readonly everyMs?: number
}

/**
 * Waits until `probe` gives something other than `undefined` or `false`, and gives that. An error of the
 * probe counts as "not yet". @throws Error that says what was waited for, and the probe's last error
 */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  options: UntilOptions = {},
): Promise<T> {
  const { deadlineMs = 10_000, everyMs = 50 } = options
  const endMs = performance.now() + deadlineMs
  let cause: unknown
  for (;;) {
    try {
      const found = await probe()
      if (found !== undefined && found !== false) return found
      cause = undefined
    } catch (error) {
      cause = error
    }
    if (performance.now() >= endMs) throw new Error(`${what}: not within ${deadlineMs} ms`, { cause })
    await delay(everyMs)
  }
}
