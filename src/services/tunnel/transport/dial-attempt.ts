import type { Socket } from 'node:net'

/** One connection that is being dialled, from TCP to the last of its layers, which it takes down when it is given up. */
export class DialAttempt {
  #socket: Socket | undefined
  #reason: Error | undefined

  /** Why it was given up. */
  get reason(): Error | undefined {
    return this.#reason
  }

  /** The connection that all layers stand on. */
  begin(socket: Socket): void {
    this.#socket = socket
  }

  /** The first reason is the one that counts. */
  giveUp(reason: Error): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#socket?.destroy()
  }
}
