import type { Clock } from '../../../foundation/clock.ts'
import { sourceOf } from '../../../foundation/source-of.ts'

const windowMs = 60_000
const maxAddresses = 10_000

/**
 * Attempts per source (an IPv4 address, a /64 of IPv6) and minute. A login costs a hash, a key derivation and maybe a question
 * to an OIDC server; a wrong key is a guess.
 */
export class LoginRate {
  readonly #clock: Clock
  #perMinute: number
  /** The oldest window first. */
  readonly #windows = new Map<string, { count: number; readonly untilMs: number }>()

  /** @param perMinute 0: no limit */
  constructor(perMinute: number, clock: Clock) {
    this.#perMinute = perMinute
    this.#clock = clock
  }

  /** Puts another limit in force. */
  configure(perMinute: number): void {
    this.#perMinute = perMinute
  }

  /** Whether as many came from the address as may. */
  isSpent(address: string): boolean {
    const window = this.#windows.get(sourceOf(address))
    const isOpen = window !== undefined && window.untilMs > this.#clock.nowMs()
    return this.#perMinute > 0 && isOpen && window.count >= this.#perMinute
  }

  /** Counts one. False: too many came from the address. */
  admit(address: string): boolean {
    if (this.#perMinute === 0) return true
    const source = sourceOf(address)
    const nowMs = this.#clock.nowMs()
    const window = this.#windows.get(source)
    if (window !== undefined && window.untilMs > nowMs) return ++window.count <= this.#perMinute
    this.#windows.delete(source)
    this.#windows.set(source, { count: 1, untilMs: nowMs + windowMs })
    for (const [oldest, { untilMs }] of this.#windows) {
      if (untilMs > nowMs && this.#windows.size <= maxAddresses) break
      this.#windows.delete(oldest)
    }
    return true
  }
}
