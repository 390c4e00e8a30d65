import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import type { TunnelServerConfig } from '../../../mechanisms/frp-config/index.ts'
import type { TcpJoiner } from '../../../mechanisms/streams/index.ts'
import type { Logger, Registry } from '../../../mechanisms/telemetry/index.ts'
import type { NewVisitorConn, NewWorkConn } from '../../../protocols/frp/index.ts'
import type { ServerAuth } from '../auth/contract.ts'
import { TunnelError } from '../errors.ts'
import type { ClientView, ProxyView, TunnelRecorder, TunnelServerControl } from '../statistics/contract.ts'
import type { AcceptedConnection } from '../transport/contract.ts'
import { TunnelListener } from '../transport/index.ts'
import type { ControlParts } from './control-parts.ts'
import { dismiss } from './dismiss.ts'
import { type FirstMessage, readFirstMessage } from './first-message.ts'
import { Groups } from './groups.ts'
import { LoginRate } from './login-rate.ts'
import { Logins } from './logins.ts'
import { Quota } from './quota.ts'
import { RemotePorts } from './remote-ports.ts'
import { SecretProxies, serveVisitor } from './secret-proxies.ts'
import { toldError } from './told-error.ts'
import { TunnelMetrics } from './tunnel-metrics.ts'
import { Vhosts } from './vhosts.ts'

export interface TunnelServerOptions {
  readonly config: TunnelServerConfig
  readonly auth: ServerAuth
  readonly recorder: TunnelRecorder
  readonly datapath: Datapath
  readonly clock: Clock
  readonly logger: Logger
  readonly registry: Registry
  /** Joins plain TCP connections outside of JavaScript. @defaultValue JavaScript does */
  readonly joiner?: TcpJoiner
  /** For run ids, and for what hellos and ciphers begin with. @defaultValue the system's randomness */
  readonly random?: (length: number) => Uint8Array
}

/** frps: clients log in, their proxies are reached here, and each user connection is joined with one to the client. */
export class TunnelServer implements Lifecycle, TunnelServerControl {
  readonly #options: TunnelServerOptions
  readonly #logger: Logger
  readonly #listener: TunnelListener
  readonly #vhosts: Vhosts
  readonly #parts: ControlParts
  readonly #logins: Logins
  /** Refused work connections: guesses of run ids. */
  readonly #workGuesses: LoginRate
  /** Refused visitors: guesses of secret keys. A wrong key must not cost a client its work connections. */
  readonly #visitorGuesses: LoginRate
  #isStarted = false
  #closed: Promise<void> | undefined

  constructor(options: TunnelServerOptions) {
    const { config, clock, registry } = options
    this.#options = options
    this.#logger = options.logger
    this.#vhosts = new Vhosts(config, { clock, logger: this.#logger })
    this.#listener = new TunnelListener({
      config,
      clock,
      logger: this.#logger,
      onConnection: (connection) => void this.#accept(connection),
      ...this.#vhosts.sharing,
    })
    const metrics = new TunnelMetrics(registry, {
      clients: () => this.#logins.size,
      proxies: () => this.#parts.names.size,
      userConnections: () => this.#parts.connections.used,
      pools: () => this.#logins.sessions.map(({ pool }) => pool),
      listener: () => this.#listener.counts,
      http: () => this.#vhosts.http?.counts,
      https: () => this.#vhosts.https?.counts,
      tcpmux: () => this.#vhosts.tcpmux?.counts,
    })
    const ports = { allow: config.allowPorts, clock, random: Math.random }
    this.#parts = {
      places: {
        config,
        tcpPorts: new RemotePorts(ports),
        udpPorts: new RemotePorts(ports),
        groups: new Groups(),
        secrets: new SecretProxies(),
        ...this.#vhosts.registries,
        metrics,
      },
      names: new Map(),
      departed: new Set(),
      connections: new Quota('limits.maxConnections', config.limits.maxConnections),
      recorder: options.recorder,
      metrics,
      datapath: options.datapath,
      clock,
      logger: this.#logger,
      joiner: options.joiner,
    }
    this.#workGuesses = new LoginRate(config.limits.loginsPerMinute, clock)
    this.#visitorGuesses = new LoginRate(config.limits.loginsPerMinute, clock)
    this.#logins = new Logins(options.auth, this.#parts, options.random ?? randomBytes)
  }

  /** Port that clients connect to; undefined while it is not listened on. */
  get port(): number | undefined {
    return this.#listener.port
  }

  /**
   * @throws NetError when a port cannot be opened
   * @throws TypeError when it has been closed, or failed to start, before (misuse)
   */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.#closed !== undefined)
      throw new TypeError('a tunnel server that was closed does not start again')
    if (this.#isStarted) return
    this.#isStarted = true
    try {
      await this.#vhosts.start(options)
      await this.#listener.start(options)
    } catch (error) {
      await this.close()
      throw error
    }
    const { config } = this.#options
    this.#logger.info(`frps tcp listen on ${config.bindAddr}:${this.port}`)
  }

  /** Lets nobody in any more; user connections that are carried may go on for `graceMs`. */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    if (!this.#isStarted) return
    this.#closed ??= this.#close(graceMs)
    await this.#closed
  }

  /**
   * Puts another configuration in force, as far as that is possible while the server runs: who may come in and what they may
   * do. Clients whose token is not valid any more are cut. What is carried goes on.
   *
   * @returns the settings that differ and want a restart
   */
  reload(config: TunnelServerOptions['config'], auth: ServerAuth): readonly string[] {
    const { places, connections } = this.#parts
    const before = places.config
    const applied = { ...before }
    for (const key of reloadable) Object.assign(applied, { [key]: config[key] })
    places.config = applied
    connections.limit = config.limits.maxConnections
    places.tcpPorts.configure(config.allowPorts)
    places.udpPorts.configure(config.allowPorts)
    this.#logins.configure(config, auth)
    this.#workGuesses.configure(config.limits.loginsPerMinute)
    this.#visitorGuesses.configure(config.limits.loginsPerMinute)
    const { limits } = this.#options.config
    return [
      ...(Object.keys(config) as (keyof typeof config)[]).filter(
        (key) => !reloadable.has(key) && !isDeepStrictEqual(config[key], before[key]),
      ),
      ...strangerLimits.filter((key) => config.limits[key] !== limits[key]).map((key) => `limits.${key}`),
      // The listeners keep the room that they began with.
      ...(config.limits.maxConnections > limits.maxConnections ? ['limits.maxConnections'] : []),
    ]
  }

  get clientCount(): number {
    return this.#logins.size
  }

  clients(): readonly ClientView[] {
    return this.#logins.sessions.map(({ view }) => view)
  }

  proxies(): readonly ProxyView[] {
    return this.#logins.sessions.flatMap(({ proxies }) => proxies)
  }

  kick(runId: string): boolean {
    const session = this.#logins.sessionOf(runId)
    session?.cut(new TunnelError('TUNNEL_CLOSED', 'kicked by the operator', { side: 'self' }))
    return session !== undefined
  }

  closeProxy(name: string): boolean {
    return this.#parts.names.get(name)?.close(name) ?? false
  }

  async #close(graceMs: number): Promise<void> {
    const { clock } = this.#options
    const untilMs = clock.nowMs() + graceMs
    this.#logins.close()
    const listenerClosed = this.#listener.close({ graceMs })
    const { sessions } = this.#logins
    for (const session of sessions) session.retire()
    // Before the wait: it ends the connections of users who have no request under way, and what they hold of backends.
    const vhostsClosed = this.#vhosts.close({ graceMs })
    await this.#untilIdle(untilMs)
    for (const backend of this.#parts.departed) backend.destroy()
    for (const session of sessions) session.close()
    await Promise.all([...sessions.map(({ closed }) => closed), vhostsClosed, listenerClosed])
  }

  async #accept(connection: AcceptedConnection): Promise<void> {
    let first: FirstMessage
    try {
      first = await readFirstMessage(connection.stream, this.#options.clock)
    } catch (error) {
      this.#logger.debug(
        { address: connection.peer.remoteAddress, code: errorCode(error), reason: errorMessage(error) },
        'connection without a message',
      )
      return
    }
    const { name, body } = first.message
    if (name === 'Login') {
      await this.#logins.login(body, first, connection)
    } else if (name === 'NewWorkConn') {
      await this.#workConnection(body, first, connection)
    } else if (name === 'NewVisitorConn') {
      this.#visitor(body, first, connection)
    } else {
      this.#logger.debug({ message: name }, 'error message type for the new connection')
      connection.stream.destroy()
    }
  }

  async #workConnection(
    message: NewWorkConn,
    { channel }: FirstMessage,
    connection: AcceptedConnection,
  ): Promise<void> {
    const session = this.#logins.sessionOf(message.run_id)
    const own = session?.client.connection.session
    const isWithinOwn = own !== undefined && own === connection.session
    if (!isWithinOwn && this.#workGuesses.isSpent(connection.peer.remoteAddress)) {
      connection.stream.destroy()
      return
    }
    try {
      if (session === undefined) throw refusal(`no client control found for run id [${message.run_id}]`)
      // The run id is no secret: it is in logs. A client with mux opens all of its connections within its session.
      if (own !== undefined && !isWithinOwn) {
        throw refusal('the work connection is not of the session of its client')
      }
      await session.client.identity.verifyNewWorkConn(message)
      // It may have broken meanwhile, and must not be given to a user.
      if (channel.isOver) return
      if (session.pool.isFull) throw refusal(poolIsFull)
      connection.admit()
      session.pool.offer(channel.detach())
    } catch (error) {
      this.#logger.debug({ runId: message.run_id, reason: errorMessage(error) }, 'work connection refused')
      this.#parts.metrics.workRefused()
      if (!isFull(error)) this.#workGuesses.admit(connection.peer.remoteAddress)
      channel.send('StartWorkConn', { error: this.#told(error, 'invalid NewWorkConn') })
      dismiss(channel, connection.stream, this.#options.clock)
    }
  }

  #visitor(visitor: NewVisitorConn, { channel }: FirstMessage, connection: AcceptedConnection): void {
    const name = visitor.proxy_name
    if (this.#visitorGuesses.isSpent(connection.peer.remoteAddress)) {
      connection.stream.destroy()
      return
    }
    try {
      const owner = this.#logins.sessionOf(visitor.run_id)?.client
      // Visitors from before frp 0.50 send no run id, and count as a user without name.
      if (visitor.run_id !== '' && owner === undefined) {
        throw refusal(`no client control found for run id [${visitor.run_id}]`)
      }
      const proxy = this.#parts.places.secrets.check(visitor, owner?.login.user ?? '')
      connection.admit()
      channel.send('NewVisitorConnResp', { proxy_name: name })
      const manner = {
        version: channel.version,
        codec: owner?.udpPacketCodec ?? 'json',
        halfClose: owner?.login.half_close ?? false,
      } as const
      serveVisitor(proxy, visitor, manner, channel.detach(), connection.peer)
    } catch (error) {
      this.#logger.warn({ proxy: name, reason: errorMessage(error) }, 'register visitor conn error')
      this.#visitorGuesses.admit(connection.peer.remoteAddress)
      const told = this.#told(error, 'register visitor conn error')
      channel.send('NewVisitorConnResp', { proxy_name: name, error: told })
      dismiss(channel, connection.stream, this.#options.clock)
    }
  }

  #told(error: unknown, summary: string): string {
    return toldError(error, summary, this.#parts.places.config.detailedErrorsToClient)
  }

  async #untilIdle(untilMs: number): Promise<void> {
    const { clock } = this.#options
    while (clock.nowMs() < untilMs && this.#parts.connections.used > 0) {
      await new Promise<void>((resolve) => clock.after(Math.min(100, untilMs - clock.nowMs()), resolve))
    }
  }
}

/** Settings that a reload puts in force. Of `limits`, those of connections without a login want a restart. */
const reloadable: ReadonlySet<keyof TunnelServerConfig> = new Set([
  'auth',
  'allowPorts',
  'maxPortsPerClient',
  'userConnTimeout',
  'detailedErrorsToClient',
  'subDomainHost',
  'limits',
] as const)

/** Of connections without a login. */
const strangerLimits = ['maxUnauthenticated', 'maxUnauthenticatedPerAddress'] as const

/** Not a guess. */
const poolIsFull = 'work connection pool is full, discarding'

function isFull(error: unknown): boolean {
  return error instanceof TunnelError && error.message === poolIsFull
}

function refusal(message: string): TunnelError {
  return new TunnelError('TUNNEL_FORBIDDEN', message, { side: 'client' })
}
