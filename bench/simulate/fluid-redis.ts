/** A server that does one thing after the other: what comes waits for all that came before. */
export class FluidRedis {
  isAway = false
  /** Work that was taken and is not done, in microseconds. */
  #backlogUs = 0
  #busyUs = 0
  commands = 0

  /** How long whoever comes now waits for his turn. */
  get waitMs(): number {
    return this.#backlogUs / 1000
  }

  /** Takes work; gives the milliseconds until it is answered. Undefined: it is away, and nobody queues. */
  take(commands: number, us: number): number | undefined {
    if (this.isAway) return undefined
    this.#backlogUs += us
    this.commands += commands
    return this.#backlogUs / 1000
  }

  pass(ms: number): void {
    const done = Math.min(this.#backlogUs, ms * 1000)
    this.#backlogUs -= done
    this.#busyUs += done
  }

  /** What waits fails, as when its process dies. */
  drop(): void {
    this.#backlogUs = 0
  }

  /** Busy microseconds since the last call. */
  takeBusyUs(): number {
    const busy = this.#busyUs
    this.#busyUs = 0
    return busy
  }
}
