import type { Clock } from '../../foundation/clock.ts'
import { errorMessage } from '../../foundation/errors.ts'
import { LinePace, type Logger } from '../telemetry/index.ts'
import type { Connection } from './connection.ts'
import { KeptConnection } from './kept-connection.ts'

/** Options of `Subscriptions`. */
export interface SubscriptionsOptions {
  readonly open: (signal: AbortSignal) => Promise<Connection>
  readonly maxRetryMs: number
  readonly clock: Clock
  readonly random: () => number
  /** Whether Redis answers commands; where it does not, nobody needs to be told that channels are not heard. */
  readonly isUp: () => boolean
  readonly log: Logger
}

/**
 * The channels that are heard, on a connection of its own, as one that hears channels runs no commands. It is opened with the
 * first channel, and hears all of them again after each reconnect.
 */
export class Subscriptions {
  readonly #kept: KeptConnection
  readonly #log: Logger
  readonly #pace: LinePace
  readonly #channels = new Map<string, Set<(message: string) => void>>()
  #failures = 0
  #state: 'new' | 'started' | 'connecting' | 'closed' = 'new'

  constructor({ log, isUp, ...rest }: SubscriptionsOptions) {
    this.#log = log
    this.#pace = new LinePace(rest.clock)
    this.#kept = new KeptConnection({
      ...rest,
      onChange: (connection, error) => {
        if (connection === undefined) {
          // The first one may be the loss of everything, which is told elsewhere.
          if (this.#failures++ > 0 && isUp()) this.#warn('connection', { error: error?.message })
          return
        }
        this.#failures = 0
        connection.onMessage((channel, message) => this.#heard(channel, message))
        for (const channel of this.#channels.keys()) this.#ask('SUBSCRIBE', channel)
      },
    })
  }

  /** Begins to connect where a channel is wanted. */
  start(): void {
    if (this.#state === 'new') this.#state = 'started'
    if (this.#state !== 'started' || this.#channels.size === 0) return
    this.#state = 'connecting'
    void this.#kept.start()
  }

  close(): void {
    this.#state = 'closed'
    this.#kept.close()
    this.#channels.clear()
  }

  add(channel: string, onMessage: (message: string) => void): () => void {
    const listeners = this.#channels.get(channel) ?? new Set()
    // One entry for each call, though two calls have the same function.
    const listener = (message: string): void => onMessage(message)
    listeners.add(listener)
    if (listeners.size === 1) {
      this.#channels.set(channel, listeners)
      if (this.#state === 'started') this.start()
      else this.#ask('SUBSCRIBE', channel)
    }
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return
      this.#channels.delete(channel)
      this.#ask('UNSUBSCRIBE', channel)
    }
  }

  #ask(name: 'SUBSCRIBE' | 'UNSUBSCRIBE', channel: string): void {
    this.#kept.current?.send(name, [channel]).catch((error: unknown) => {
      if (this.#state === 'closed') return
      this.#warn(channel, { channel, error: errorMessage(error) })
    })
  }

  #warn(cause: string, fields: object): void {
    const due = this.#pace.due(cause)
    if (due === undefined) return
    const message = 'a channel of Redis is not heard; what others send comes late, by asking'
    this.#log.warn({ ...fields, ...due }, message)
  }

  #heard(channel: string, message: string): void {
    for (const listener of this.#channels.get(channel) ?? []) {
      try {
        listener(message)
      } catch (error) {
        const due = this.#pace.due('listener')
        if (due === undefined) continue
        this.#log.error(
          { channel, error: errorMessage(error), ...due },
          'a message from Redis was not understood',
        )
      }
    }
  }
}
