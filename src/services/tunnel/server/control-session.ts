import type { Timer } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { FrpMessage, NewProxy, Ping } from '../../../protocols/frp/index.ts'
import { TunnelError } from '../errors.ts'
import type { ClientView, ProxyView } from '../statistics/contract.ts'
import { ClientProxies } from './client-proxies.ts'
import type { ControlParts, LoggedIn } from './control-parts.ts'
import { toldError } from './told-error.ts'
import { WorkPool } from './work-pool.ts'

/** Messages of a client that wait for the ones before them. With so many nothing more is read of it until they are fewer. */
const mostPending = 16
/** As frps takes it where yamux does not ask whether the client is there (reference §7.4). */
const heartbeatWithoutMuxSeconds = 90

/**
 * One client that is logged in: its control channel, its work connections and its proxies. The end of the channel ends it;
 * its user connections go on where they do not need the channel's own yamux session.
 */
export class ControlSession {
  readonly client: LoggedIn
  readonly view: ClientView
  readonly pool: WorkPool
  /** Resolves when all it had is free again. */
  readonly closed: Promise<void>
  readonly #parts: ControlParts
  readonly #logger: Logger
  readonly #proxies: ClientProxies
  #settle: () => void = () => undefined
  /** Messages are dealt with one after the other. */
  #work: Promise<void> = Promise.resolve()
  #pending = 0
  #lastPingMs: number
  #heartbeat: Timer | undefined
  #hasPinged = false
  #isClosing = false

  constructor(client: LoggedIn, parts: ControlParts) {
    const { login, runId, channel, connection } = client
    const { config } = parts.places
    this.client = client
    this.#parts = parts
    this.#logger = parts.logger.child({ runId })
    this.#lastPingMs = parts.clock.nowMs()
    this.closed = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.view = {
      runId,
      user: login.user,
      clientId: login.client_id,
      version: login.version,
      hostname: login.hostname,
      os: login.os,
      arch: login.arch,
      metas: login.metas,
      wireVersion: channel.version,
      address: connection.peer.remoteAddress,
      connectedAtMs: parts.clock.wallMs(),
    }
    this.pool = new WorkPool({
      size: Math.max(0, Math.min(login.pool_count, config.transport.maxPoolCount)),
      waitMs: () => parts.places.config.userConnTimeout * 1000,
      clock: parts.clock,
      request: () => channel.sendSoon('ReqWorkConn', {}),
    })
    this.#proxies = new ClientProxies(client, this.pool, parts, this.#logger)
  }

  get proxies(): readonly ProxyView[] {
    return this.#proxies.views
  }

  /** Begins to listen to the client, who has been told that it is in. */
  start(): void {
    const { channel, connection } = this.client
    channel.onMessage = (message) => this.#take(message)
    channel.onClose = (error) => this.close(error)
    connection.session?.onClose((error) => this.close(error))
    this.#parts.recorder.clientOnline(this.view)
    this.pool.fill()
    this.#watchHeartbeat()
    channel.resume()
  }

  /** Closes the proxies, and lets the client register none any more. Users who are carried go on. */
  retire(): void {
    void this.#proxies.retire()
  }

  /** Ends it, and the connections of its users, too. */
  cut(error: Error): void {
    this.#proxies.cut()
    this.close(error)
  }

  /** Ends the control channel, and with it the client's proxies. Connections that are carried go on where they can. */
  close(error?: Error): void {
    if (this.#isClosing) return
    this.#isClosing = true
    this.#heartbeat?.cancel()
    const { channel, connection } = this.client
    channel.destroy(error)
    connection.session?.destroy(error)
    this.pool.close()
    void this.#leave(error)
  }

  async #leave(error: Error | undefined): Promise<void> {
    await this.#proxies.retire()
    this.#parts.recorder.clientOffline(this.view.runId)
    this.#logger.info({ ...(error !== undefined && { reason: error.message }) }, 'client exit success')
    this.#settle()
  }

  #take(message: FrpMessage): void {
    const { channel } = this.client
    if (++this.#pending === mostPending) channel.pause()
    this.#work = this.#work.then(async () => {
      try {
        if (!this.#isClosing) await this.#deal(message)
      } catch (error) {
        this.#logger.error({ reason: errorMessage(error), message: message.name }, 'message not dealt with')
      }
      // In a later turn of the event loop, so that a flood leaves turns to others.
      if (this.#pending-- === mostPending) setImmediate(() => channel.resume())
    })
  }

  async #deal({ name, body }: FrpMessage): Promise<void> {
    if (name === 'NewProxy') {
      await this.#newProxy(body)
    } else if (name === 'CloseProxy') {
      if (this.#proxies.close(body.proxy_name)) {
        this.#logger.info({ proxy: body.proxy_name }, 'close proxy success')
      }
    } else if (name === 'Ping') {
      await this.#ping(body)
    } else if (name === 'NatHoleVisitor' || name === 'NatHoleClient') {
      this.client.channel.send('NatHoleResp', {
        transaction_id: body['transaction_id'],
        error: 'xtcp is not supported by this server',
      })
    } else {
      this.#logger.debug({ message: name }, 'message has no meaning here')
    }
  }

  async #ping(ping: Ping): Promise<void> {
    try {
      await this.client.identity.verifyPing(ping)
      this.#lastPingMs = this.#parts.clock.nowMs()
      if (!this.#hasPinged) {
        this.#hasPinged = true
        this.#heartbeat?.cancel()
        this.#watchHeartbeat()
      }
      this.client.channel.send('Pong', {})
    } catch (error) {
      this.#logger.warn({ reason: errorMessage(error) }, 'received invalid ping')
      this.client.channel.send('Pong', { error: this.#told(error, 'invalid ping') })
    }
  }

  async #newProxy(request: NewProxy): Promise<void> {
    const { proxy_name: name, proxy_type: type } = request
    const { channel } = this.client
    try {
      const remoteAddr = await this.#proxies.open(request)
      this.#logger.info({ proxy: name, type, remoteAddr }, 'new proxy success')
      channel.send('NewProxyResp', { proxy_name: name, remote_addr: remoteAddr })
    } catch (error) {
      this.#logger.warn({ proxy: name, type, reason: errorMessage(error) }, 'new proxy error')
      channel.send('NewProxyResp', {
        proxy_name: name,
        error: this.#told(error, `new proxy [${name}] error`),
      })
    }
  }

  #watchHeartbeat(): void {
    const { clock } = this.#parts
    const timeoutMs = this.#heartbeatSeconds * 1000
    if (timeoutMs <= 0) return
    const leftMs = this.#lastPingMs + timeoutMs - clock.nowMs()
    if (leftMs <= 0) {
      this.close(new TunnelError('TUNNEL_TIMEOUT', 'heartbeat timeout', { side: 'client' }))
      return
    }
    this.#heartbeat = clock.after(leftMs, () => this.#watchHeartbeat())
  }

  /**
   * Of a client without mux there are no pings of yamux, also where the others have mux and need no heartbeats; and one with
   * mux sends none at a server without, unless it is told to.
   */
  get #heartbeatSeconds(): number {
    const { tcpMux, heartbeatTimeout } = this.#parts.places.config.transport
    const hasMux = this.client.connection.session !== undefined
    if (!tcpMux && hasMux && !this.#hasPinged) return 0
    return tcpMux && !hasMux && heartbeatTimeout <= 0 ? heartbeatWithoutMuxSeconds : heartbeatTimeout
  }

  #told(error: unknown, summary: string): string {
    return toldError(error, summary, this.#parts.places.config.detailedErrorsToClient)
  }
}
