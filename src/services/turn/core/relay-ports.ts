/** Any port, an even one, or an even one with the next higher (RFC 8656 §7.2, EVEN-PORT). */
export type PortKind = 'any' | 'even' | 'pair'

/**
 * Chooses relay ports of one address: at random, so that nobody can guess the next (CVE-2025-69217), and not one that was
 * released a short while ago, since stray packets of old peers still come to it.
 */
export class RelayPorts {
  readonly #states = new Uint8Array(65_536)
  /** Released ports, oldest first, and when their rest is over. */
  readonly #resting: { readonly port: number; readonly untilMs: number }[] = []
  #restingFrom = 0
  readonly #random: (below: number) => number

  /** @param random gives an integer from 0 to below the argument, that nobody can foretell */
  constructor(random: (below: number) => number) {
    this.#random = random
  }

  /**
   * Takes a port of a range: any, an even one, or an even one and the next higher. Undefined when all are in use. Only
   * where no other is left does one come out of its rest before its time.
   */
  take(from: number, to: number, kind: PortKind, nowMs: number): number | undefined {
    this.#wake(nowMs)
    const step = kind === 'any' ? 1 : 2
    const first = kind === 'any' ? from : from + (from % 2)
    const last = kind === 'pair' ? to - 1 : to
    const count = Math.floor((last - first) / step) + 1
    if (count <= 0) return undefined
    const isPair = kind === 'pair'
    for (let tries = 0; tries < quickTries; tries++) {
      const port = first + this.#random(count) * step
      if (this.#isFree(port, isPair, free)) return this.#mark(port, isPair)
    }
    const start = this.#random(count)
    for (const most of [free, resting]) {
      for (let i = 0; i < count; i++) {
        const port = first + ((start + i) % count) * step
        if (this.#isFree(port, isPair, most)) return this.#mark(port, isPair)
      }
    }
    return undefined
  }

  /** Gives a port back. It rests if it was used; one that the system would not give is free again. */
  release(port: number, nowMs: number, wasUsed = true): void {
    if (this.#states[port] !== used) return
    this.#states[port] = wasUsed ? resting : free
    if (wasUsed) this.#resting.push({ port, untilMs: nowMs + restMs })
  }

  #isFree(port: number, isPair: boolean, most: number): boolean {
    return (this.#states[port] as number) <= most && (!isPair || (this.#states[port + 1] as number) <= most)
  }

  #mark(port: number, isPair: boolean): number {
    this.#states[port] = used
    if (isPair) this.#states[port + 1] = used
    return port
  }

  #wake(nowMs: number): void {
    for (;;) {
      const next = this.#resting[this.#restingFrom]
      if (next === undefined || next.untilMs > nowMs) break
      this.#restingFrom++
      if (this.#states[next.port] === resting) this.#states[next.port] = free
    }
    if (this.#restingFrom < 1024 || this.#restingFrom * 2 < this.#resting.length) return
    this.#resting.splice(0, this.#restingFrom)
    this.#restingFrom = 0
  }
}

const free = 0
const resting = 1
const used = 2

const restMs = 60_000
const quickTries = 8
