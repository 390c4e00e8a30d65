import type { Connection } from './connection.ts'
import type { RedisArgument } from './contract.ts'
import type { RedisError } from './errors.ts'

/** What hears of a route's state. */
export interface RouteListener {
  /** Everything that Redis has is answered for, or it is not, and why. May say the same again. */
  onState(isUp: boolean, error?: RedisError): void
  /** An attempt to reconnect. */
  onReconnect(): void
}

/** How commands get to the servers of one form of Redis. */
export interface Route {
  /** Resolves when it is known whether Redis answers. */
  start(): Promise<void>
  close(): void
  /** Sends a command to where its key is; without a key, to any server. */
  send(key: string | undefined, name: string, args: readonly RedisArgument[]): Promise<unknown>
  /** The servers that have the keys, each of them once; only those that are connected. */
  masters(): readonly Connection[]
  /** Opens a connection of its own for what is published. */
  openSubscriber(signal: AbortSignal): Promise<Connection>
}
