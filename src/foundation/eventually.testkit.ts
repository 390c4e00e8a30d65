import { vi } from 'vitest'

/**
 * Resolves with what `check` gives once it does not throw; rejects with what it threw last. A busy machine takes its
 * time: the deadline is just below that of a test, so that the test says what it waited for.
 */
export function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, { timeout: 15_000, interval: 10 })
}
