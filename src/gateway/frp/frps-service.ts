import type { Clock } from '../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import type { Datapath } from '../../mechanisms/datapath/index.ts'
import type { TunnelServerConfig } from '../../mechanisms/frp-config/index.ts'
import type { TcpJoiner } from '../../mechanisms/streams/index.ts'
import type { Logger, Registry } from '../../mechanisms/telemetry/index.ts'
import {
  dashboardRoutes,
  frpVersion,
  registerFrpMetrics,
  serverAuth,
  TunnelServer,
  TunnelStatistics,
  WebServer,
} from '../../services/tunnel/index.ts'

/** What a tunnel server or client stands on. */
export interface TunnelParts {
  /** Started by who made it. */
  readonly datapath: Datapath
  readonly logger: Logger
  readonly registry: Registry
  readonly clock: Clock
  /** @defaultValue joins are JavaScript's */
  readonly joiner: TcpJoiner | undefined
}

/** frps with all that belongs to it: the server, its books, and its web server where it has one. */
export class FrpsService implements Lifecycle {
  readonly #config: TunnelServerConfig
  readonly #parts: TunnelParts
  readonly #statistics: TunnelStatistics
  #server: TunnelServer | undefined
  #started: Lifecycle[] = []

  constructor(config: TunnelServerConfig, parts: TunnelParts) {
    this.#config = config
    this.#parts = parts
    const { clock, logger } = parts
    this.#statistics = new TunnelStatistics({ file: config.statisticsFile, log: logger, clock })
  }

  /** Clients that are logged in. */
  get clientCount(): number {
    return this.#server?.clientCount ?? 0
  }

  /** Port that clients connect to; undefined while it does not run. */
  get port(): number | undefined {
    return this.#server?.port
  }

  /** @throws TunnelError TUNNEL_BAD_OPTION, NetError for a port that cannot be opened */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.#started.length > 0) return
    const { datapath, logger, registry, clock, joiner } = this.#parts
    const config = this.#config
    const auth = await serverAuth(config.auth, { clock })
    this.#warn()
    const server = new TunnelServer({
      config,
      auth,
      recorder: this.#statistics,
      datapath,
      clock,
      logger,
      registry,
      ...(joiner !== undefined && { joiner }),
    })
    this.#server = server
    registerFrpMetrics(registry, this.#statistics)
    const web = config.webServer.port > 0 ? [this.#webServer(server)] : []
    try {
      for (const component of [this.#statistics, server, ...web]) {
        this.#started.push(component)
        await component.start(options)
      }
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /**
   * Readies another configuration. What it gives puts that in force, as far as is possible while the server runs, and gives the
   * settings that differ and want a restart.
   * @throws TunnelError TUNNEL_BAD_OPTION
   */
  async prepareReload(config: TunnelServerConfig): Promise<() => readonly string[]> {
    const auth = await serverAuth(config.auth, { clock: this.#parts.clock })
    return () => {
      const restarts = this.#server?.reload(config, auth) ?? []
      if (restarts.length > 0) {
        this.#parts.logger.warn({ settings: restarts }, 'settings that differ want a restart')
      }
      return restarts
    }
  }

  async close(options: CloseOptions = {}): Promise<void> {
    const started = this.#started
    this.#started = []
    for (const component of started.toReversed()) await component.close(options)
  }

  /** Says what leaves the server open. */
  #warn(): void {
    const { auth } = this.#config
    const hasToken = auth.token !== '' || auth.tokenSource !== undefined || auth.tokens.length > 0
    if (auth.method === 'token' && !hasToken) {
      this.#parts.logger.warn(
        'auth.token is empty: whoever reaches the port may log in, and encryption has no secret',
      )
    }
  }

  #webServer(control: TunnelServer): WebServer {
    const { logger: log, registry, clock } = this.#parts
    const config = this.#config
    return new WebServer({
      config: config.webServer,
      routes: dashboardRoutes({
        config,
        version: frpVersion,
        statistics: this.#statistics,
        control,
        registry: config.enablePrometheus ? registry : undefined,
        log,
        clock,
      }),
      log,
      clock,
    })
  }
}
