import type { Clock } from '../../../foundation/clock.ts'
import type { Relay } from './allocation.ts'
import { type Identity, isOwner } from './authenticator.ts'
import { ExpiryWheel } from './expiry-wheel.ts'
import type { RelayPool } from './relay-pool.ts'

interface Reservation {
  readonly token: string
  readonly relay: Relay
  readonly owner: Identity
}

/** Relayed addresses that wait for the second allocation of a pair (RFC 8656 §7.2, EVEN-PORT with R): bound, for one use. */
export class Reservations {
  readonly #relays: RelayPool
  readonly #clock: Clock
  readonly #random: (bytes: number) => Uint8Array
  readonly #byToken = new Map<string, Reservation>()
  readonly #wheel: ExpiryWheel<Reservation>

  constructor(relays: RelayPool, clock: Clock, random: (bytes: number) => Uint8Array) {
    this.#relays = relays
    this.#clock = clock
    this.#random = random
    this.#wheel = new ExpiryWheel(clock, (reservation) => this.end(reservation.token))
  }

  /** Keeps a relay, and gives the token that gets it. */
  keep(relay: Relay, owner: Identity): string {
    const token = Buffer.from(this.#random(tokenBytes)).toString('hex')
    const reservation = { token, relay, owner }
    this.#byToken.set(token, reservation)
    this.#wheel.schedule(reservation, this.#clock.nowMs() + reservationMs)
    return token
  }

  /** Hands the relay over to the user that it was kept for. */
  redeem(value: Uint8Array, identity: Identity): Relay | undefined {
    const reservation = this.#byToken.get(Buffer.from(value).toString('hex'))
    if (reservation === undefined || !isOwner(reservation.owner, identity)) return undefined
    this.#forget(reservation)
    return reservation.relay
  }

  /** Gives the relay up, if nobody has taken it. */
  end(token: string): void {
    const reservation = this.#byToken.get(token)
    if (reservation === undefined) return
    this.#forget(reservation)
    this.#relays.close(reservation.relay)
  }

  endAll(): void {
    for (const token of [...this.#byToken.keys()]) this.end(token)
  }

  #forget(reservation: Reservation): void {
    this.#byToken.delete(reservation.token)
    this.#wheel.cancel(reservation)
  }
}

const tokenBytes = 8
/** At least 30 s by RFC 8656 §7.2. */
const reservationMs = 30_000
