import type { AddressInfo } from 'node:net'
import { type Clock, systemClock } from '../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../foundation/errors.ts'
import type { CloseOptions, Lifecycle } from '../../foundation/lifecycle.ts'
import type { ApiReply, ApiRoute } from '../../mechanisms/http-api/index.ts'
import { createRegistry, type Logger } from '../../mechanisms/telemetry/index.ts'
import { MemoryQuota, NoCredentials, type TurnServerOptions } from '../../services/turn/index.ts'
import { version } from '../version.ts'
import { ClusterTraffic, type TrafficCounts } from './cluster-traffic.ts'
import {
  DEFAULT_HEALTHCHECK_ENDPOINT,
  DEFAULT_HEALTHCHECK_PORT,
  DEFAULT_METRICS_PORT,
  type Environment,
  type StunnerdConfig,
} from './config.ts'
import type { ConfigSource } from './config-source.ts'
import { HttpEndpoint } from './http-endpoint.ts'
import { readStunnerdConfig } from './read-config.ts'
import { Routing, type RoutingPlan } from './routing.ts'
import type { ScopedLogger } from './scoped-logger.ts'
import { type StunnerdState, statusJson } from './status.ts'
import { registerStunnerMetrics } from './stunner-metrics.ts'
import {
  credentialsOf,
  type LocalAddresses,
  machineAddresses,
  stunnerdLimits,
  turnListenerOf,
} from './translate.ts'
import type { TurnDataplane } from './turn-dataplane.ts'

export interface StunnerdOptions {
  readonly source: ConfigSource
  /** Makes the relay; called once. */
  readonly createServer: (options: TurnServerOptions) => TurnDataplane
  readonly log: ScopedLogger
  /** Who this is while no configuration says so. */
  readonly id: string
  /** Whether further configurations of the source are taken over. @defaultValue false */
  readonly isWatching?: boolean
  /** Levels that hold whatever the configuration says. @defaultValue those of the configuration */
  readonly logLevels?: string
  /** Whether `/ready` is 200 while it drains, for load balancers that stop delivering otherwise. @defaultValue false */
  readonly isAlwaysReady?: boolean
  /** Where health is served until a configuration says so. @defaultValue http://:8086 */
  readonly firstHealthcheckEndpoint?: string
  /** Of the datapath engine. @defaultValue 1 */
  readonly threads?: number
  /** @defaultValue that of the process */
  readonly env?: Environment
  /** @defaultValue those of the machine */
  readonly localAddresses?: LocalAddresses
  /** Gives the addresses of a DNS name. @defaultValue the resolver of the machine */
  readonly resolve?: (name: string) => Promise<readonly string[]>
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

/**
 * A TURN server that is configured as STUNner's `stunnerd` is: from a file or by a control plane, over and over. A new
 * configuration takes effect where it differs and drops nobody elsewhere; one that cannot be had in full changes nothing.
 */
export class Stunnerd implements Lifecycle {
  readonly #options: StunnerdOptions
  readonly #log: Logger
  readonly #clock: Clock
  readonly #env: Environment
  readonly #registry = createRegistry(version)
  readonly #routing: Routing
  readonly #traffic: ClusterTraffic
  readonly #server: TurnDataplane
  readonly #health: HttpEndpoint
  readonly #metrics: HttpEndpoint
  #config: StunnerdConfig | undefined
  #isStarted = false
  #isDraining = false
  #stopWatching: () => void = () => {}
  #keepsAlive: NodeJS.Timeout | undefined
  /** Configurations are applied one after the other. */
  #applying: Promise<void> = Promise.resolve()

  constructor(options: StunnerdOptions) {
    const { log, clock = systemClock, env = process.env, threads = 1 } = options
    const { logger } = log
    this.#options = options
    this.#clock = clock
    this.#env = env
    this.#log = logger.child({ component: 'stunnerd' })
    this.#routing = new Routing({
      clock,
      ...(options.resolve !== undefined && { resolve: options.resolve }),
      onError: (error, name) => this.#log.warn({ name, code: error.code, reason: error.message }, 'DNS name'),
    })
    this.#traffic = new ClusterTraffic(this.#routing)
    this.#server = options.createServer({
      listeners: [],
      credentials: new NoCredentials(),
      quota: new MemoryQuota(() => this.#config?.admin.userQuota ?? 0),
      limits: stunnerdLimits,
      events: { allocationDeleted: (allocation) => this.#traffic.ended(allocation) },
      ownPorts: () =>
        [this.#health.address, this.#metrics.address].flatMap((it) =>
          it === undefined ? [] : [{ protocol: 'tcp', port: it.port }],
        ),
      engine: 'auto',
      threads,
      logger,
      registry: this.#registry,
      clock,
    })
    registerStunnerMetrics(this.#registry, {
      allocationCount: () => this.#server.allocationCount,
      listenerStats: () => this.#server.listenerStats(),
      clusterStats: () => this.#clusterStats(),
    })
    const serverHeader = `Sluice/${version}`
    this.#health = new HttpEndpoint({
      defaultPort: DEFAULT_HEALTHCHECK_PORT,
      log: logger.child({ component: 'health' }),
      serverHeader,
      routes: () => this.#healthRoutes(),
    })
    this.#metrics = new HttpEndpoint({
      defaultPort: DEFAULT_METRICS_PORT,
      log: logger.child({ component: 'metrics' }),
      serverHeader,
      routes: (path) => this.#metricsRoutes(path),
    })
  }

  get state(): StunnerdState {
    if (this.#isDraining) return 'TERMINATING'
    return this.#config === undefined ? 'NOT-READY' : 'READY'
  }

  /** Where health and metrics are served; undefined while they are not. */
  get addresses(): { readonly health: AddressInfo | undefined; readonly metrics: AddressInfo | undefined } {
    return { health: this.#health.address, metrics: this.#metrics.address }
  }

  /**
   * Runs with the source's configuration. When it is watched, this does not wait for one: health is served at its default
   * place meanwhile, and says that we are not ready.
   *
   * @throws what keeps a configuration that is not watched from being used, and `NET_PORT_TAKEN` and its like
   */
  async start(): Promise<void> {
    if (this.#isStarted) return
    this.#isStarted = true
    const { source, isWatching = false, firstHealthcheckEndpoint } = this.#options
    try {
      await this.#routing.start()
      await this.#server.start()
      if (isWatching) {
        // No socket may be open while a configuration is waited for, and timers of the clock hold no process.
        this.#keepsAlive = setInterval(() => {}, 2 ** 30)
        await this.#openFirstHealth(firstHealthcheckEndpoint ?? DEFAULT_HEALTHCHECK_ENDPOINT)
        this.#log.info({ source: source.name }, 'watching the configuration')
        this.#stopWatching = source.watch((text) => void this.#offer(text))
      } else {
        const text = await source.load()
        await this.#inTurn(() => this.#take(text))
      }
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Reads the configuration again. One that cannot be used is logged and changes nothing. */
  async reload(): Promise<void> {
    try {
      await this.#offer(await this.#options.source.load())
    } catch (error) {
      this.#refuse(error)
    }
  }

  /**
   * Drains: `/ready` turns 503, `/status` TERMINATING, no further configuration is taken, and clients are served until no
   * allocation is left or `graceMs` is over.
   */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    if (!this.#isStarted) return
    this.#isDraining = true
    this.#stopWatching()
    await this.#applying
    await this.#server.close({ graceMs })
    await this.#health.close()
    await this.#metrics.close()
    await this.#routing.close()
    clearInterval(this.#keepsAlive)
    this.#isStarted = false
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What `/status` answers. */
  status(): Record<string, unknown> {
    const listeners = new Map(this.#server.listenerStats().map((it) => [it.name, it]))
    this.#traffic.look(this.#server.listAllocations())
    return statusJson({
      config: this.#config,
      id: this.#options.id,
      state: this.state,
      allocationCount: this.#server.allocationCount,
      listenerCounts: (name) => listeners.get(name) ?? NOTHING,
      clusterCounts: (name) => this.#traffic.countsOf(name),
    })
  }

  /** The configuration may want another place, so that this one is not worth failing for. */
  async #openFirstHealth(url: string): Promise<void> {
    try {
      await this.#health.moveTo(url)
    } catch (error) {
      this.#log.warn({ code: errorCode(error), reason: errorMessage(error) }, 'no health endpoint for now')
    }
  }

  async #offer(text: string): Promise<void> {
    try {
      await this.#inTurn(() => this.#take(text))
    } catch (error) {
      this.#refuse(error)
    }
  }

  #refuse(error: unknown): void {
    this.#log.error(
      { code: errorCode(error), reason: errorMessage(error) },
      this.#config === undefined
        ? 'configuration refused, waiting for another one'
        : 'configuration refused, the one before it stays',
    )
  }

  async #inTurn(task: () => Promise<void>): Promise<void> {
    const done = this.#applying.then(task)
    this.#applying = done.catch(() => {})
    await done
  }

  async #take(text: string): Promise<void> {
    const { config, notes } = readStunnerdConfig(this.#options.source.name, text, this.#env)
    if (this.#isDraining) return
    if (config.listeners.length === 0 && this.#options.isWatching === true) {
      // So says a control plane that has deleted the gateway; whoever runs us ends us when it is time.
      this.#log.info('configuration without listeners, passed over')
      return
    }
    if (JSON.stringify(config) === JSON.stringify(this.#config)) {
      this.#log.debug('the configuration is the one that holds')
      return
    }
    for (const note of notes) this.#log.warn({ note }, 'configuration')
    await this.#apply(config)
  }

  /** All or nothing: what could fail comes before what cannot. */
  async #apply(config: StunnerdConfig): Promise<void> {
    const former = this.#config
    const plan = this.#routing.plan(config)
    const urls = { health: this.#health.url, metrics: this.#metrics.url }
    let restarted: readonly string[]
    try {
      await this.#moveEndpoints({
        health: config.admin.healthcheckEndpoint,
        metrics: config.admin.metricsEndpoint,
      })
      ;({ restarted } = await this.#server.update(this.#changes(former, config, plan.peersOf)))
    } catch (error) {
      plan.discard()
      await this.#moveEndpoints(urls).catch((failure: unknown) => {
        this.#log.error({ ...urls, reason: errorMessage(failure) }, 'endpoints could not be opened again')
      })
      throw error
    }
    // What peers are about to be cut from has gone to the cluster that they are of until now.
    this.#traffic.look(this.#server.listAllocations())
    plan.commit()
    this.#config = config
    this.#traffic.keep(new Set(config.clusters.map(({ name }) => name)))
    this.#options.log.setLevels(this.#options.logLevels ?? config.admin.logLevel)
    this.#explain(former, config)
    const { admin, listeners, clusters } = config
    this.#log.info(
      { name: admin.name, listeners: listeners.length, clusters: clusters.length, restarted },
      former === undefined ? 'configured' : 'configuration changed',
    )
  }

  /** Metrics give way first: health may be about to take their place. */
  async #moveEndpoints({ health, metrics }: { health: string; metrics: string }): Promise<void> {
    if (metrics !== this.#metrics.url) await this.#metrics.close()
    await this.#health.moveTo(health)
    await this.#metrics.moveTo(metrics)
  }

  #changes(
    former: StunnerdConfig | undefined,
    config: StunnerdConfig,
    peersOf: RoutingPlan['peersOf'],
  ): Parameters<TurnDataplane['update']>[0] {
    const { auth, listeners } = config
    const addresses = this.#options.localAddresses ?? machineAddresses
    return {
      listeners: listeners.map((it) => turnListenerOf(it, config, peersOf(it), addresses)),
      // The same source is kept while nothing has changed in it: it remembers keys.
      ...(JSON.stringify(auth) !== JSON.stringify(former?.auth) && {
        credentials: credentialsOf(auth, this.#clock),
        realm: auth.realm,
      }),
    }
  }

  /** What is taken over in another way than its author may think, in one line each. */
  #explain(former: StunnerdConfig | undefined, { admin }: StunnerdConfig): void {
    if (admin.hasLicense && former?.admin.hasLicense !== true) {
      this.#log.info('license_config is not needed: everything is there without a license')
    }
    const { offloadEngine: engine, offloadInterfaces: interfaces } = admin
    if (engine !== 'None' && engine !== former?.admin.offloadEngine) {
      this.#log.info({ engine, interfaces }, 'offload: our native engine takes its place, on every interface')
    }
  }

  #clusterStats(): readonly (TrafficCounts & { readonly name: string })[] {
    this.#traffic.look(this.#server.listAllocations())
    return (this.#config?.clusters ?? []).map(({ name }) => ({ name, ...this.#traffic.countsOf(name) }))
  }

  #healthRoutes(): readonly ApiRoute[] {
    const route = (path: string, handle: () => ApiReply): ApiRoute => ({
      method: 'GET',
      path,
      isOpen: true,
      handle: () => ({ contentType: 'application/json; charset=utf-8', ...handle() }),
    })
    return [
      route('/live', () => ({ text: '{}\n' })),
      route('/ready', () => {
        const isReady = this.state === 'READY' || this.#options.isAlwaysReady === true
        const status = isReady ? 200 : 503
        return {
          status,
          text: `${JSON.stringify({ status, message: isReady ? 'READY' : 'stunnerd not ready' })}\n`,
        }
      }),
      route('/status', () => ({ text: JSON.stringify(this.status()) })),
    ]
  }

  #metricsRoutes(path: string): readonly ApiRoute[] {
    const registry = this.#registry
    return [
      {
        method: 'GET',
        // As in Go, a path that ends in a slash stands for all below it.
        path: path.endsWith('/') ? `${path}*` : path,
        isOpen: true,
        handle: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
      },
    ]
  }
}

const NOTHING: TrafficCounts = { rx: { packets: 0, bytes: 0 }, tx: { packets: 0, bytes: 0 } }
