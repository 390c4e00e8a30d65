import type { Clock } from '../../../foundation/clock.ts'

const windowMs = 60_000
const maxAddresses = 10_000

/** Logins per address and minute: each costs a hash, a key derivation and maybe a question to an OIDC server. */
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

  /** Counts a login. False: too many came from the address. */
  admit(address: string): boolean {
    if (this.#perMinute === 0) return true
    const nowMs = this.#clock.nowMs()
    const window = this.#windows.get(address)
    if (window !== undefined && window.untilMs > nowMs) return ++window.count <= this.#perMinute
    this.#windows.delete(address)
    this.#windows.set(address, { count: 1, untilMs: nowMs + windowMs })
    for (const [oldest, { untilMs }] of this.#windows) {
      if (untilMs > nowMs && this.#windows.size <= maxAddresses) break
      this.#windows.delete(oldest)
    }
    return true
  }
}
