import type { Clock } from '../../../foundation/clock.ts'

/** A user who has said nothing for one to two times so long is forgotten, in milliseconds. */
const generationMs = 300_000
const maxUsers = 65_536

/**
 * The users of a udp proxy who have sent something lately. Only they are answered: a client cannot make the server send to
 * whomever it likes.
 */
export class UdpUsers {
  readonly #clock: Clock
  #current = new Set<string>()
  #before = new Set<string>()
  #turnAtMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#turnAtMs = clock.nowMs() + generationMs
  }

  heard(address: string, port: number): void {
    if (this.#clock.nowMs() >= this.#turnAtMs || this.#current.size >= maxUsers) this.#turn()
    this.#current.add(`${address} ${port}`)
  }

  has(address: string, port: number): boolean {
    const user = `${address} ${port}`
    return this.#current.has(user) || this.#before.has(user)
  }

  #turn(): void {
    this.#before = this.#current
    this.#current = new Set()
    this.#turnAtMs = this.#clock.nowMs() + generationMs
  }
}
