import type { Clock, Timer } from '../../../../foundation/clock.ts'
import { errorCode } from '../../../../foundation/errors.ts'
import type { Dial, DialOptionsOf } from '../../../../mechanisms/net/index.ts'
import { type OriginAnswer, type OriginCall, OriginConnection } from './origin-connection.ts'
import type { OriginUrl } from '../origin-url.ts'

export interface OriginPoolOptions {
  readonly dial: Dial
  readonly dialOptionsOf: DialOptionsOf
  readonly clock: Clock
  /** How long a connection may take, with its TLS handshake, in milliseconds. */
  readonly connectTimeoutMs: number
  /** How long a connection rests until it is closed, in milliseconds. */
  readonly idleMs: number
  /** Most connections that rest for one origin; further ones are closed after their answer. */
  readonly maxIdlePerOrigin: number
}

interface Resting {
  readonly connection: OriginConnection
  readonly timer: Timer
}

/** Connections to origins, kept for the next request. One is open per request that runs. */
export class OriginPool {
  readonly #options: OriginPoolOptions
  /** The one that came last is at the end, and goes first: it is the least likely to be closed. */
  readonly #resting = new Map<string, Resting[]>()
  readonly #open = new Set<OriginConnection>()

  constructor(options: OriginPoolOptions) {
    this.#options = options
  }

  /** Connections, in use or at rest. */
  get size(): number {
    return this.#open.size
  }

  /**
   * Asks an origin. A request that met the end of a connection's rest is sent again on another one, so it must be one that
   * may be repeated. @throws what `OriginConnection.ask` throws
   */
  async ask(url: OriginUrl, call: OriginCall): Promise<OriginAnswer> {
    for (;;) {
      const connection = this.#take(url) ?? this.#connect(url)
      const wasUsed = connection.wasUsed
      try {
        return await connection.ask(call)
      } catch (error) {
        if (!wasUsed || call.signal.aborted || errorCode(error) !== 'HTTP_ORIGIN_BAD_RESPONSE') throw error
      }
    }
  }

  /** Closes all connections now, those in use too. */
  close(): void {
    for (const resting of this.#resting.values()) for (const { timer } of resting) timer.cancel()
    this.#resting.clear()
    for (const connection of this.#open) connection.destroy()
    this.#open.clear()
  }

  #connect(url: OriginUrl): OriginConnection {
    const { clock, connectTimeoutMs, dial, dialOptionsOf, idleMs } = this.#options
    const connection = new OriginConnection({
      url,
      clock,
      dial,
      dialOptionsOf,
      connectTimeoutMs,
      idleMs,
      onIdle: (connection, restMs) => this.#rest(url, connection, restMs),
      onClosed: (connection) => this.#forget(url, connection),
    })
    this.#open.add(connection)
    return connection
  }

  #take(url: OriginUrl): OriginConnection | undefined {
    const resting = this.#resting.get(place(url))?.pop()
    resting?.timer.cancel()
    return resting?.connection
  }

  #rest(url: OriginUrl, connection: OriginConnection, restMs: number): void {
    const name = place(url)
    const resting = this.#resting.get(name) ?? []
    if (resting.length >= this.#options.maxIdlePerOrigin) {
      connection.destroy()
      return
    }
    this.#resting.set(name, resting)
    resting.push({ connection, timer: this.#options.clock.after(restMs, () => connection.destroy()) })
  }

  #forget(url: OriginUrl, connection: OriginConnection): void {
    this.#open.delete(connection)
    const name = place(url)
    const resting = this.#resting.get(name) ?? []
    const at = resting.findIndex((each) => each.connection === connection)
    if (at !== -1) resting.splice(at, 1)[0]?.timer.cancel()
    if (resting.length === 0) this.#resting.delete(name)
  }
}

function place({ scheme, host, port }: OriginUrl): string {
  return `${scheme}://${host} ${port}`
}
