import type { Socket } from 'node:net'
import { sourceOf } from '../../foundation/source-of.ts'
import { plainAddress } from './connection-info.ts'

/** How many connections may be open at a time. */
export interface ConnectionCapOptions {
  /** In all. @defaultValue 10,000 */
  readonly maxConnections?: number
  /** Of one address, or the /64 of an IPv6 address. The default lets a NAT or a balancer through. @defaultValue 1,000 */
  readonly maxConnectionsPerAddress?: number
}

const DEFAULTS: Required<ConnectionCapOptions> = { maxConnections: 10_000, maxConnectionsPerAddress: 1000 }

/** Counts open connections, in total and per address; the listeners of one service share one. */
export class ConnectionCap {
  #options: Required<ConnectionCapOptions>
  readonly #perAddress = new Map<string, number>()
  #connections = 0
  #refused = 0

  constructor(options: ConnectionCapOptions = {}) {
    this.#options = { ...DEFAULTS, ...options }
  }

  /** Puts other bounds in force, for connections to come. */
  configure(options: ConnectionCapOptions): void {
    this.#options = { ...DEFAULTS, ...options }
  }

  /** Connections that were not admitted, ever. */
  get refused(): number {
    return this.#refused
  }

  /**
   * Counts the connection until its `close` event; false when there are too many, and it must be closed. `remoteAddress`
   * is the client's where it is not that of the socket.
   */
  admit(socket: Socket, remoteAddress: string | undefined = socket.remoteAddress): boolean {
    // A peer that is gone already has no address.
    if (remoteAddress === undefined) return false
    const address = sourceOf(plainAddress(remoteAddress))
    const ofAddress = this.#perAddress.get(address) ?? 0
    const { maxConnections, maxConnectionsPerAddress } = this.#options
    if (this.#connections >= maxConnections || ofAddress >= maxConnectionsPerAddress) {
      this.#refused++
      return false
    }
    this.#connections++
    this.#perAddress.set(address, ofAddress + 1)
    socket.once('close', () => {
      this.#connections--
      const left = (this.#perAddress.get(address) ?? 0) - 1
      if (left > 0) this.#perAddress.set(address, left)
      else this.#perAddress.delete(address)
    })
    return true
  }
}
