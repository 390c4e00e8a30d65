import type { Clock, Timer } from '../../../foundation/clock.ts'
import type { BandwidthLimit } from './contract.ts'

/** An unused budget is kept until it is full again, so that leaving and coming back makes no new one; for this long at most. */
const MAX_KEPT_MS = 60_000

interface Entry {
  readonly budget: ByteBudget
  users: number
  forget: Timer | undefined
}

/** The budgets that sessions share, by id. As many as sessions make, and for a minute more. */
export class Bandwidth {
  readonly #clock: Clock
  readonly #entries = new Map<string, Entry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#entries.size
  }

  /** The budget of this name and rate. Who takes it gives it back once. */
  take(name: string, bytesPerSecond: number, burstBytes: number): BandwidthLimit {
    // With the rate: after a reload new sessions have the new one, and a meter of the datapath cannot change.
    const id = `${name} ${bytesPerSecond}/${burstBytes}`
    let entry = this.#entries.get(id)
    if (entry === undefined) {
      entry = {
        budget: new ByteBudget(id, bytesPerSecond, burstBytes, this.#clock),
        users: 0,
        forget: undefined,
      }
      this.#entries.set(id, entry)
    }
    entry.users++
    entry.forget?.cancel()
    entry.forget = undefined
    return entry.budget
  }

  give({ id }: BandwidthLimit): void {
    const entry = this.#entries.get(id)
    if (entry === undefined || --entry.users > 0) return
    const { fullInMs } = entry.budget
    if (fullInMs === 0) this.#entries.delete(id)
    else {
      entry.forget = this.#clock.after(Math.min(fullInMs, MAX_KEPT_MS), () => this.#entries.delete(id))
    }
  }

  close(): void {
    for (const { forget } of this.#entries.values()) forget?.cancel()
    this.#entries.clear()
  }
}

/** A token bucket that goes into debt: what was passed on is charged, and who charges waits until the debt is paid. */
class ByteBudget implements BandwidthLimit {
  readonly id: string
  readonly bytesPerSecond: number
  readonly burstBytes: number
  readonly #clock: Clock
  #bytes: number
  #filledAtMs: number

  constructor(id: string, bytesPerSecond: number, burstBytes: number, clock: Clock) {
    this.id = id
    this.bytesPerSecond = bytesPerSecond
    this.burstBytes = burstBytes
    this.#clock = clock
    this.#bytes = burstBytes
    this.#filledAtMs = clock.nowMs()
  }

  charge(bytes: number): number {
    this.#fill()
    this.#bytes -= bytes
    return this.#bytes >= 0 ? 0 : Math.ceil((-this.#bytes * 1000) / this.bytesPerSecond)
  }

  get fullInMs(): number {
    this.#fill()
    return Math.ceil(((this.burstBytes - this.#bytes) * 1000) / this.bytesPerSecond)
  }

  #fill(): void {
    const nowMs = this.#clock.nowMs()
    const grown = ((nowMs - this.#filledAtMs) * this.bytesPerSecond) / 1000
    this.#bytes = Math.min(this.burstBytes, this.#bytes + grown)
    this.#filledAtMs = nowMs
  }
}
