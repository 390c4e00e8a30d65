import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import type { TunnelClientConfig } from '../../../mechanisms/frp-config/index.ts'
import type { TcpJoiner } from '../../../mechanisms/streams/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { ClientAuth } from '../auth/contract.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import { frpVersion } from '../frp-version.ts'
import type { ServerLink } from '../transport/contract.ts'
import { Backoff } from './backoff.ts'
import type { ClientWork, ProxyStatus, TunnelClientControl } from './contract.ts'
import { ControlSession } from './control-session.ts'
import { Joins } from './joins.ts'
import { type DialLocal, LocalDialer } from './local-dialer.ts'
import { login } from './login.ts'
import { Proxies } from './proxies.ts'
import { Visitors } from './visitors.ts'

export interface TunnelClientOptions {
  readonly config: TunnelClientConfig
  readonly auth: ClientAuth
  /**
   * Makes the way to the server. The signal is aborted when the client is closed.
   * @throws TunnelError TUNNEL_UNREACHABLE, TUNNEL_TIMEOUT
   */
  readonly connect: (options: { readonly signal: AbortSignal }) => Promise<ServerLink>
  readonly datapath: Datapath
  readonly clock: Clock
  readonly logger: Logger
  /** @defaultValue the system's randomness */
  readonly random?: (length: number) => Uint8Array
  /** Connects to local services. @defaultValue by TCP, within 10 s */
  readonly dialLocal?: DialLocal
  /** Takes over long joins of plain TCP connections. @defaultValue none */
  readonly joinEngine?: TcpJoiner
  /** What peers show as the version of the client. @defaultValue `frpVersion` */
  readonly version?: string
}

/**
 * frpc: logs in to a server, serves the proxies that it is told of, and returns whenever the server is lost.
 *
 * @example
 * const connect = ({ signal }) => connectServer(config, { clock, logger, signal })
 * const client = new TunnelClient({ config, auth, connect, datapath, clock, logger })
 * await client.start()
 */
export class TunnelClient implements Lifecycle, TunnelClientControl {
  readonly #options: TunnelClientOptions
  readonly #random: (length: number) => Uint8Array
  readonly #log: Logger
  readonly #backoff: Backoff
  readonly #dialer: LocalDialer
  readonly #joins: Joins
  readonly #proxies: Proxies
  readonly #visitors: Visitors
  #session: ControlSession | undefined
  #runId = ''
  /** What is to run, from the end of `start` on. */
  #work: ClientWork
  #isWorking = false
  #retry: Timer | undefined
  readonly #abort = new AbortController()
  /** The link of a login that is under way. */
  #dialogue: ServerLink | undefined
  #starting: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(options: TunnelClientOptions) {
    const { config, auth, datapath, clock, logger } = options
    this.#options = options
    this.#work = config
    this.#random = options.random ?? randomBytes
    this.#log = logger
    this.#backoff = new Backoff(clock, () => (this.#random(1)[0] ?? 0) / 256)
    this.#dialer = new LocalDialer(clock)
    this.#joins = new Joins(clock, options.joinEngine)
    this.#proxies = new Proxies(config.user, {
      token: auth.token,
      clock,
      log: logger,
      datapath,
      dialLocal: options.dialLocal ?? this.#dialer.connect,
      joins: this.#joins,
    })
    this.#visitors = new Visitors({
      user: config.user,
      server: () => this.#session,
      joins: this.#joins,
      datapath,
      clock,
      log: logger,
    })
  }

  get isLoggedIn(): boolean {
    return this.#session !== undefined
  }

  get runId(): string {
    return this.#runId
  }

  status(): readonly ProxyStatus[] {
    return this.#proxies.status()
  }

  update(work: ClientWork): void {
    this.#work = work
    if (!this.#isWorking || this.#closing !== undefined) return
    this.#visitors.update(work.visitors)
    this.#proxies.update(work.proxies)
  }

  /**
   * Logs in. Without `loginFailExit` it resolves after a first login that failed, too, and goes on trying.
   *
   * @throws TunnelError with `loginFailExit`: TUNNEL_LOGIN_REFUSED with the server's words, TUNNEL_UNREACHABLE; always
   * TUNNEL_CLOSED when it is closed meanwhile
   */
  start({ signal }: StartOptions = {}): Promise<void> {
    this.#starting ??= this.#start(signal)
    return this.#starting
  }

  /** Takes the proxies back from the server, lets user connections run on for `graceMs`, and leaves. */
  close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async #start(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    const { config } = this.#options
    const onAbort = (): void => void this.close()
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await this.#logIn()
    } catch (error) {
      signal?.throwIfAborted()
      if (config.loginFailExit || this.#closing !== undefined) {
        await this.close()
        throw firstFailure(error)
      }
      this.#retryAfter(this.#backoff.afterFailure())
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
    this.#isWorking = true
    this.update(this.#work)
  }

  /** One attempt. Rejects when it fails, or when the client was closed meanwhile. */
  async #logIn(): Promise<void> {
    this.#log.info('try to connect to server...')
    try {
      const session = await this.#openSession()
      this.#runId = session.runId
      this.#session = session
      session.log.info(`login to server success, get run id [${session.runId}]`)
      session.begin()
      if (!session.isOver) this.#proxies.attach(session)
    } catch (error) {
      if (this.#closing === undefined) {
        this.#log.warn({ error: errorMessage(error), code: errorCode(error) }, 'connect to server error')
      }
      throw error
    }
  }

  async #openSession(): Promise<ControlSession> {
    const { config, auth, clock, connect, version = frpVersion } = this.#options
    this.#refuseWhenClosing()
    const link = await connect({ signal: this.#abort.signal })
    this.#dialogue = link
    try {
      this.#refuseWhenClosing()
      const parts = { config, auth, clock, random: this.#random, version }
      const loggedIn = await login(await link.open(), this.#runId, parts)
      this.#refuseWhenClosing()
      const session: ControlSession = new ControlSession(loggedIn, link, {
        config,
        auth,
        clock,
        log: this.#log.child({ runId: loggedIn.runId }),
        onWork: (work, start) => this.#proxies.serve(work, start, session),
        onEnd: (error) => this.#ended(session, error),
      })
      return session
    } catch (error) {
      link.close()
      throw error
    } finally {
      this.#dialogue = undefined
    }
  }

  #refuseWhenClosing(): void {
    if (this.#closing === undefined) return
    throw new TunnelError(TunnelErrorCode.closed, 'the client was closed', { side: 'self' })
  }

  #ended(session: ControlSession, error: Error | undefined): void {
    if (this.#session !== session) return
    this.#session = undefined
    this.#proxies.detach()
    if (this.#closing !== undefined) return
    session.log.warn(
      { ...(error !== undefined && { error: error.message }) },
      'the connection to the server is lost',
    )
    this.#retryAfter(this.#backoff.afterLoss())
  }

  #retryAfter(delayMs: number): void {
    this.#retry = this.#options.clock.after(delayMs, () => {
      this.#retry = undefined
      this.#logIn().catch(() => {
        if (this.#closing === undefined) this.#retryAfter(this.#backoff.afterFailure())
      })
    })
  }

  async #close(graceMs: number): Promise<void> {
    this.#retry?.cancel()
    this.#abort.abort()
    this.#dialogue?.close()
    const visitorsClosed = this.#visitors.close()
    this.#session?.stopWork()
    this.#proxies.close()
    await this.#joins.close(graceMs)
    this.#dialer.close()
    await this.#session?.close()
    await visitorsClosed
  }
}

/** Those that callers tell apart; all else is one. */
function firstFailure(error: unknown): TunnelError {
  const isTold: readonly string[] = [TunnelErrorCode.loginRefused, TunnelErrorCode.closed]
  if (error instanceof TunnelError && isTold.includes(error.code)) return error
  return new TunnelError(TunnelErrorCode.unreachable, `login to the server failed: ${errorMessage(error)}`, {
    side: 'origin',
    retryable: true,
    cause: error,
  })
}
