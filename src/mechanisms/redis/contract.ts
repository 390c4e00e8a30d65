/** What others need of a Redis, whatever its form: one server, Sentinel or Cluster. */

/** A script whose keys all live in one slot (Cluster runs no other). Sent by its hash; the text only where that is not known. */
export interface RedisScript {
  /** Names it in logs and metrics. */
  readonly name: string
  readonly lua: string
}

/** What a command takes. */
export type RedisArgument = string | number | Buffer

/**
 * The connection to Redis. It never queues: a command is written at once or fails at once, so that what is away costs its
 * callers nothing. Every failure is a SluiceError: REDIS_AWAY (not connected, or too many commands wait for their answers),
 * REDIS_SLOW (no answer in time; it may have been done), REDIS_REFUSED (Redis answered with an error).
 */
export interface Redis {
  /** Whether commands are answered at present. */
  readonly isUp: boolean
  /** The text of a key in Redis: with the configured prefix and a colon before it, as the SRS proxy does it. */
  key(name: string): string
  /** Runs one command of one key. Commands of one tick go out together. */
  command(name: string, ...args: readonly RedisArgument[]): Promise<unknown>
  /** Runs a script atomically. `keys` are whole texts, as `key` gives them. */
  run(script: RedisScript, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown>
  /** Keys that match a pattern of SCAN, on every server of a Cluster; at most `limit`. For operators' requests. */
  scan(pattern: string, limit: number): Promise<readonly string[]>
  /** Hears a channel, also after a reconnect; what is published meanwhile is lost. The function ends it. */
  subscribe(channel: string, onMessage: (message: string) => void): () => void
  /** Fails as a command does. */
  publish(channel: string, message: string): Promise<void>
  /** Called when `isUp` has changed. The function ends it. */
  onChange(listener: (isUp: boolean) => void): () => void
}
