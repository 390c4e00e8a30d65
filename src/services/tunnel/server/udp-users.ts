import type { Clock } from '../../../foundation/clock.ts'

/** A user who has said nothing for one to two times so long is forgotten, in milliseconds. */
const generationMs = 300_000
const maxUsers = 65_536

/**
 * The users of a udp proxy who have sent something lately, and which local address they asked. Only they are answered, from
 * there: a client cannot make the server send to whomever it likes.
 */
export class UdpUsers {
  readonly #clock: Clock
  #current = new Map<string, number>()
  #before = new Map<string, number>()
  #turnAtMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#turnAtMs = clock.nowMs() + generationMs
  }

  /** @param local of the arrival, as the datapath names it */
  heard(address: string, port: number, local: number): void {
    if (this.#clock.nowMs() >= this.#turnAtMs || this.#current.size >= maxUsers) this.#turn()
    this.#current.set(`${address} ${port}`, local)
  }

  /** The local address that the user asked last; undefined: it has not been heard lately. */
  localOf(address: string, port: number): number | undefined {
    const user = `${address} ${port}`
    return this.#current.get(user) ?? this.#before.get(user)
  }

  #turn(): void {
    this.#before = this.#current
    this.#current = new Map()
    this.#turnAtMs = this.#clock.nowMs() + generationMs
  }
}
