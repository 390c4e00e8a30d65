import { z } from 'zod'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import type { Fleet } from '../../fleet/index.ts'
import type { Redis } from '../../redis/index.ts'
import type { OriginId } from '../contract.ts'
import type { MemoryBalancerStore } from '../memory-store.ts'
import { isOriginId } from '../origin-id.ts'
import { parseStreamKey, type StreamKey } from '../stream-key.ts'
import { readJson } from './json-text.ts'
import { KEY } from './keys.ts'
import type { SharedOrigins } from './shared-origins.ts'
import { Sharing, type SharingParts } from './sharing.ts'
import { textsOf } from './stream-place.ts'

export interface SharedOrdersOptions extends SharingParts {
  readonly origins: SharedOrigins
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
/** Most orders that wait for Redis to hear of them. */
const MOST_OWED = 10_000
/** A read that an order overtook is done again so often. */
const MOST_READS = 5
/** A field of each hash that is no order: an empty hash would be none, and could not be told from one that Redis has lost. */
const MARK = ''
const TOPIC = 'orders'

/** What operators have said: which origins drain, and which streams are pinned where. All gateways have all of it. */
export class SharedOrders {
  readonly #redis: Redis
  readonly #fleet: Fleet
  readonly #local: MemoryBalancerStore
  readonly #origins: SharedOrigins
  readonly #clock: Clock
  readonly #random: () => number
  readonly #sharing: Sharing
  readonly #pins = new Map<StreamKey, string>()
  readonly #drained = new Set<OriginId>()
  /** What could not be said yet. */
  readonly #owed = new Map<string, Order>()
  #given = 0
  #timer: Timer | undefined
  #stops: (() => void)[] = []

  constructor(options: SharedOrdersOptions) {
    this.#redis = options.redis
    this.#fleet = options.fleet
    this.#local = options.local
    this.#origins = options.origins
    this.#clock = options.clock
    this.#random = options.random
    this.#sharing = new Sharing(options, 'orders not shared')
  }

  /** Resolves when the orders that stand are in force here, or Redis is away. */
  async start(): Promise<void> {
    this.#stops = [
      this.#fleet.on(TOPIC, () => void this.#sharing.try(() => this.#read())),
      this.#fleet.onReturn(() => void this.#sharing.try(() => this.#sayAll())),
    ]
    this.#schedule()
    await this.#sharing.try(() => this.#read())
  }

  close(): void {
    this.#timer?.cancel()
    for (const stop of this.#stops.splice(0)) stop()
  }

  /** As `OriginRegistry.drain`. */
  async drain(id: OriginId, draining: boolean): Promise<boolean> {
    const isThere = (await this.#sharing.try(() => this.#origins.ensure(id))) ?? false
    if (!(await this.#local.drain(id, draining)) && !isThere) return false
    if (draining) this.#drained.add(id)
    else this.#drained.delete(id)
    await this.#say({ hash: KEY.drained, field: id, value: draining ? '1' : undefined })
    return true
  }

  /** As `Balancer.pin`. */
  async pin(key: StreamKey, id: OriginId): Promise<boolean> {
    await this.#sharing.try(() => this.#origins.ensure(id))
    const origin = await this.#local.findOrigin(id)
    if (origin === undefined || !(await this.#local.pin(key, id))) return false
    const text = JSON.stringify({ origin: id, server: origin.server, ip: origin.ip })
    this.#pins.set(key, text)
    await this.#say({ hash: KEY.pins, field: key, value: text })
    return true
  }

  /** The pin of a key goes. False when there was none. */
  async unpin(key: StreamKey): Promise<boolean> {
    const wasHere = this.#pins.delete(key)
    const gone = await this.#say({ hash: KEY.pins, field: key, value: undefined })
    return wasHere || gone === 1
  }

  /** An origin was removed, and what was said of it goes. */
  async forget(id: OriginId): Promise<void> {
    this.#drained.delete(id)
    const pinned = [...this.#pins].filter(([, text]) => pinOf(text)?.origin === id).map(([key]) => key)
    for (const key of pinned) await this.unpin(key)
    await this.#say({ hash: KEY.drained, field: id, value: undefined })
  }

  /** Tells all, or will when Redis is back. Gives the answer of Redis. */
  async #say(order: Order): Promise<unknown> {
    this.#given++
    const name = `${order.hash} ${order.field}`
    if (this.#owed.size < MOST_OWED || this.#owed.has(name)) this.#owed.set(name, order)
    return await this.#sharing.try(async () => {
      const answer = await this.#write(order)
      if (this.#owed.get(name) === order) this.#owed.delete(name)
      this.#fleet.send('all', TOPIC, {})
      return answer
    })
  }

  async #write({ hash, field, value }: Order): Promise<unknown> {
    const key = this.#redis.key(hash)
    return value === undefined
      ? await this.#redis.command('HDEL', key, field)
      : await this.#redis.command('HSET', key, field, value, MARK, '')
  }

  async #read(): Promise<void> {
    for (let reads = 0; reads < MOST_READS; reads++) {
      for (const order of [...this.#owed.values()]) await this.#say(order)
      const given = this.#given
      const [drained, pins] = await Promise.all(
        [KEY.drained, KEY.pins].map((name) => this.#redis.command('HGETALL', this.#redis.key(name))),
      )
      // What was ordered here meanwhile may be missing.
      if (given === this.#given) return await this.#take(drained, pins)
    }
  }

  async #take(drained: unknown, pins: unknown): Promise<void> {
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
    const origins = await this.#local.list()
    const runs = new Map(origins.map(({ id, server, ip }) => [`${server} ${ip}`, id]))
    for (const [name, text] of pins) {
      const key = streamKeyOfText(name)
      const pin = pinOf(text)
      if (key === undefined || pin === undefined) continue
      // Or the run of it that took its place.
      const isKnown = isOriginId(pin.origin) && (await this.#local.findOrigin(pin.origin)) !== undefined
      const id = isKnown ? (pin.origin as OriginId) : runs.get(`${pin.server} ${pin.ip}`)
      this.#pins.set(key, text)
      if (id !== undefined && this.#local.pinnedAt(key) !== id) await this.#local.pin(key, id)
    }
  }

  /** What Redis has lost is said again; what it has holds, since it may have changed meanwhile. */
  async #sayAll(): Promise<void> {
    const isLost = async (name: string): Promise<boolean> =>
      (await this.#redis.command('EXISTS', this.#redis.key(name))) === 0
    if (await isLost(KEY.pins)) {
      for (const [field, value] of this.#pins) await this.#write({ hash: KEY.pins, field, value })
    }
    if (await isLost(KEY.drained)) {
      for (const field of this.#drained) await this.#write({ hash: KEY.drained, field, value: '1' })
    }
    await this.#read()
  }

  #schedule(): void {
    this.#timer = this.#clock.after(REFRESH_MS * (0.9 + 0.2 * this.#random()), () => {
      void this.#sharing.try(() => this.#read())
      this.#schedule()
    })
  }
}

/** A field of a hash; without a value it goes. */
interface Order {
  readonly hash: typeof KEY.pins | typeof KEY.drained
  readonly field: string
  readonly value: string | undefined
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
