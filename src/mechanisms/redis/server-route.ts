import type { Clock } from '../../foundation/clock.ts'
import type { Connection } from './connection.ts'
import type { RedisArgument } from './contract.ts'
import { RedisError } from './errors.ts'
import { KeptConnection } from './kept-connection.ts'
import type { Route, RouteListener } from './route.ts'
import { isUnfit } from './unfit.ts'

/** Options of a route to one server. */
export interface ServerRouteOptions {
  /** Connects to the server that takes writes; which one that is, it finds out each time. */
  readonly open: (signal: AbortSignal) => Promise<Connection>
  readonly maxRetryMs: number
  readonly clock: Clock
  readonly random: () => number
  readonly listener: RouteListener
}

/** The way to one server: a Redis alone, or the one that Sentinels name. */
export class ServerRoute implements Route {
  readonly #kept: KeptConnection
  readonly #open: ServerRouteOptions['open']

  constructor({ open, listener, ...rest }: ServerRouteOptions) {
    this.#open = open
    this.#kept = new KeptConnection({
      ...rest,
      open: (signal) => {
        listener.onReconnect()
        return open(signal)
      },
      onChange: (connection, error) => listener.onState(connection !== undefined, error),
    })
  }

  start(): Promise<void> {
    return this.#kept.start()
  }

  close(): void {
    this.#kept.close()
  }

  async send(_key: string | undefined, name: string, args: readonly RedisArgument[]): Promise<unknown> {
    const connection = this.#kept.current
    if (connection === undefined) throw new RedisError('REDIS_AWAY', `${name}: Redis is away`)
    try {
      return await connection.send(name, args)
    } catch (error) {
      // Another server may have taken its place, or will; the next connection finds out.
      if (isUnfit(error)) this.#kept.giveUp(connection, error.message)
      throw error
    }
  }

  masters(): readonly Connection[] {
    return this.#kept.current === undefined ? [] : [this.#kept.current]
  }

  openSubscriber(signal: AbortSignal): Promise<Connection> {
    return this.#open(signal)
  }
}
