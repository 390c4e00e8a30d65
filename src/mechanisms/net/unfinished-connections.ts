import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../foundation/clock.ts'

interface Entry {
  readonly timer: Timer
}

/**
 * Connections of which something must come before anybody is told of them, in bounded number and time. When there are
 * too many, the one that has waited longest is cut: an honest peer is done in a few round trips, so that those who
 * open connections and leave them lying push out one another first.
 */
export class UnfinishedConnections {
  readonly #maxConnections: number
  readonly #clock: Clock
  readonly #entries = new Map<Socket, Entry>()
  #overdue = 0
  #displaced = 0

  constructor(maxConnections: number, clock: Clock) {
    this.#maxConnections = maxConnections
    this.#clock = clock
  }

  /** How many wait now. */
  get size(): number {
    return this.#entries.size
  }

  /** Connections that were cut because their time was over, ever. */
  get overdue(): number {
    return this.#overdue
  }

  /** Connections that were cut for newer ones, ever. */
  get displaced(): number {
    return this.#displaced
  }

  /**
   * Waits for a connection until it is removed, closes, or its time is over. `onFailed` is told when it closes after
   * it had sent something: who only connects and leaves, as checks of health do, has not failed.
   */
  add(socket: Socket, timeoutMs: number, onFailed: () => void): void {
    const [oldest] = this.#entries.keys()
    if (oldest !== undefined && this.#entries.size >= this.#maxConnections) {
      this.#displaced++
      this.#cut(oldest)
    }
    const timer = this.#clock.after(timeoutMs, () => {
      this.#overdue++
      this.#cut(socket)
    })
    const entry = { timer }
    this.#entries.set(socket, entry)
    socket.once('close', () => {
      if (this.#entries.get(socket) !== entry) return
      this.remove(socket)
      if (socket.bytesRead > 0) onFailed()
    })
  }

  /** The connection is finished, or no longer waited for. */
  remove(socket: Socket): void {
    this.#entries.get(socket)?.timer.cancel()
    this.#entries.delete(socket)
  }

  /** Cuts all. */
  cut(): void {
    for (const socket of this.#entries.keys()) this.#cut(socket)
  }

  #cut(socket: Socket): void {
    this.remove(socket)
    socket.destroy()
  }
}
