import { createHash } from 'node:crypto'
import type { Clock, Timer } from '../../foundation/clock.ts'
import { errorMessage } from '../../foundation/errors.ts'
import type { Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import { LinePace, type Logger, type Registry } from '../telemetry/index.ts'
import type { Redis, RedisArgument, RedisScript } from './contract.ts'
import { within } from './deadline.ts'
import { RedisError } from './errors.ts'
import { type CommandResult, RedisMetrics } from './redis-metrics.ts'
import type { Route, RouteListener } from './route.ts'
import { Subscriptions } from './subscriptions.ts'

/** What a link is made of. */
export interface RedisLinkParts {
  /** Makes the way to the servers; this is where what cannot come right by itself fails. */
  readonly openRoute: (listener: RouteListener) => Promise<Route>
  /** Names the place in the log. */
  readonly place: string
  readonly prefix: string
  readonly database: number
  readonly timeoutMs: number
  /** How long `start` waits for the first attempt to connect, in milliseconds. */
  readonly startMs: number
  /** Most commands that wait for their answers. */
  readonly maxInFlight: number
  readonly maxRetryMs: number
  readonly clock: Clock
  readonly random: () => number
  readonly logger: Logger
  readonly registry: Registry | undefined
}

const SCAN_COUNT = 1000

/** Answers that a SCAN asks for before it gives up a server that never comes to an end. */
const MAX_SCAN_ROUNDS = 100_000

/** The connection to a Redis of any form. */
export class RedisLink implements Redis, Lifecycle {
  readonly #parts: RedisLinkParts
  readonly #log: Logger
  readonly #pace: LinePace
  readonly #metrics: RedisMetrics
  readonly #listeners = new Set<(isUp: boolean) => void>()
  readonly #hashes = new Map<string, string>()
  readonly #subscriptions: Subscriptions
  #route: Route | undefined
  #isUp = false
  #isClosed = false
  /** Commands whose answers have not come, those that nobody waits for any longer included. */
  #inFlight = 0
  /** Since when it is away, and whether the log says so. */
  #awaySinceMs = 0
  #isToldAway = false
  #hasTold = false

  constructor(parts: RedisLinkParts) {
    this.#parts = parts
    this.#log = parts.logger.child({ component: 'redis' })
    this.#pace = new LinePace(parts.clock)
    this.#metrics = new RedisMetrics(
      parts.registry,
      () => this.#isUp,
      () => this.#inFlight,
    )
    this.#subscriptions = new Subscriptions({
      open: async (signal) => {
        if (this.#route === undefined) throw new RedisError('REDIS_AWAY', 'not started')
        return await this.#route.openSubscriber(signal)
      },
      maxRetryMs: parts.maxRetryMs,
      clock: parts.clock,
      random: parts.random,
      isUp: () => this.#isUp,
      log: this.#log,
    })
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /**
   * Connects. A Redis that is away is not an error: the log says so, and it is tried again until it is there. Nor is one of
   * many servers that swallow what is sent: after a while it goes on connecting in the background.
   * @throws REDIS_BAD_OPTION when a file of TLS cannot be used
   */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#route !== undefined || this.#isClosed) return
    signal?.throwIfAborted()
    this.#awaySinceMs = this.#parts.clock.nowMs()
    const route = await this.#parts.openRoute({
      onState: (isUp, error) => this.#changed(isUp, error),
      onReconnect: () => void this.#metrics.reconnects++,
    })
    signal?.throwIfAborted()
    if (this.#isClosed) return
    this.#route = route
    const abort = (): void => void this.close()
    signal?.addEventListener('abort', abort, { once: true })
    await this.#untilTried(route)
    signal?.removeEventListener('abort', abort)
    signal?.throwIfAborted()
    if (!this.#isClosed) this.#subscriptions.start()
  }

  async #untilTried(route: Route): Promise<void> {
    const { clock, startMs } = this.#parts
    let timer: Timer | undefined
    const late = new Promise<void>((resolve) => {
      timer = clock.after(startMs, resolve)
    })
    await Promise.race([route.start(), late])
    timer?.cancel()
  }

  close(): Promise<void> {
    this.#isClosed = true
    this.#subscriptions.close()
    this.#route?.close()
    this.#isUp = false
    this.#listeners.clear()
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  key(name: string): string {
    return this.#parts.prefix === '' ? name : `${this.#parts.prefix}:${name}`
  }

  async command(name: string, ...args: readonly RedisArgument[]): Promise<unknown> {
    const upper = name.toUpperCase()
    return await this.#send(upper, args[0] === undefined ? undefined : String(args[0]), upper, args)
  }

  async run(script: RedisScript, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown> {
    const rest = [keys.length, ...keys, ...args]
    try {
      return await this.#send(script.name, keys[0], 'EVALSHA', [this.#hashOf(script.lua), ...rest])
    } catch (error) {
      // New servers, and those that were restarted, do not know it.
      if (!(error instanceof RedisError) || error.reply !== 'NOSCRIPT') throw error
      return await this.#send(script.name, keys[0], 'EVAL', [script.lua, ...rest])
    }
  }

  async scan(pattern: string, limit: number): Promise<readonly string[]> {
    const found = new Set<string>()
    if (this.#route === undefined || !this.#isUp) throw new RedisError('REDIS_AWAY', 'SCAN: Redis is away')
    for (const server of this.#route.masters()) {
      let cursor = '0'
      for (let round = 0; round < MAX_SCAN_ROUNDS && found.size < limit; round++) {
        const args = [cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT]
        const answer = await this.#timed('SCAN', 'SCAN', () => server.send('SCAN', args))
        const [next, keys] = Array.isArray(answer) ? (answer as readonly unknown[]) : []
        for (const key of Array.isArray(keys) ? (keys as readonly unknown[]) : []) {
          if (typeof key === 'string' && found.size < limit) found.add(key)
        }
        if (typeof next !== 'string' || next === '0') break
        cursor = next
      }
    }
    return [...found]
  }

  subscribe(channel: string, onMessage: (message: string) => void): () => void {
    return this.#subscriptions.add(this.#channel(channel), onMessage)
  }

  async publish(channel: string, message: string): Promise<void> {
    const name = this.#channel(channel)
    await this.#send('PUBLISH', name, 'PUBLISH', [name, message])
  }

  onChange(listener: (isUp: boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async #send(
    label: string,
    key: string | undefined,
    name: string,
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    return await this.#timed(label, name, (route) => route.send(key, name, args))
  }

  /** Sends a command, which ends at its deadline, and counts how it ended. */
  async #timed(label: string, name: string, send: (route: Route) => Promise<unknown>): Promise<unknown> {
    const { clock, timeoutMs, maxInFlight } = this.#parts
    const route = this.#route
    const sinceMs = clock.nowMs()
    let result: CommandResult = 'ok'
    try {
      if (route === undefined || this.#isClosed) throw new RedisError('REDIS_AWAY', `${name}: not connected`)
      if (this.#inFlight >= maxInFlight) {
        result = 'dropped'
        throw new RedisError('REDIS_AWAY', `${name}: ${maxInFlight} commands wait for their answers already`)
      }
      this.#inFlight++
      const answer = send(route).finally(() => void this.#inFlight--)
      return await within(clock, timeoutMs, name, answer)
    } catch (error) {
      if (result === 'dropped')
        this.#warn('dropped', { reason: errorMessage(error) }, 'too many commands to Redis')
      else result = resultOf(error)
      throw error
    } finally {
      this.#metrics.ended(label, result, clock.nowMs() - sinceMs)
    }
  }

  /** Channels are none of any database: fleets in two of them would hear one another. */
  #channel(name: string): string {
    const { database } = this.#parts
    return database === 0 ? name : `${name}@${database}`
  }

  #hashOf(lua: string): string {
    const known = this.#hashes.get(lua)
    if (known !== undefined) return known
    const hash = createHash('sha1').update(lua).digest('hex')
    this.#hashes.set(lua, hash)
    return hash
  }

  #changed(isUp: boolean, error: RedisError | undefined): void {
    if (this.#isClosed) return
    const hasChanged = isUp !== this.#isUp
    this.#isUp = isUp
    if (hasChanged && !isUp) this.#awaySinceMs = this.#parts.clock.nowMs()
    this.#tell(error)
    if (!hasChanged) return
    for (const listener of this.#listeners) {
      try {
        listener(isUp)
      } catch (error_) {
        this.#log.error({ error: errorMessage(error_) }, 'a listener of the connection to Redis failed')
      }
    }
  }

  /** One line when it is away, one when it is back; what an operator must put right is said again from time to time. */
  #tell(error: RedisError | undefined): void {
    const { place, clock } = this.#parts
    if (this.#isUp) {
      if (this.#hasTold && !this.#isToldAway) return
      const awaySeconds = Math.round(clock.nowMs() - this.#awaySinceMs) / 1000
      this.#log.info({ place, ...(this.#isToldAway && { awaySeconds }) }, 'Redis answers')
      this.#hasTold = true
      this.#isToldAway = false
      return
    }
    const fields = { place, reason: error?.message }
    if (error?.code === 'REDIS_REFUSED') {
      const due = this.#pace.due('refused')
      if (due === undefined) return
      this.#log.error({ ...fields, ...due }, 'Redis refuses us, the gateway goes on without it')
    } else {
      if (this.#isToldAway) return
      const due = this.#pace.due('away')
      if (due === undefined) return
      this.#log.warn({ ...fields, ...due }, 'Redis is away, the gateway goes on without it')
    }
    this.#hasTold = true
    this.#isToldAway = true
  }

  #warn(cause: string, fields: object, message: string): void {
    const due = this.#pace.due(cause)
    if (due !== undefined) this.#log.warn({ ...fields, ...due }, message)
  }
}

function resultOf(error: unknown): CommandResult {
  // A script is sent whole then; nothing is wrong.
  if (error instanceof RedisError && error.reply === 'NOSCRIPT') return 'ok'
  if (!(error instanceof RedisError) || error.code === 'REDIS_REFUSED') return 'refused'
  return error.code === 'REDIS_SLOW' ? 'slow' : 'away'
}
