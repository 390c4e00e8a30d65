import type { AddressInfo } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { type Clock, systemClock } from '../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../foundation/lifecycle.ts'
import {
  type BalancerStats,
  type BalancerStore,
  MemoryBalancerStore,
  registerBalancerMetrics,
  streamKeyOfHttp,
  streamKeyOfRtmp,
} from '../mechanisms/balancer/index.ts'
import type { Config } from '../mechanisms/config/index.ts'
import { createDatapath, type Datapath, registerDatapathMetrics } from '../mechanisms/datapath/index.ts'
import {
  type Dial,
  dialTcp,
  formatListenAddress,
  type ListenAddress,
  parseListenText,
} from '../mechanisms/net/index.ts'
import { createRegistry, type Logger } from '../mechanisms/telemetry/index.ts'
import { AdminService } from '../services/admin/index.ts'
import { LiveProxy, HttpEdge, type HttpHandler, StaticPages } from '../services/media/http/index.ts'
import { RegistrationService } from '../services/media/registration/index.ts'
import { RtmpService } from '../services/media/rtmp/index.ts'
import { WebRtcService } from '../services/media/webrtc/index.ts'
import { drainable } from './drainable.ts'
import { TunnelRole } from './tunnel-role.ts'
import { TurnRole } from './turn-role.ts'
import { version } from './version.ts'

/** What the gateway stands on, so that tests and embedders can put others in their place. */
export interface GatewayParts {
  readonly logger: Logger
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
  /** @defaultValue the memory store, as the configuration says */
  readonly store?: BalancerStore & { stats(): BalancerStats }
  /** @defaultValue the engine that the configuration names */
  readonly datapath?: Datapath
  /** Opens every connection to an origin. @defaultValue node:net's */
  readonly dial?: Dial
  /** Asked after media and before pages; the demo adds its own. @defaultValue none */
  readonly handlers?: (gateway: Gateway) => readonly HttpHandler[]
}

/** Where a running gateway is bound, as texts. */
export interface GatewayAddresses {
  readonly http: readonly string[]
  readonly rtmp: readonly string[]
  readonly webrtc: readonly string[]
  /** By the listener's name. */
  readonly turn: Readonly<Record<string, number>>
  /** Port that tunnel clients connect to; undefined without a tunnel server. */
  readonly tunnel: number | undefined
  readonly registration: string
  readonly admin: string
}

/**
 * The composition root: a configuration in, running services out. Services do not know one another;
 * all wiring is here.
 */
export class Gateway implements Lifecycle {
  readonly store: BalancerStore & { stats(): BalancerStats }
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #datapath: Datapath
  readonly #registration: RegistrationService
  readonly #rtmpListen: readonly ListenAddress[]
  readonly #rtmp: RtmpService
  readonly #webrtc: WebRtcService
  readonly #flv: LiveProxy
  readonly #http: HttpEdge
  readonly #turn: TurnRole
  readonly #tunnel: TunnelRole
  readonly #admin: AdminService
  #config: Config
  #isDraining = false
  #started: Lifecycle[] = []

  constructor(config: Config, parts: GatewayParts) {
    const { logger, clock = systemClock, dial = dialTcp } = parts
    const registry = createRegistry(version)
    const keyRules = config.routing
    const { http, rtmp, webrtc } = config.media
    this.#config = config
    this.#logger = logger
    this.#clock = clock
    this.store = parts.store ?? storeOf(config, clock)
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
    const balancer = this.store
    registerBalancerMetrics(registry, () => balancer.stats())
    registerDatapathMetrics(registry, this.#datapath)

    this.#registration = new RegistrationService({
      origins: balancer,
      streamKeyOf: ({ vhost, app, stream }) => streamKeyOfRtmp(`rtmp://${vhost}/${app}`, stream, keyRules),
      logger,
      registry,
      version,
      clock,
      listen: listenAddress(config.registration.listen),
      allow: config.registration.allow,
      ...(config.registration.token !== undefined && { token: config.registration.token }),
    })
    this.#rtmpListen = rtmp.listen.map(listenAddress)
    this.#rtmp = new RtmpService({
      listen: this.#rtmpListen,
      balancer,
      origins: balancer,
      // SRS keys know nothing of `app`.
      streamKeyOf: ({ app, tcUrl, streamName }) =>
        streamKeyOfRtmp(tcUrl || (keyRules.keys === 'srs' ? '' : `/${app}`), streamName, keyRules),
      logger,
      registry,
      clock,
      dial,
      maxConnections: rtmp.maxConnections,
      maxConnectionsPerAddress: rtmp.maxConnectionsPerAddress,
      idleMs: milliseconds(rtmp.idleSeconds),
    })
    const media = listenAddress(webrtc.listen)
    this.#webrtc = new WebRtcService({
      datapath: this.#datapath,
      balancer,
      sessionStore: balancer,
      streamKeyOf: (request) => streamKeyOfHttp(request, keyRules),
      logger,
      registry,
      clock,
      dial,
      mediaListen: [{ addresses: media.host === undefined ? ['0.0.0.0', '::'] : [media.host], port: media.port }],
      publicAddresses: webrtc.publicAddresses.map(({ address, port }) => ({
        address,
        ...(port !== undefined && { port }),
      })),
      idleTimeoutMs: milliseconds(webrtc.idleSeconds),
      maxSessions: webrtc.maxSessions,
      allowIceQuery: webrtc.allowIceQuery,
    })
    this.#flv = new LiveProxy({
      balancer,
      keyRules,
      logger,
      registry,
      clock,
      dial,
      headTimeoutMs: milliseconds(http.idleSeconds),
      stallMs: milliseconds(http.stallSeconds),
      idleMs: milliseconds(http.idleSeconds),
    })
    const isDraining = () => this.#isDraining
    this.#http = new HttpEdge({
      listen: http.listen.map(listenAddress),
      handlers: [
        this.#webrtc,
        drainable(this.#flv, isDraining),
        ...(parts.handlers?.(this) ?? []),
        ...(http.pages === undefined ? [] : [new StaticPages({ directory: http.pages, logger })]),
      ],
      version,
      logger,
      registry,
      clock,
      // A request may wait for its origin that long.
      socketIdleMs: milliseconds(http.idleSeconds) + 30_000,
      maxConnections: http.maxConnections,
      maxConnectionsPerAddress: http.maxConnectionsPerAddress,
    })
    this.#turn = new TurnRole(config.turn, {
      datapath: this.#datapath,
      logger,
      registry,
      clock,
      onHttp: (socket) => this.#http.adopt(socket),
      ownPorts: () =>
        [this.#admin.address, this.#registration.address].flatMap((address) =>
          address === undefined ? [] : [{ protocol: 'tcp', port: address.port } as const],
        ),
    })
    this.#tunnel = new TunnelRole(config.tunnel, { datapath: this.#datapath, logger, registry, clock })
    this.#admin = new AdminService({
      balancer,
      sessions: [this.#webrtc, this.#rtmp, this.#flv],
      readiness: [() => this.#readiness()],
      routes: this.#turn.routes,
      logger,
      registry,
      version,
      clock,
      listen: listenAddress(config.admin.listen),
      ...(config.admin.token !== undefined && { token: config.admin.token }),
    })
  }

  /** Where it is bound; empty texts before `start`. */
  get addresses(): GatewayAddresses {
    return {
      http: this.#http.addresses.map(addressText),
      rtmp: this.#rtmp.ports.map((port, index) => formatListenAddress({ ...this.#rtmpListen[index], port })),
      webrtc: this.#webrtc.mediaAddresses.map(addressText),
      turn: Object.fromEntries(this.#turn.ports ?? []),
      tunnel: this.#tunnel.port,
      registration: this.#registration.address === undefined ? '' : addressText(this.#registration.address),
      admin: this.#admin.address === undefined ? '' : addressText(this.#admin.address),
    }
  }

  /** Opens what origins and operators need first, and the edges last. @throws what a service throws that cannot bind */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.#started.length > 0) return
    this.#isDraining = false
    try {
      for (const service of [
        this.#datapath,
        this.#admin,
        this.#registration,
        this.#webrtc,
        this.#rtmp,
        // Before HTTP, so that it is closed after it: its ports may carry HTTP that still goes on.
        this.#turn,
        this.#tunnel,
        this.#http,
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
  }

  /**
   * Drains: readiness turns to 503, new sessions are refused, running ones go on for up to `graceMs`, all at the same time;
   * then everything is closed in the reverse order of its start.
   */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    this.#isDraining = true
    const untilMs = this.#clock.nowMs() + graceMs
    const started = this.#started
    this.#started = []
    // HTTP listens on meanwhile: clients end their WebRTC sessions over it.
    const sessions = [this.#webrtc, this.#rtmp].filter((service) => started.includes(service))
    await Promise.all([
      ...sessions.map((service) => service.close({ graceMs })),
      this.#turn.drain({ graceMs }),
    ])
    for (const service of started.toReversed()) {
      await service.close({ graceMs: Math.max(0, untilMs - this.#clock.nowMs()) })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * Puts another configuration in force, as far as that is possible while the gateway runs: the `[turn]` and `[tunnel]`
   * sections. Gives the names of sections and keys that differ and want a restart.
   *
   * @throws what is wrong with the section; then nothing has changed
   */
  async reload(config: Config): Promise<readonly string[]> {
    const applyTunnel = await this.#tunnel.prepareReload(config.tunnel)
    const turn = await this.#turn.reload(config.turn)
    const tunnel = applyTunnel()
    const before = this.#config
    this.#config = { ...before, turn: config.turn, tunnel: config.tunnel }
    const others = (Object.keys(config) as (keyof Config)[]).filter(
      (section) =>
        section !== 'turn' && section !== 'tunnel' && !isDeepStrictEqual(config[section], before[section]),
    )
    return [...turn, ...tunnel, ...others]
  }

  #readiness(): { readonly ok: boolean; readonly reason: string } {
    if (this.#isDraining) return { ok: false, reason: 'draining' }
    // A gateway that only relays TURN needs no origin.
    if (this.#turn.ports !== undefined && this.#config.media.http.listen.length === 0) {
      return { ok: true, reason: 'TURN is served' }
    }
    if (this.#tunnel.isServed && this.#config.media.http.listen.length === 0) {
      return { ok: true, reason: 'the tunnel is served' }
    }
    const { healthy, suspect, silent } = this.store.stats().origins
    if (healthy + suspect + silent === 0) return { ok: false, reason: 'no origin has registered' }
    if (healthy === 0) return { ok: false, reason: 'no origin is healthy' }
    return { ok: true, reason: 'origins are healthy' }
  }
}

function storeOf(config: Config, clock: Clock): MemoryBalancerStore {
  const { policy, maxOrigins, maxPicks, ...times } = config.balancer
  return new MemoryBalancerStore({
    clock,
    policy,
    maxOrigins,
    maxPicks,
    heartbeatTtlMs: milliseconds(times.heartbeatTtlSeconds),
    forgetAfterMs: milliseconds(times.forgetSeconds),
    suspectMs: milliseconds(times.suspectSeconds),
    pickIdleMs: milliseconds(times.pickIdleSeconds),
    // A session that restarts ICE goes by its old and its new USERNAME for a while.
    maxSessions: 2 * config.media.webrtc.maxSessions,
  })
}

/** The text has been checked when the configuration was read. */
function listenAddress(text: string): ListenAddress {
  const address = parseListenText(text)
  if (address === undefined) throw new TypeError(`not a listener: ${text}`)
  return address
}

function addressText({ address, port }: Pick<AddressInfo, 'address' | 'port'>): string {
  return formatListenAddress({ host: address, port })
}

function milliseconds(seconds: number): number {
  return Math.max(1, Math.round(seconds * 1000))
}
