import { z } from 'zod'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { Fleet } from '../../fleet/index.ts'
import type { Redis } from '../../redis/index.ts'
import { LinePace, type Logger } from '../../telemetry/index.ts'
import type { OriginId } from '../contract.ts'
import type { MemoryBalancerStore } from '../memory-store.ts'
import { isOriginId } from '../origin-id.ts'
import { parseStreamKey, type StreamKey } from '../stream-key.ts'
import { readJson } from './json-text.ts'
import { KEY } from './keys.ts'
import type { SharedOrigins } from './shared-origins.ts'
import { textsOf } from './stream-place.ts'

export interface SharedOrdersOptions {
  readonly redis: Redis
  readonly fleet: Fleet
  readonly local: MemoryBalancerStore
  readonly origins: SharedOrigins
  readonly clock: Clock
  readonly logger: Logger
  /** A number in [0, 1). */
  readonly random: () => number
}

/** Where a stream is pinned; `server` and `ip` outlive restarts of the origin. */
const pinSchema = z.object({
  origin: z.string().max(1024),
  server: z.string().max(255),
  ip: z.string().max(255),
})

/** How often all orders are read, in milliseconds, a tenth more or less: new ones are told besides. */
const REFRESH_MS = 60_000
const MOST_LENGTH = 4096
const TOPIC = 'orders'

/** What operators have said: which origins drain, and which streams are pinned where. All gateways have all of it. */
export class SharedOrders {
  readonly #redis: Redis
  readonly #fleet: Fleet
  readonly #local: MemoryBalancerStore
  readonly #origins: SharedOrigins
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #random: () => number
  readonly #pace: LinePace
  readonly #pins = new Map<StreamKey, string>()
  readonly #drained = new Set<OriginId>()
  #timer: Timer | undefined
  #stops: (() => void)[] = []

  constructor(options: SharedOrdersOptions) {
    this.#redis = options.redis
    this.#fleet = options.fleet
    this.#local = options.local
    this.#origins = options.origins
    this.#clock = options.clock
    this.#logger = options.logger
    this.#random = options.random
    this.#pace = new LinePace(options.clock)
  }

  /** Resolves when the orders that stand are in force here, or Redis is away. */
  async start(): Promise<void> {
    this.#stops = [
      this.#fleet.on(TOPIC, () => void this.#try(() => this.#read())),
      this.#fleet.onReturn(() => void this.#try(() => this.#sayAll())),
    ]
    this.#schedule()
    await this.#try(() => this.#read())
  }

  close(): void {
    this.#timer?.cancel()
    for (const stop of this.#stops.splice(0)) stop()
  }

  /** As `OriginRegistry.drain`. */
  async drain(id: OriginId, draining: boolean): Promise<boolean> {
    const isThere = (await this.#try(() => this.#origins.ensure(id))) ?? false
    if (!(await this.#local.drain(id, draining)) && !isThere) return false
    if (draining) this.#drained.add(id)
    else this.#drained.delete(id)
    await this.#try(async () => {
      const key = this.#redis.key(KEY.drained)
      await (draining ? this.#redis.command('HSET', key, id, '1') : this.#redis.command('HDEL', key, id))
      this.#fleet.send('all', TOPIC, {})
    })
    return true
  }

  /** As `Balancer.pin`. */
  async pin(key: StreamKey, id: OriginId): Promise<boolean> {
    await this.#try(() => this.#origins.ensure(id))
    const origin = await this.#local.findOrigin(id)
    if (origin === undefined || !(await this.#local.pin(key, id))) return false
    const text = JSON.stringify({ origin: id, server: origin.server, ip: origin.ip })
    this.#pins.set(key, text)
    await this.#try(async () => {
      await this.#redis.command('HSET', this.#redis.key(KEY.pins), key, text)
      this.#fleet.send('all', TOPIC, {})
    })
    return true
  }

  /** The pin of a key goes. False when there was none. */
  async unpin(key: StreamKey): Promise<boolean> {
    const wasHere = this.#pins.delete(key)
    const gone = await this.#try(() => this.#redis.command('HDEL', this.#redis.key(KEY.pins), key))
    return wasHere || gone === 1
  }

  /** An origin was removed, and what was said of it goes. */
  async forget(id: OriginId): Promise<void> {
    this.#drained.delete(id)
    const pinned = [...this.#pins].filter(([, text]) => pinOf(text)?.origin === id).map(([key]) => key)
    for (const key of pinned) await this.unpin(key)
    await this.#try(() => this.#redis.command('HDEL', this.#redis.key(KEY.drained), id))
  }

  async #read(): Promise<void> {
    const [drained, pins] = await Promise.all(
      [KEY.drained, KEY.pins].map((name) => this.#redis.command('HGETALL', this.#redis.key(name))),
    )
    const drains = new Set([...textsOf(drained).keys()].filter(isOriginId))
    for (const id of this.#drained) if (!drains.has(id)) await this.#local.drain(id, false)
    for (const id of drains) await this.#local.drain(id, true)
    this.#drained.clear()
    for (const id of drains) this.#drained.add(id)
    await this.#takePins(textsOf(pins))
  }

  async #takePins(pins: ReadonlyMap<string, string>): Promise<void> {
    for (const key of this.#pins.keys()) {
      if (pins.has(key)) continue
      this.#pins.delete(key)
      this.#local.unpin(key)
    }
    for (const [name, text] of pins) {
      const key = streamKeyOfText(name)
      const pin = pinOf(text)
      if (key === undefined || pin === undefined) continue
      const id = await this.#originOf(pin)
      this.#pins.set(key, text)
      if (id !== undefined && this.#local.pinnedAt(key) !== id) await this.#local.pin(key, id)
    }
  }

  /** The pinned origin, or the run of it that took its place. */
  async #originOf({ origin, server, ip }: z.infer<typeof pinSchema>): Promise<OriginId | undefined> {
    if (isOriginId(origin) && (await this.#local.findOrigin(origin)) !== undefined) return origin
    return (await this.#local.list()).find((other) => other.server === server && other.ip === ip)?.id
  }

  /** What Redis has lost is said again; what it has holds, since it may have changed meanwhile. */
  async #sayAll(): Promise<void> {
    const key = this.#redis.key(KEY.pins)
    if ((await this.#redis.command('EXISTS', key)) === 0) {
      for (const [stream, text] of this.#pins) await this.#redis.command('HSET', key, stream, text)
    }
    const drained = this.#redis.key(KEY.drained)
    if ((await this.#redis.command('EXISTS', drained)) === 0) {
      for (const id of this.#drained) await this.#redis.command('HSET', drained, id, '1')
    }
    await this.#read()
  }

  #schedule(): void {
    this.#timer = this.#clock.after(REFRESH_MS * (0.9 + 0.2 * this.#random()), () => {
      void this.#try(() => this.#read())
      this.#schedule()
    })
  }

  async #try<T>(act: () => Promise<T>): Promise<T | undefined> {
    if (!this.#redis.isUp) return undefined
    try {
      return await act()
    } catch (error) {
      const code = errorCode(error)
      const due = this.#pace.due(code)
      if (due !== undefined) this.#logger.warn({ code, ...due }, 'orders not shared')
      return undefined
    }
  }
}

function pinOf(text: string): z.infer<typeof pinSchema> | undefined {
  return readJson(text, MOST_LENGTH, pinSchema)
}

function streamKeyOfText(text: string): StreamKey | undefined {
  try {
    return parseStreamKey(text)
  } catch {
    return undefined
  }
}
