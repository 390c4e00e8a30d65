import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../foundation/clock.ts'
import { errorCode, errorMessage } from '../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../foundation/lifecycle.ts'
import type { TurnConfig } from '../mechanisms/config/index.ts'
import type { Datapath } from '../mechanisms/datapath/index.ts'
import type { Fleet } from '../mechanisms/fleet/index.ts'
import type { ApiRoute } from '../mechanisms/http-api/index.ts'
import { formatListenAddress } from '../mechanisms/net/index.ts'
import { SharedCounts } from '../mechanisms/quota/index.ts'
import type { Redis } from '../mechanisms/redis/index.ts'
import type { Logger, Registry } from '../mechanisms/telemetry/index.ts'
import {
  type AllocationQuota,
  credentialRoutes,
  EventWebhook,
  MemoryQuota,
  registerEventMetrics,
  ResolvedNames,
  type TurnListenerOptions,
  turnRoutes,
  TurnServer,
  type TurnServerOptions,
} from '../services/turn/index.ts'
import { registerStunnerMetrics } from './stunnerd/stunner-metrics.ts'
import { turnFleetOf, turnSecretOf } from './turn-fleet.ts'
import { makeTurnParts, type TurnParts } from './turn-parts.ts'

export interface TurnRoleOptions {
  readonly datapath: Datapath
  readonly logger: Logger
  readonly registry: Registry
  readonly clock: Clock
  /** Takes HTTP that came on a port which is shared with it. */
  readonly onHttp: NonNullable<TurnListenerOptions['onHttp']>
  readonly ownPorts: NonNullable<TurnServerOptions['ownPorts']>
  /** The gateways among which clients may move, and whose allocations count together. @defaultValue this one alone */
  readonly fleet?: Fleet
  /** Where their allocations are counted; needs `fleet`. @defaultValue each gateway counts its own */
  readonly redis?: Redis
  /** Keys nonces and tickets where `turn.secret` is absent. @defaultValue they are worth nothing elsewhere */
  readonly fleetSecret?: string
}

/** The most that a request for a credential may ask for, unless the configured time is longer, in seconds: a week. */
const maxTtlSeconds = 604_800

/** The TURN role of the gateway: the `[turn]` section in, a running server out, and changes of the section while it runs. */
export class TurnRole implements Lifecycle {
  readonly #options: TurnRoleOptions
  readonly #names: ResolvedNames
  /** How many allocations a user may have. */
  readonly #most = (user: string): number =>
    this.#parts?.maxAllocations(user) ?? this.#config.limits.maxPerUser
  readonly #counts: SharedCounts | undefined
  readonly #quota: AllocationQuota
  #config: TurnConfig
  #server: TurnServer | undefined
  #events: EventWebhook | undefined
  /** Of webhooks before this one. */
  #eventsLost = 0
  #parts: TurnParts | undefined
  /** What nonces and tickets of the running server are keyed with. */
  #secret: string | undefined
  #isClosing = false
  /** Reloads come one after the other. */
  #reloads: Promise<unknown> = Promise.resolve()

  constructor(config: TurnConfig, options: TurnRoleOptions) {
    this.#config = config
    this.#options = options
    const { logger, registry, clock } = options
    this.#counts = this.#sharedCounts()
    this.#quota = this.#counts === undefined ? new MemoryQuota(this.#most) : countedBy(this.#counts)
    registerEventMetrics(registry, () => this.#eventsLost + (this.#events?.lost ?? 0))
    registerStunnerMetrics(registry, {
      allocationCount: () => this.#server?.allocationCount ?? 0,
      listenerStats: () => this.#server?.listenerStats() ?? [],
      // Only STUNner's configuration knows of clusters.
      clusterStats: () => [],
    })
    this.#names = new ResolvedNames({
      clock,
      onError: (error, name) =>
        logger.warn({ name, code: errorCode(error), reason: errorMessage(error) }, 'peer name not resolved'),
    })
  }

  /** Where listeners are bound, by name; undefined when there is no TURN server. */
  get ports(): ReadonlyMap<string, number> | undefined {
    return this.#server?.ports
  }

  /** Where other gateways reach this one's listeners by UDP, as `address:port`. */
  get peerAddresses(): readonly string[] {
    const { peerAddress } = this.#config
    if (peerAddress !== undefined) return [peerAddress]
    return (
      this.#server?.udpAddresses.map(({ address, port }) => formatListenAddress({ host: address, port })) ??
      []
    )
  }

  /** Live allocations. */
  get allocationCount(): number {
    return this.#server?.allocationCount ?? 0
  }

  /** Of the admin API. */
  get routes(): readonly ApiRoute[] {
    const server = {
      listAllocations: () => this.#server?.listAllocations() ?? [],
      killAllocation: (id: string) => this.#server?.killAllocation(id) ?? false,
      killUser: (user: string) => this.#server?.killUser(user) ?? 0,
    }
    const { logger, clock } = this.#options
    return [
      ...turnRoutes(server, logger.child({ component: 'turn' })),
      ...credentialRoutes({
        clock,
        issuer: () => {
          const { credentials, uris } = this.#config
          const { secrets, separator, ttlSeconds } = credentials
          return {
            secret: secrets[0],
            separator,
            ttlSeconds,
            maxTtlSeconds: Math.max(ttlSeconds, maxTtlSeconds),
            uris,
          }
        },
      }),
    ]
  }

  /** @throws what the server's `start` throws, and what `makeTurnParts` throws */
  async start(options?: StartOptions): Promise<void> {
    this.#isClosing = false
    await this.#counts?.start(options)
    try {
      await this.#open(this.#config, options)
    } catch (error) {
      await this.#counts?.close()
      throw error
    }
  }

  /** Refuses new allocations and waits for those that are to end, `graceMs` at most; HTTP on shared ports goes on. */
  async drain(options?: CloseOptions): Promise<void> {
    this.#isClosing = true
    await this.#reloads
    await this.#server?.drain(options)
  }

  async close(options?: CloseOptions): Promise<void> {
    await this.drain(options)
    await this.#server?.close()
    this.#server = undefined
    await this.#parts?.close()
    this.#parts = undefined
    const events = this.#events
    this.#events = undefined
    await this.#closeEvents(events)
    await this.#names.close()
    await this.#counts?.close()
  }

  /**
   * Puts another `[turn]` section in force; what it does not touch goes on undisturbed. Gives the keys whose change wants a
   * restart of the gateway. Does nothing on the way down.
   *
   * @throws as `start` does; then nothing has changed
   */
  async reload(config: TurnConfig): Promise<readonly string[]> {
    const reload = this.#reloads.then(() => this.#reload(config))
    this.#reloads = reload.catch(() => {})
    return await reload
  }

  async #reload(config: TurnConfig): Promise<readonly string[]> {
    if (this.#isClosing) return []
    const server = this.#server
    if (server === undefined) {
      await this.#open(config)
      this.#config = config
      return []
    }
    const parts = await makeTurnParts(config, this.#resources)
    const before = { parts: this.#parts, config: this.#config, events: this.#events }
    const events = isDeepStrictEqual(config.events, before.config.events)
      ? before.events
      : this.#webhookOf(config)
    try {
      const { restarted } = await server.update({ ...parts.settings, events: events?.events ?? {} })
      if (restarted.length > 0) this.#options.logger.warn({ restarted }, 'TURN listeners opened anew')
    } catch (error) {
      await parts.close()
      if (events !== before.events) await events?.close()
      throw error
    }
    this.#parts = parts
    this.#config = config
    this.#events = events
    this.#counts?.recheck()
    await before.parts?.close()
    if (events !== before.events) await this.#closeEvents(before.events)
    return config.secret === this.#secret ? [] : ['turn.secret']
  }

  async #open(config: TurnConfig, options?: StartOptions): Promise<void> {
    if (config.listeners.length === 0 || this.#server !== undefined) return
    const { datapath, logger, registry, clock, ownPorts, fleet, fleetSecret } = this.#options
    const secret = turnSecretOf(config.secret, fleetSecret)
    await this.#names.start()
    let parts: TurnParts | undefined
    const events = this.#webhookOf(config)
    try {
      parts = await makeTurnParts(config, this.#resources)
      const server = new TurnServer({
        ...parts.settings,
        ...(secret !== undefined && { secret }),
        ...(fleet !== undefined && { fleet: turnFleetOf(fleet) }),
        ...(events !== undefined && { events: events.events }),
        quota: this.#quota,
        ownPorts,
        datapath,
        logger,
        registry,
        clock,
      })
      await server.start(options)
      this.#server = server
      this.#parts = parts
      this.#events = events
      this.#secret = config.secret
    } catch (error) {
      await parts?.close()
      await events?.close()
      await this.#names.close()
      throw error
    }
  }

  #sharedCounts(): SharedCounts | undefined {
    const { redis, fleet, clock, logger, registry } = this.#options
    if (redis === undefined || fleet === undefined) return undefined
    return new SharedCounts({ redis, fleet, name: 'sluice-turn', most: this.#most, clock, logger, registry })
  }

  get #resources(): Parameters<typeof makeTurnParts>[1] {
    const { clock, logger, onHttp } = this.#options
    return {
      clock,
      logger,
      names: this.#names,
      onHttp,
      onCertificate: (listener, certificate) => this.#server?.setCertificate(listener, certificate),
    }
  }

  async #closeEvents(events: EventWebhook | undefined): Promise<void> {
    await events?.close()
    this.#eventsLost += events?.lost ?? 0
  }

  #webhookOf({ events }: TurnConfig): EventWebhook | undefined {
    if (events === undefined) return undefined
    const { logger, clock } = this.#options
    return new EventWebhook({
      url: events.url,
      ...(events.token !== undefined && { token: events.token }),
      logger,
      clock,
    })
  }
}

function countedBy(counts: SharedCounts): AllocationQuota {
  return { take: ({ userId }) => counts.take(userId), give: ({ userId }) => counts.give(userId) }
}
