/** A thread that is busy for this part of the time has no room for bursts. */
const busyShare = 0.75

/**
 * Whether `threads: 'auto'` wants another thread: all of them were busy since the last look. They never become fewer, since
 * moving sockets costs more than a thread that waits.
 */
export class ThreadGrowth {
  readonly #mostThreads: number
  #lastMs: number
  #lastBusyNs: readonly number[] = []

  constructor(mostThreads: number, nowMs: number) {
    this.#mostThreads = mostThreads
    this.#lastMs = nowMs
  }

  /** Takes the nanoseconds that each thread has worked since it began. */
  wantsMore(busyNs: readonly number[], nowMs: number): boolean {
    const elapsedNs = (nowMs - this.#lastMs) * 1e6
    const last = this.#lastBusyNs
    this.#lastMs = nowMs
    this.#lastBusyNs = busyNs
    // A thread that is new has not been seen for a whole while.
    if (busyNs.length >= this.#mostThreads || busyNs.length !== last.length || elapsedNs <= 0) return false
    return busyNs.every((ns, thread) => ns - (last[thread] ?? 0) > busyShare * elapsedNs)
  }
}
