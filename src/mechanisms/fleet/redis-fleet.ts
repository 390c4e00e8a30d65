import { randomUUID } from 'node:crypto'
import { type Clock, systemClock, type Timer } from '../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import type { Redis } from '../redis/index.ts'
import { LinePace, type Logger, type Registry } from '../telemetry/index.ts'
import type { Fleet, FleetMember, GatewayId } from './contract.ts'
import { fleetError } from './errors.ts'
import { FleetBus } from './fleet-bus.ts'
import { registerFleetMetrics } from './fleet-metrics.ts'
import { LEAVE, RENEW } from './fleet-scripts.ts'
import { isGatewayId } from './gateway-id.ts'
import { Listeners } from './listeners.ts'
import type { Describe } from './lone-fleet.ts'
import { checkEntry, entryText, MAX_ENTRY_BYTES, type MemberEntry, parseEntry } from './member-entry.ts'
import { MemberTable } from './member-table.ts'

export interface RedisFleetOptions {
  readonly redis: Redis
  /** Of this run: `newGatewayId`. */
  readonly id: GatewayId
  readonly version: string
  /** Called whenever it speaks: at each renewal. */
  readonly describe: Describe
  readonly logger: Logger
  readonly registry: Registry
  /** A gateway that has not renewed its entry for so long is gone; it does so three times as often. @defaultValue 15000 */
  readonly leaseMs?: number
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

const DEFAULTS = { leaseMs: 15_000 }
const LEASE_RANGE_MS = { min: 1000, max: 3_600_000 }
/** Most gateways of one fleet; a further one is not announced. */
const MAX_MEMBERS = 1000
/** Ids in one question to Redis. */
const MAX_IDS = 500
/** How long `close` waits for its goodbye to be heard. */
const GOODBYE_MS = 1000
/** Of the messages by which a gateway speaks of itself. */
const TOPIC = 'sluice-fleet'

/**
 * The gateways that share a Redis. Each keeps an entry there which runs out by itself, so that one that was killed is
 * missed by all others at the end of its lease.
 */
export class RedisFleet implements Fleet, Lifecycle {
  readonly id: GatewayId
  readonly #redis: Redis
  readonly #key: string
  readonly #version: string
  readonly #describe: Describe
  readonly #leaseMs: number
  readonly #clock: Clock
  readonly #log: Logger
  readonly #pace: LinePace
  readonly #bus: FleetBus
  readonly #others = new MemberTable()
  readonly #gone: Listeners<[id: GatewayId]>
  readonly #return: Listeners<[]>
  #startedMs: number
  #instance: string = randomUUID()
  #self: MemberEntry | undefined
  #isOpen = false
  /** Whether it has been announced since it started. */
  #wasAnnounced = false
  /** Redis was away, so that what is kept there must be said again. */
  #mustReturn = false
  /** From when on somebody who is not in Redis is gone: all may have been cut off before. */
  #sureFromMs = Infinity
  #renewal: Promise<void> | undefined
  #timer: Timer | undefined
  #ends: readonly (() => void)[] = []

  /** @throws FLEET_BAD_OPTION */
  constructor(options: RedisFleetOptions) {
    const { leaseMs, clock } = { clock: systemClock, ...DEFAULTS, ...options }
    const { min, max } = LEASE_RANGE_MS
    if (!(leaseMs >= min && leaseMs <= max)) {
      throw fleetError('FLEET_BAD_OPTION', `leaseMs is ${leaseMs}, allowed are ${min} to ${max}`)
    }
    this.id = options.id
    this.#redis = options.redis
    this.#key = options.redis.key('sluice-gateways')
    this.#version = options.version
    this.#describe = options.describe
    this.#leaseMs = leaseMs
    this.#clock = clock
    this.#startedMs = clock.wallMs()
    this.#log = options.logger.child({ component: 'fleet' })
    this.#pace = new LinePace(clock)
    const told = { log: this.#log, pace: this.#pace }
    this.#bus = new FleetBus({ redis: this.#redis, id: this.id, ...told })
    this.#gone = new Listeners('gone', told)
    this.#return = new Listeners('return', told)
    this.#bus.on(TOPIC, (data, from) => this.#hear(data, from))
    registerFleetMetrics(options.registry, {
      gateways: () => this.#others.size + 1,
      messages: this.#bus.counts,
    })
  }

  /** Resolves when it has announced itself, or could not for now: that Redis is away is no failure. */
  async start(_options?: StartOptions): Promise<void> {
    if (this.#isOpen) return
    this.#isOpen = true
    this.#startedMs = this.#clock.wallMs()
    this.#instance = randomUUID()
    this.#wasAnnounced = false
    this.#mustReturn = !this.#redis.isUp
    this.#sureFromMs = Infinity
    this.#bus.start()
    this.#ends = [this.#redis.onChange((isUp) => this.#redisChanged(isUp))]
    await this.#renew()
    if (!this.#wasAnnounced) this.#mustReturn = true
  }

  /** Says goodbye, so that others need not wait for the end of the lease. */
  async close(_options?: CloseOptions): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#timer?.cancel()
    for (const end of this.#ends) end()
    this.#bus.stop()
    let deadline: Timer | undefined
    const late = new Promise<void>((resolve) => {
      deadline = this.#clock.after(GOODBYE_MS, resolve)
    })
    await Promise.race([this.#sayGoodbye(), late])
    deadline?.cancel()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  members(): readonly FleetMember[] {
    const all: readonly FleetMember[] = [(this.#self ??= this.#entry()), ...this.#others.list()]
    return all.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  }

  async gone(ids: readonly GatewayId[]): Promise<ReadonlySet<GatewayId>> {
    const unknown = [...new Set(ids)].filter((id) => id !== this.id && !this.#others.has(id))
    const gone = new Set<GatewayId>()
    // While Redis is away the question fails as any other does.
    if (this.#redis.isUp && !this.#isSure()) return gone
    for (let at = 0; at < unknown.length; at += MAX_IDS) {
      const asked = unknown.slice(at, at + MAX_IDS)
      // What has run out is taken away by whoever renews next, so what is there is alive, or was so just now.
      const found = await this.#redis.command('HMGET', this.#key, ...asked)
      if (!Array.isArray(found) || found.length !== asked.length) break
      for (const [index, id] of asked.entries()) if (found[index] === null) gone.add(id)
    }
    return this.#isSure() ? gone : new Set()
  }

  /** Says at once what `describe` gives now: that it drains, for instance. Resolves when it is said, or could not be. */
  async announce(): Promise<void> {
    await this.#renewal
    await this.#renew()
    if (this.#isOpen && this.#self !== undefined) await this.#bus.send('all', TOPIC, { is: this.#self })
  }

  send(to: GatewayId | 'all', topic: string, data: unknown): void {
    void this.#bus.send(to, topic, data)
  }

  on(topic: string, handler: (data: unknown, from: GatewayId) => void): () => void {
    return this.#bus.on(topic, handler)
  }

  onGone(listener: (id: GatewayId) => void): () => void {
    return this.#gone.add(listener)
  }

  onReturn(listener: () => void): () => void {
    return this.#return.add(listener)
  }

  #redisChanged(isUp: boolean): void {
    this.#sureFromMs = Infinity
    this.#mustReturn = true
    if (isUp) void this.#renew()
  }

  /** Renewals do not overlap. Never rejects. */
  #renew(): Promise<void> {
    this.#renewal ??= this.#renewOnce().finally(() => {
      this.#renewal = undefined
    })
    return this.#renewal
  }

  async #renewOnce(): Promise<void> {
    if (!this.#isOpen) return
    this.#timer?.cancel()
    let isDone = false
    try {
      this.#self = this.#entry()
      const args = [this.id, entryText(this.#self), this.#leaseMs, MAX_MEMBERS, MAX_ENTRY_BYTES]
      const answer = await this.#redis.run(RENEW, [this.#key], args)
      // What comes after the goodbye has been taken away with it, or ends with its lease.
      if (!this.#isOpen) return
      isDone = this.#take(answer)
    } catch (error) {
      const fields = { code: errorCode(error), reason: errorMessage(error) }
      // That Redis is away the connection has told.
      if (this.#redis.isUp) this.#line('warn', fields, 'gateway cannot announce itself')
    }
    if (!this.#isOpen) return
    this.#timer = this.#clock.after(isDone ? this.#leaseMs / 3 : this.#leaseMs / 15, () => void this.#renew())
  }

  /** False when this gateway is not announced. */
  #take(answer: unknown): boolean {
    if (!Array.isArray(answer) || answer[0] !== 'ok') {
      this.#line(
        'error',
        { most: MAX_MEMBERS },
        'too many gateways share this Redis, this one is not announced',
      )
      return false
    }
    const [, own, ...rest] = answer.map(String)
    const wasLost = own === ''
    if (!wasLost && this.#wasAnnounced) this.#checkTwin(own)
    const mustReturn = this.#mustReturn || (wasLost && this.#wasAnnounced)
    // Whoever has only just come, or come back, cannot tell those that are cut off from those that have gone.
    if (mustReturn || !this.#wasAnnounced) this.#sureFromMs = this.#clock.nowMs() + this.#leaseMs
    this.#wasAnnounced = true
    this.#mustReturn = false
    for (const id of this.#others.replace(this.#entries(rest), !this.#isSure())) this.#hasGone(id)
    if (mustReturn) {
      this.#line('info', { wasLost }, 'Redis is back, what this gateway holds is said again')
      this.#return.call()
    }
    return true
  }

  #entries(pairs: readonly string[]): readonly MemberEntry[] {
    const entries: MemberEntry[] = []
    for (let at = 0; at + 1 < pairs.length && entries.length < MAX_MEMBERS; at += 2) {
      const [id = '', text = ''] = pairs.slice(at, at + 2)
      const entry = isGatewayId(id) ? parseEntry(id, text) : undefined
      if (entry === undefined) this.#line('warn', { bytes: text.length }, 'entry of a gateway cannot be read')
      else entries.push(entry)
    }
    return entries
  }

  /** Another one that renews the same entry would be told of goodbyes and sessions that are not its own. */
  #checkTwin(own = ''): void {
    const found = parseEntry(this.id, own)
    if (found === undefined || found.instance === this.#instance) return
    this.#line('error', { gateway: this.id }, 'another gateway has the same id: give each its own')
  }

  #hear(data: unknown, from: GatewayId): void {
    const { is, bye }: { is?: unknown; bye?: unknown } = typeof data === 'object' && data !== null ? data : {}
    const entry = checkEntry(from, is)
    if (entry !== undefined) this.#others.update(entry)
    else if (typeof bye === 'string' && bye.length <= 64 && this.#others.leave(from, bye)) this.#hasGone(from)
  }

  #hasGone(id: GatewayId): void {
    this.#log.info({ gateway: id }, 'a gateway has gone')
    this.#gone.call(id)
  }

  async #sayGoodbye(): Promise<void> {
    try {
      await this.#renewal
      await this.#redis.run(LEAVE, [this.#key], [this.id, this.#instance])
    } catch (error) {
      this.#log.debug({ code: errorCode(error) }, 'goodbye not said, the lease ends by itself')
    }
    await this.#bus.send('all', TOPIC, { bye: this.#instance })
  }

  #isSure(): boolean {
    return this.#redis.isUp && this.#clock.nowMs() >= this.#sureFromMs
  }

  #entry(): MemberEntry {
    const { addresses, load, isDraining } = this.#describe()
    return {
      id: this.id,
      instance: this.#instance,
      version: this.#version,
      startedMs: this.#startedMs,
      addresses,
      isDraining,
      load,
    }
  }

  #line(level: 'info' | 'warn' | 'error', fields: object, text: string): void {
    const due = this.#pace.due(text)
    if (due !== undefined) this.#log[level]({ ...fields, ...due }, text)
  }
}
