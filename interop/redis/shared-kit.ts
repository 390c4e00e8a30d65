import type { ManualClock } from '../../src/foundation/clock.ts'
import { MemoryBalancerStore, RedisBalancerStore } from '../../src/mechanisms/balancer/index.ts'
import { type Fleet, type FleetMember, type GatewayId, gatewayId } from '../../src/mechanisms/fleet/index.ts'
import {
  createRedis,
  type Redis,
  type RedisArgument,
  RedisError,
  type RedisLink,
  type RedisScript,
} from '../../src/mechanisms/redis/index.ts'
import { createLogger, createRegistry } from '../../src/mechanisms/telemetry/index.ts'

/** Counts what is asked of a Redis, and can lose its answers, or be away. */
export class WatchedRedis implements Redis {
  readonly #link: RedisLink
  /** Commands and scripts so far, by name. */
  readonly asked: string[] = []
  /** Those whose answers have not come, now and at most. */
  inFlight = 0
  mostInFlight = 0
  isAway = false
  /** Of these commands or scripts the answer is lost, though they are done, after so many have come. */
  readonly loses = new Map<string, number>()
  /** Answers to these wait until `letGo`. */
  readonly holdsBack = new Set<string>()
  readonly #heldBack: (() => void)[] = []

  constructor(link: RedisLink) {
    this.#link = link
  }

  get isUp(): boolean {
    return !this.isAway && this.#link.isUp
  }

  /** Answers that were held back come now. */
  letGo(): void {
    this.holdsBack.clear()
    for (const go of this.#heldBack.splice(0)) go()
  }

  key(name: string): string {
    return this.#link.key(name)
  }

  command(name: string, ...args: readonly RedisArgument[]): Promise<unknown> {
    return this.#watch(name, () => this.#link.command(name, ...args))
  }

  run(script: RedisScript, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown> {
    return this.#watch(script.name, () => this.#link.run(script, keys, args))
  }

  scan(pattern: string, limit: number): Promise<readonly string[]> {
    return this.#link.scan(pattern, limit)
  }

  subscribe(): () => void {
    return () => {}
  }

  publish(): Promise<void> {
    return Promise.resolve()
  }

  onChange(): () => void {
    return () => {}
  }

  /** When all that was begun has been answered, and what follows from that, too. */
  async settled(): Promise<void> {
    for (let round = 0; round < 10; round++) await this.#link.command('EXISTS', this.key('any'))
  }

  async #watch<T>(name: string, ask: () => Promise<T>): Promise<T> {
    if (this.isAway) throw new RedisError('REDIS_AWAY', name)
    this.asked.push(name)
    this.inFlight++
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight)
    try {
      const answer = await ask()
      if (this.holdsBack.has(name)) await new Promise<void>((go) => void this.#heldBack.push(go))
      const passes = this.loses.get(name)
      if (passes === 0) throw new RedisError('REDIS_SLOW', name)
      if (passes !== undefined) this.loses.set(name, passes - 1)
      return answer
    } finally {
      this.inFlight--
    }
  }
}

type Handler = (data: unknown, from: GatewayId) => void

/** What goes between gateways of one process. */
export class Messages {
  readonly #fleets = new Set<MessageFleet>()
  readonly gone = new Set<string>()
  isLost = false

  join(fleet: MessageFleet): void {
    this.#fleets.add(fleet)
  }

  send(from: MessageFleet, to: string, topic: string, data: unknown): void {
    if (this.isLost) return
    for (const fleet of this.#fleets)
      if (fleet !== from && (to === 'all' || to === fleet.id))
        for (const handler of fleet.handlers.get(topic) ?? [])
          handler(JSON.parse(JSON.stringify(data)), from.id)
  }

  leave(id: GatewayId): void {
    this.gone.add(id)
    for (const fleet of this.#fleets) for (const listener of fleet.goneListeners) listener(id)
  }
}

/** A fleet without leases; messages arrive at once. */
export class MessageFleet implements Fleet {
  readonly id: GatewayId
  readonly #messages: Messages
  readonly handlers = new Map<string, Set<Handler>>()
  readonly goneListeners = new Set<(id: GatewayId) => void>()
  readonly #returns = new Set<() => void>()

  constructor(name: string, messages: Messages) {
    this.id = gatewayId(name)
    this.#messages = messages
    messages.join(this)
  }

  members(): readonly FleetMember[] {
    return []
  }

  gone(ids: readonly GatewayId[]): Promise<ReadonlySet<GatewayId>> {
    return Promise.resolve(new Set(ids.filter((id) => this.#messages.gone.has(id))))
  }

  send(to: GatewayId | 'all', topic: string, data: unknown): void {
    this.#messages.send(this, to, topic, data)
  }

  on(topic: string, handler: Handler): () => void {
    const handlers = this.handlers.get(topic) ?? new Set()
    this.handlers.set(topic, handlers.add(handler))
    return () => void handlers.delete(handler)
  }

  onGone(listener: (id: GatewayId) => void): () => void {
    this.goneListeners.add(listener)
    return () => void this.goneListeners.delete(listener)
  }

  onReturn(listener: () => void): () => void {
    this.#returns.add(listener)
    return () => void this.#returns.delete(listener)
  }

  return(): void {
    for (const listener of this.#returns) listener()
  }
}

/** A gateway's store whose time, messages and Redis are in the hands of a test. */
export interface WatchedGateway extends AsyncDisposable {
  readonly store: RedisBalancerStore
  readonly redis: WatchedRedis
  readonly fleet: MessageFleet
  readonly clock: ManualClock
}

export interface WatchedGatewayOptions {
  readonly url: string
  readonly prefix: string
  readonly messages: Messages
  readonly clock: ManualClock
  readonly maxPicks?: number
}

export async function openWatched(
  name: string,
  { url, prefix, messages, clock, maxPicks }: WatchedGatewayOptions,
): Promise<WatchedGateway> {
  const logger = createLogger({ level: 'silent' })
  const registry = createRegistry('test')
  // However slow the machine is.
  const link = createRedis({ url, prefix, timeoutSeconds: 30, logger, registry })
  await link.start()
  const redis = new WatchedRedis(link)
  const fleet = new MessageFleet(name, messages)
  const local = new MemoryBalancerStore({ clock, ...(maxPicks !== undefined && { maxPicks }) })
  const store = new RedisBalancerStore({
    redis,
    fleet,
    local,
    logger,
    registry,
    clock,
    // Waits come to their end at once.
    random: () => 0,
  })
  await store.start()
  return {
    store,
    redis,
    fleet,
    clock,
    async [Symbol.asyncDispose]() {
      await store.close()
      await link.close()
    },
  }
}
