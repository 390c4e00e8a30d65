/** Any port, an even one, or an even one with the next higher (RFC 8656 §7.2, EVEN-PORT). */
export type PortKind = 'any' | 'even' | 'pair'

/**
 * Chooses relay ports of one address: at random, so that nobody can guess the next (CVE-2025-69217), and not one that was
 * released a short while ago, since stray packets of old peers still come to it.
 */
export class RelayPorts {
  readonly #states = new Uint8Array(65_536)
  /** Released ports, oldest first, and when their rest is over: a ring. */
  readonly #resting = new Uint16Array(ringSize)
  readonly #restUntilMs = new Float64Array(ringSize)
  #restingFrom = 0
  #restingTo = 0
  readonly #random: (bytes: number) => Uint8Array

  /** @param random gives bytes that nobody can foretell */
  constructor(random: (bytes: number) => Uint8Array) {
    this.#random = random
  }

  /**
   * Takes a port of a range: any, an even one, or an even one and the next higher. Undefined when all are in use. Only
   * where hardly any other is left does one come out of its rest before its time, the longest-rested first.
   */
  take(from: number, to: number, kind: PortKind, nowMs: number): number | undefined {
    this.#wake(nowMs)
    const step = kind === 'any' ? 1 : 2
    const first = kind === 'any' ? from : from + (from % 2)
    const last = kind === 'pair' ? to - 1 : to
    const count = Math.floor((last - first) / step) + 1
    if (count <= 0) return undefined
    const isPair = kind === 'pair'
    const draws = Buffer.from(this.#random(4 * (quickTries + 1)))
    // Of 2^32 values, so that none of at most 65,536 is noticeably likelier than another.
    const below = (draw: number): number => draws.readUInt32BE(4 * draw) % count
    for (let tries = 0; tries < quickTries; tries++) {
      const port = first + below(tries) * step
      if (this.#isFree(port, isPair, free)) return this.#mark(port, isPair)
    }
    const rested = isPair ? undefined : this.#oldestResting(first, last, step)
    if (rested !== undefined) return this.#mark(rested, false)
    const start = below(quickTries)
    for (const most of [free, resting]) {
      for (let i = 0; i < count; i++) {
        const port = first + ((start + i) % count) * step
        if (this.#isFree(port, isPair, most)) return this.#mark(port, isPair)
      }
    }
    return undefined
  }

  /** Gives a port back, to rest. */
  release(port: number, nowMs: number): void {
    if (this.#states[port] !== used) return
    this.#states[port] = resting
    const at = this.#restingTo++ % ringSize
    this.#resting[at] = port
    this.#restUntilMs[at] = nowMs + restMs
    // Entries of ports that were taken out of their rest lie there until their time; the oldest are given up first.
    if (this.#restingTo - this.#restingFrom > ringSize) this.#restingFrom++
  }

  #isFree(port: number, isPair: boolean, most: number): boolean {
    return (this.#states[port] as number) <= most && (!isPair || (this.#states[port + 1] as number) <= most)
  }

  #mark(port: number, isPair: boolean): number {
    this.#states[port] = used
    if (isPair) this.#states[port + 1] = used
    return port
  }

  /** A scan of tens of thousands of ports for each allocation would be what a user who makes and ends many could slow all others with. */
  #oldestResting(first: number, last: number, step: number): number | undefined {
    for (let i = 0; i < quickTries && this.#restingFrom < this.#restingTo; i++) {
      const port = this.#resting[this.#restingFrom % ringSize] as number
      if (this.#states[port] === resting) {
        if (port < first || port > last || (port - first) % step !== 0) return undefined
        this.#restingFrom++
        return port
      }
      this.#restingFrom++
    }
    return undefined
  }

  #wake(nowMs: number): void {
    while (this.#restingFrom < this.#restingTo) {
      const at = this.#restingFrom % ringSize
      if ((this.#restUntilMs[at] as number) > nowMs) return
      this.#restingFrom++
      const port = this.#resting[at] as number
      if (this.#states[port] === resting) this.#states[port] = free
    }
  }
}

const ringSize = 65_536
const free = 0
const resting = 1
const used = 2

const restMs = 60_000
const quickTries = 8
