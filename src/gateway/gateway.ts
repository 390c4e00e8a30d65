import { isDeepStrictEqual } from 'node:util'
import { type Clock, systemClock } from '../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../foundation/lifecycle.ts'
import { registerBalancerMetrics } from '../mechanisms/balancer/index.ts'
import type { Config } from '../mechanisms/config/index.ts'
import { type Describe, Drain, type DrainLeft, isChosen, ProcessLoad } from '../mechanisms/fleet/index.ts'
import { createDatapath, type Datapath, registerDatapathMetrics } from '../mechanisms/datapath/index.ts'
import { type Dial, dialTcp } from '../mechanisms/net/index.ts'
import { profileRoutes, Profiler } from '../mechanisms/profiling/index.ts'
import { createRegistry, type Logger } from '../mechanisms/telemetry/index.ts'
import { AdminService, type ReadinessCheck } from '../services/admin/index.ts'
import type { HttpHandler } from '../services/media/http/index.ts'
import { FleetRole } from './fleet-role.ts'
import { type GatewayStore, placementOf } from './gateway-store.ts'
import { type MediaAddresses, MediaRole } from './media-role.ts'
import { addressText, listenAddress, millisecondsOrNone } from './settings.ts'
import { TunnelRole } from './tunnel-role.ts'
import { TurnRole } from './turn-role.ts'
import { version } from './version.ts'

/** What the gateway stands on, so that tests and embedders can put others in their place. */
export interface GatewayParts {
  readonly logger: Logger
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
  /** @defaultValue as the configuration says: shared where there is a `[redis]`, else in memory */
  readonly store?: GatewayStore
  /** @defaultValue the engine that the configuration names */
  readonly datapath?: Datapath
  /** Opens every connection to an origin. @defaultValue node:net's */
  readonly dial?: Dial
  /** Asked after media and before pages; the demo adds its own. @defaultValue none */
  readonly handlers?: (gateway: Gateway) => readonly HttpHandler[]
  /** Called when a drain that is to end the process has nothing left. @defaultValue such drains are refused */
  readonly onDrained?: () => void
}

/** Where a running gateway is bound, as texts. */
export interface GatewayAddresses extends MediaAddresses {
  /** By the listener's name. */
  readonly turn: Readonly<Record<string, number>>
  /** Port that tunnel clients connect to; undefined without a tunnel server. */
  readonly tunnel: number | undefined
  readonly admin: string
}

/** Sections of which a reload puts into force what it can. */
const RELOADED = new Set<keyof Config>([
  'balancer',
  'turn',
  'tunnel',
  'media',
  'origins',
  'registration',
  'routing',
])

/**
 * The composition root: a configuration in, running services out. Services do not know one another;
 * all wiring is here and in the roles.
 */
export class Gateway implements Lifecycle {
  readonly #fleet: FleetRole
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #datapath: Datapath
  readonly #media: MediaRole
  readonly #turn: TurnRole
  readonly #tunnel: TunnelRole
  readonly #profiler: Profiler | undefined
  readonly #load: ProcessLoad
  readonly #drain: Drain
  readonly #admin: AdminService
  #config: Config
  #started: Lifecycle[] = []

  constructor(config: Config, parts: GatewayParts) {
    const { logger, clock = systemClock, dial = dialTcp } = parts
    const registry = createRegistry(version)
    this.#config = config
    this.#logger = logger
    this.#clock = clock
    this.#load = new ProcessLoad(clock)
    this.#datapath =
      parts.datapath ??
      createDatapath({
        ...config.datapath,
        clock,
        onFallback: (reason) => logger.warn({ reason }, 'no native engine, datagrams go through engine-node'),
        onDeath: (error) => {
          logger.fatal({ code: error.code, err: error }, 'the native engine has died')
          // Nobody catches it: without its datapath the gateway is of no use, and whoever runs it starts it again.
          process.nextTick(() => {
            throw error
          })
        },
      })
    const datapath = this.#datapath
    this.#fleet = new FleetRole(config, {
      logger,
      registry,
      clock,
      ...(parts.store !== undefined && { store: parts.store }),
      describe: () => this.#description(),
    })
    const { store: balancer, fleet, redis } = this.#fleet
    registerBalancerMetrics(registry, () => balancer.stats())
    registerDatapathMetrics(registry, datapath)
    const common = { datapath, logger, registry, clock }
    const media = new MediaRole(config, {
      ...common,
      balancer,
      isAsker: (id) => isChosen(fleet, id),
      canHandOver: redis !== undefined && config.fleet.secret !== undefined,
      dial,
      handlers: () => parts.handlers?.(this) ?? [],
    })
    this.#media = media
    this.#turn = new TurnRole(config.turn, {
      ...common,
      fleet,
      ...(redis !== undefined && { redis }),
      ...(config.fleet.secret !== undefined && { fleetSecret: config.fleet.secret }),
      onHttp: (socket) => media.adoptHttp(socket),
      ownPorts: () =>
        [this.#admin.address?.port, media.registrationPort].flatMap((port) =>
          port === undefined ? [] : [{ protocol: 'tcp', port } as const],
        ),
    })
    this.#tunnel = new TunnelRole(config.tunnel, common)
    this.#profiler = config.admin.profiler ? new Profiler(clock) : undefined
    this.#drain = new Drain({
      left: () => this.#left(),
      onChange: (isDraining) => {
        media.setLeaving(isDraining)
        void this.#fleet.fleet.announce()
      },
      ...(parts.onDrained !== undefined && { onEmpty: parts.onDrained }),
      noticeMs: millisecondsOrNone(config.shutdown.noticeSeconds),
      logger,
      clock,
    })
    this.#admin = new AdminService({
      balancer,
      fleet,
      ...(redis !== undefined && { redis }),
      drain: this.#drain,
      sessions: media.sessions,
      readiness: [() => this.#readiness(), () => this.#sharing()],
      routes: [
        ...media.routes,
        ...this.#turn.routes,
        ...(this.#profiler === undefined ? [] : profileRoutes(this.#profiler)),
      ],
      logger,
      registry,
      version,
      clock,
      listen: listenAddress(config.admin.listen),
      ...(config.admin.token !== undefined && { token: config.admin.token }),
    })
  }

  /** What keeps origins, picks and sessions. */
  get store(): GatewayStore {
    return this.#fleet.store
  }

  /** Where it is bound; empty texts before `start`. */
  get addresses(): GatewayAddresses {
    const { address } = this.#admin
    return {
      ...this.#media.addresses,
      turn: Object.fromEntries(this.#turn.ports ?? []),
      tunnel: this.#tunnel.port,
      admin: address === undefined ? '' : addressText(address),
    }
  }

  /** Opens what operators need first, and the edges last. @throws what a service throws that cannot bind */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.#started.length > 0) return
    this.#drain.reopen()
    const profiler = this.#profiler === undefined ? [] : [this.#profiler]
    try {
      // TURN before media, so that it is closed after it: its ports may carry HTTP that still goes on.
      for (const service of [
        this.#datapath,
        ...profiler,
        this.#fleet,
        this.#admin,
        this.#turn,
        this.#tunnel,
        this.#media,
      ]) {
        options.signal?.throwIfAborted()
        // Remembered before it has started: what fails half-way is closed too.
        this.#started.push(service)
        await service.start(options)
      }
    } catch (error) {
      await this.close()
      throw error
    }
    this.#logger.info({ version, engine: this.#datapath.engine, ...this.addresses }, 'gateway ready')
    // Where it listens is known now.
    void this.#fleet.fleet.announce()
  }

  /**
   * Drains: readiness turns to 503; when load balancers had time to notice, new sessions are refused, running ones go on for
   * what is left of `graceMs`, all at the same time; then everything is closed in the reverse order of its start.
   */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    const untilMs = this.#clock.nowMs() + graceMs
    const leftMs = (): number => Math.max(0, untilMs - this.#clock.nowMs())
    const started = this.#started
    this.#started = []
    // What has not started has nobody who could notice.
    await this.#drain.close(started.length > 0 ? graceMs : 0)
    if (started.length > 0) {
      await Promise.all([this.#media.drain({ graceMs: leftMs() }), this.#turn.drain({ graceMs: leftMs() })])
    }
    for (const service of started.toReversed()) await service.close({ graceMs: leftMs() })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * Puts another configuration in force, as far as that is possible while the gateway runs: the `[turn]` and `[tunnel]`
   * sections, the rules of access, the static origins, and where new streams go (`balancer.policy`, `zone`, `apps`). Gives the names of sections and keys that differ and want a restart.
   *
   * @throws what is wrong with the section; then nothing has changed
   */
  async reload(config: Config): Promise<readonly string[]> {
    const applyTunnel = await this.#tunnel.prepareReload(config.tunnel)
    const applyMedia = this.#media.prepareReload(config)
    const turn = await this.#turn.reload(config.turn)
    const tunnel = applyTunnel()
    const media = await applyMedia()
    const before = this.#config
    this.store.setPlacement(placementOf(config))
    this.#config = {
      ...before,
      turn: config.turn,
      tunnel: config.tunnel,
      origins: config.origins,
      balancer: withPlacementOf(config, before),
      media: { ...before.media, access: config.media.access },
    }
    const others = (Object.keys(config) as (keyof Config)[]).filter(
      (section) => !RELOADED.has(section) && !isDeepStrictEqual(config[section], before[section]),
    )
    const balancer = isDeepStrictEqual(this.#config.balancer, config.balancer) ? [] : ['balancer']
    return [...turn, ...tunnel, ...media, ...balancer, ...others]
  }

  /** Only whether the gateway is degraded: all of them would fall out of rotation at once otherwise. */
  #sharing(): ReturnType<ReadinessCheck> {
    return { ok: true, isDegraded: this.#fleet.isDegraded, reason: 'Redis is away' }
  }

  #readiness(): { readonly ok: boolean; readonly reason: string } {
    if (this.#drain.isDraining) return { ok: false, reason: 'draining' }
    // A gateway that only relays TURN, or is only a tunnel, needs no origin.
    if (!this.#media.isServed) {
      if (this.#turn.ports !== undefined) return { ok: true, reason: 'TURN is served' }
      if (this.#tunnel.isServed) return { ok: true, reason: 'the tunnel is served' }
    }
    const { healthy, suspect, silent } = this.store.stats().origins
    if (healthy + suspect + silent === 0) return { ok: false, reason: 'no origin has registered' }
    if (healthy === 0) return { ok: false, reason: 'no origin is healthy' }
    return { ok: true, reason: 'origins are healthy' }
  }

  /** What other gateways and operators see of this one. */
  #description(): ReturnType<Describe> {
    const { turn, tunnel, admin, registration, ...media } = this.addresses
    const addresses = { ...media, registration: [registration], admin: [admin] }
    return {
      addresses: {
        ...Object.fromEntries(
          Object.entries(addresses).map(([name, texts]) => [name, texts.filter(Boolean)]),
        ),
        turn: Object.values(turn).map(String),
        turnPeer: this.#turn.peerAddresses,
        tunnel: tunnel === undefined ? [] : [String(tunnel)],
      },
      isDraining: this.#drain.isDraining,
      load: { ...this.#left(), ...this.#load.read() },
    }
  }

  /** What runs here. */
  #left(): DrainLeft {
    return {
      sessions: this.#media.sessions.reduce((sum, directory) => sum + directory.sessionCount, 0),
      allocations: this.#turn.allocationCount,
      tunnelClients: this.#tunnel.clientCount,
    }
  }
}

/** The part that a reload puts in force, and the rest as it was. */
function withPlacementOf({ balancer: { policy, zone, apps } }: Config, before: Config): Config['balancer'] {
  const { zone: _, ...rest } = before.balancer
  return { ...rest, policy, apps, ...(zone !== undefined && { zone }) }
}
