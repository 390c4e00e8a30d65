import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import type { TunnelServerConfig } from '../../../mechanisms/frp-config/index.ts'
import type { TcpJoiner } from '../../../mechanisms/streams/index.ts'
import type { Logger, Registry } from '../../../mechanisms/telemetry/index.ts'
import type { Login, NewVisitorConn, NewWorkConn } from '../../../protocols/frp/index.ts'
import type { ServerAuth } from '../auth/contract.ts'
import { TunnelError } from '../errors.ts'
import { frpVersion } from '../frp-version.ts'
import type { ClientView, ProxyView, TunnelRecorder, TunnelServerControl } from '../statistics/contract.ts'
import type { AcceptedConnection } from '../transport/contract.ts'
import { TunnelListener } from '../transport/tunnel-listener.ts'
import { type ControlParts, ControlSession } from './control-session.ts'
import { type FirstMessage, readFirstMessage } from './first-message.ts'
import { Groups } from './groups.ts'
import { LoginRate } from './login-rate.ts'
import { Quota, take } from './quota.ts'
import { RemotePorts } from './remote-ports.ts'
import { RightsTable } from './rights.ts'
import { SecretProxies, serveVisitor } from './secret-proxies.ts'
import { agree } from './server-login.ts'
import { type LoginRefusal, TunnelMetrics } from './tunnel-metrics.ts'
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
  /** In force. */
  #auth: ServerAuth
  readonly #random: (length: number) => Uint8Array
  readonly #logger: Logger
  readonly #metrics: TunnelMetrics
  readonly #rate: LoginRate
  readonly #rights: RightsTable
  readonly #clientQuota: Quota
  readonly #secrets = new SecretProxies()
  readonly #listener: TunnelListener
  readonly #vhosts: Vhosts
  readonly #parts: ControlParts
  /** Logged in, by run id. */
  readonly #clients = new Map<string, ControlSession>()
  #isStarted = false

  constructor(options: TunnelServerOptions) {
    const { config, clock, registry } = options
    this.#options = options
    this.#random = options.random ?? randomBytes
    this.#auth = options.auth
    this.#logger = options.logger
    this.#rate = new LoginRate(config.limits.loginsPerMinute, clock)
    this.#rights = new RightsTable(clock)
    this.#clientQuota = new Quota('clients', config.limits.maxClients)
    this.#vhosts = new Vhosts(config, { clock, logger: this.#logger })
    this.#listener = new TunnelListener({
      config,
      clock,
      logger: this.#logger,
      onConnection: (connection) => void this.#accept(connection),
      ...this.#vhosts.sharing,
    })
    this.#metrics = new TunnelMetrics(registry, {
      clients: () => this.#clients.size,
      proxies: () => this.#parts.names.size,
      unauthenticated: () => this.#listener.counts.unauthenticated,
    })
    const ports = { allow: config.allowPorts, clock, random: Math.random }
    this.#parts = {
      places: {
        config,
        tcpPorts: new RemotePorts(ports),
        udpPorts: new RemotePorts(ports),
        groups: new Groups(),
        secrets: this.#secrets,
        ...this.#vhosts.registries,
        metrics: this.#metrics,
      },
      names: new Map(),
      departed: new Set(),
      connections: new Quota('limits.maxConnections', config.limits.maxConnections),
      recorder: options.recorder,
      metrics: this.#metrics,
      datapath: options.datapath,
      clock,
      logger: this.#logger,
      joiner: options.joiner,
    }
  }

  /** Port that clients connect to; undefined while it is not listened on. */
  get port(): number | undefined {
    return this.#listener.port
  }

  /** @throws NetError when a port cannot be opened */
  async start(options: StartOptions = {}): Promise<void> {
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
    this.#isStarted = false
    const { clock } = this.#options
    const untilMs = clock.nowMs() + graceMs
    const listenerClosed = this.#listener.close({ graceMs })
    const sessions = [...this.#clients.values()]
    for (const session of sessions) for (const { name } of session.proxies) session.closeProxy(name)
    await this.#untilIdle(untilMs)
    for (const backend of this.#parts.departed) backend.destroy()
    for (const session of sessions) session.close()
    await Promise.all(sessions.map(({ closed }) => closed))
    await this.#vhosts.close({ graceMs: Math.max(0, untilMs - clock.nowMs()) })
    await listenerClosed
  }

  /**
   * Puts another configuration in force, as far as that is possible while the server runs: who may come in and what they may
   * do. Clients whose token is not valid any more are cut. What is carried goes on.
   *
   * @returns the settings that differ and want a restart
   */
  reload(config: TunnelServerOptions['config'], auth: ServerAuth): readonly string[] {
    const before = this.#parts.places.config
    const applied = { ...before }
    for (const key of reloadable) Object.assign(applied, { [key]: config[key] })
    this.#parts.places.config = applied
    this.#auth = auth
    this.#rights.configure(config.auth.tokens)
    this.#rate.configure(config.limits.loginsPerMinute)
    this.#clientQuota.limit = config.limits.maxClients
    this.#parts.connections.limit = config.limits.maxConnections
    this.#parts.places.tcpPorts.configure(config.allowPorts)
    this.#parts.places.udpPorts.configure(config.allowPorts)
    const tokens = new Set([config.auth.token, ...config.auth.tokens.map(({ token }) => token)])
    for (const session of this.#clients.values()) {
      if (
        config.auth.method === 'token' &&
        config.auth.tokenSource === undefined &&
        !tokens.has(session.client.identity.token)
      ) {
        session.close(new TunnelError('TUNNEL_CLOSED', 'its token is not valid any more', { side: 'client' }))
      }
    }
    return (Object.keys(config) as (keyof typeof config)[]).filter(
      (key) => !reloadable.has(key) && !isDeepStrictEqual(config[key], before[key]),
    )
  }

  clients(): readonly ClientView[] {
    return [...this.#clients.values()].map(({ view }) => view)
  }

  proxies(): readonly ProxyView[] {
    return [...this.#clients.values()].flatMap(({ proxies }) => proxies)
  }

  kick(runId: string): boolean {
    const session = this.#clients.get(runId)
    session?.close(new TunnelError('TUNNEL_CLOSED', 'kicked by the operator', { side: 'self' }))
    return session !== undefined
  }

  closeProxy(name: string): boolean {
    return this.#parts.names.get(name)?.closeProxy(name) ?? false
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
    const { message } = first
    switch (message.name) {
      case 'Login':
        await this.#login(message.body, first, connection)
        return
      case 'NewWorkConn':
        await this.#workConnection(message.body, first, connection)
        return
      case 'NewVisitorConn':
        this.#visitor(message.body, first, connection)
        return
      default:
        this.#logger.warn({ message: message.name }, 'error message type for the new connection')
        connection.stream.destroy()
    }
  }

  async #login(login: Login, first: FirstMessage, connection: AcceptedConnection): Promise<void> {
    const { channel } = first
    const address = connection.peer.remoteAddress
    try {
      if (!this.#rate.admit(address)) throw refusal('too many logins from this address, try again later')
      const agreement = agree(first, this.#random)
      const identity = await this.#auth.verifyLogin(login)
      const rights = this.#rights.of(identity.grant)
      const runId = login.run_id === '' ? Buffer.from(this.#random(8)).toString('hex') : login.run_id
      await this.#replace(runId, login, rights)
      this.#checkClientId(login, runId)
      const release = take([this.#clientQuota, rights.clients])
      if (release instanceof Quota) throw refusal(`exceed the limit of ${release.limit} ${release.name}`)
      connection.admit()
      channel.send('LoginResp', { version: frpVersion, run_id: runId, half_close: true })
      channel.secure(agreement.codecOf(identity.token))
      const { udpPacketCodec } = agreement
      const session = new ControlSession(
        { login, runId, identity, rights, connection, channel, udpPacketCodec },
        this.#parts,
      )
      this.#clients.set(runId, session)
      void session.closed.then(() => {
        release()
        if (this.#clients.get(runId) === session) this.#clients.delete(runId)
      })
      session.start()
      this.#logger.info(
        { runId, version: login.version, hostname: login.hostname, address, user: login.user },
        'client login info',
      )
    } catch (error) {
      this.#refuseLogin(error, first, connection)
    }
  }

  #refuseLogin(error: unknown, { channel }: FirstMessage, connection: AcceptedConnection): void {
    this.#metrics.loginRefused(loginRefusal(error))
    const reason = errorMessage(error)
    this.#logger.warn(
      { address: connection.peer.remoteAddress, code: errorCode(error), reason },
      'register control error',
    )
    const isTold = this.#parts.places.config.detailedErrorsToClient && error instanceof TunnelError
    channel.onClose = () => connection.session?.destroy()
    channel.send('LoginResp', { version: frpVersion, error: isTold ? reason : 'register control error' })
    channel.end()
    // Whoever does not close in answer is cut.
    this.#options.clock.after(lingerMs, () => connection.stream.destroy())
  }

  /** A client that returns replaces what is left of it here, before it is let in. */
  async #replace(runId: string, login: Login, rights: ReturnType<RightsTable['of']>): Promise<void> {
    for (let old = this.#clients.get(runId); old !== undefined; old = this.#clients.get(runId)) {
      if (old.client.login.user !== login.user || old.client.rights !== rights) {
        throw refusal('the run id belongs to another client')
      }
      old.close(new TunnelError('TUNNEL_CLOSED', 'replaced by a new login', { side: 'client' }))
      await old.closed
    }
  }

  #checkClientId({ client_id: clientId, user }: Login, runId: string): void {
    if (clientId === '') return
    for (const { view } of this.#clients.values()) {
      if (view.runId !== runId && view.clientId === clientId && view.user === user) {
        throw refusal(`client_id [${clientId}] for user [${user}] is already online`)
      }
    }
  }

  async #workConnection(
    message: NewWorkConn,
    { channel }: FirstMessage,
    connection: AcceptedConnection,
  ): Promise<void> {
    const session = this.#clients.get(message.run_id)
    try {
      if (session === undefined) throw refusal(`no client control found for run id [${message.run_id}]`)
      await session.client.identity.verifyNewWorkConn(message)
      if (session.pool.isFull) throw refusal('work connection pool is full, discarding')
      connection.admit()
      session.pool.offer(channel.detach())
    } catch (error) {
      this.#logger.debug({ runId: message.run_id, reason: errorMessage(error) }, 'work connection refused')
      const told = this.#parts.places.config.detailedErrorsToClient
        ? errorMessage(error)
        : 'invalid NewWorkConn'
      channel.send('StartWorkConn', { error: told })
      channel.end()
      this.#options.clock.after(lingerMs, () => connection.stream.destroy())
    }
  }

  #visitor(visitor: NewVisitorConn, { channel }: FirstMessage, connection: AcceptedConnection): void {
    const name = visitor.proxy_name
    try {
      const owner = this.#clients.get(visitor.run_id)
      // Visitors from before frp 0.50 send no run id, and count as a user without name.
      if (visitor.run_id !== '' && owner === undefined) {
        throw refusal(`no client control found for run id [${visitor.run_id}]`)
      }
      const proxy = this.#secrets.check(visitor, owner?.view.user ?? '')
      connection.admit()
      channel.send('NewVisitorConnResp', { proxy_name: name })
      const form = { version: channel.version, codec: owner?.client.udpPacketCodec ?? 'json' } as const
      serveVisitor(proxy, visitor, form, channel.detach(), connection.peer)
    } catch (error) {
      this.#logger.warn({ proxy: name, reason: errorMessage(error) }, 'register visitor conn error')
      const told = this.#parts.places.config.detailedErrorsToClient
        ? errorMessage(error)
        : `register visitor conn [${name}] error`
      channel.send('NewVisitorConnResp', { proxy_name: name, error: told })
      channel.end()
      this.#options.clock.after(lingerMs, () => connection.stream.destroy())
    }
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

/** A peer that was refused has so many milliseconds to close its side. */
const lingerMs = 1000

function refusal(message: string): TunnelError {
  return new TunnelError('TUNNEL_FORBIDDEN', message, { side: 'client' })
}

function loginRefusal(error: unknown): LoginRefusal {
  switch (errorCode(error)) {
    case 'TUNNEL_UNAUTHORIZED':
      return 'unauthorized'
    case 'TUNNEL_FORBIDDEN':
      return 'limit'
    case 'TUNNEL_TIMEOUT':
      return 'timeout'
    default:
      return 'protocol'
  }
}
