import type { Clock, Timer } from '../../foundation/clock.ts'
import { errorMessage } from '../../foundation/errors.ts'
import type { Connection } from './connection.ts'
import { RedisError } from './errors.ts'

/** What keeps a connection there. */
export interface KeptConnectionOptions {
  /** Opens one; where to is asked anew each time, as that changes by a failover. */
  readonly open: (signal: AbortSignal) => Promise<Connection>
  /** Longest pause between two attempts, in milliseconds. */
  readonly maxRetryMs: number
  readonly clock: Clock
  /** 0 to 1, anew at each call. */
  readonly random: () => number
  /** Called when it is there, and with what happened when it is not, each attempt that failed included. */
  readonly onChange: (connection: Connection | undefined, error: RedisError | undefined) => void
}

const FIRST_RETRY_MS = 100

/** A connection that is opened again whenever it has ended, with pauses that double up to a bound and differ at random. */
export class KeptConnection {
  readonly #options: KeptConnectionOptions
  readonly #closing = new AbortController()
  #current: Connection | undefined
  #timer: Timer | undefined
  #failures = 0

  constructor(options: KeptConnectionOptions) {
    this.#options = options
  }

  get current(): Connection | undefined {
    return this.#current
  }

  /** Resolves when the first attempt has ended, well or not. */
  async start(): Promise<void> {
    await this.#attempt()
  }

  close(): void {
    this.#closing.abort()
    this.#timer?.cancel()
    const current = this.#current
    this.#current = undefined
    current?.destroy('closed')
  }

  /** Ends the connection, as it is of no use; the next one is opened after a pause. */
  giveUp(connection: Connection, reason: string): void {
    if (connection === this.#current) connection.destroy(reason)
  }

  async #attempt(): Promise<void> {
    const { open, clock, onChange } = this.#options
    const { signal } = this.#closing
    try {
      const connection = await open(signal)
      if (signal.aborted) {
        connection.destroy('closed')
        return
      }
      this.#current = connection
      const sinceMs = clock.nowMs()
      connection.onEnd((reason) => {
        if (signal.aborted) return
        this.#current = undefined
        // One that did not last counts as a failed attempt: its server may be of no use each time anew.
        if (clock.nowMs() - sinceMs >= this.#options.maxRetryMs) this.#failures = 0
        this.#retry(new RedisError('REDIS_AWAY', reason))
      })
      if (connection.isOpen) onChange(connection, undefined)
    } catch (error) {
      if (signal.aborted) return
      this.#retry(error instanceof RedisError ? error : new RedisError('REDIS_AWAY', errorMessage(error)))
    }
  }

  #retry(error: RedisError): void {
    const { clock, random, maxRetryMs, onChange } = this.#options
    const mostMs = Math.min(maxRetryMs, FIRST_RETRY_MS * 2 ** Math.min(this.#failures++, 16))
    // At least half, so that a server that comes back is not asked by all at once nor too soon.
    this.#timer = clock.after(mostMs * (0.5 + random() / 2), () => void this.#attempt())
    onChange(undefined, error)
  }
}
