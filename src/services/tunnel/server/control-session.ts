import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import { ByteBucket, limitedStream, type TcpJoiner } from '../../../mechanisms/streams/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import {
  cfbKey,
  type FrpMessage,
  type Login,
  type NewProxy,
  parseBandwidth,
  type Ping,
  type UdpPacketCodec,
} from '../../../protocols/frp/index.ts'
import type { Identity } from '../auth/contract.ts'
import { TunnelError } from '../errors.ts'
import type { MessageChannel } from '../message-channel.ts'
import { payloadLayers } from '../payload-layers.ts'
import type { ClientView, ProxyView, TunnelRecorder } from '../statistics/contract.ts'
import type { AcceptedConnection } from '../transport/contract.ts'
import { domainsOf, domainTypes } from './domains.ts'
import { type OpenedProxy, openProxy, type ProxyPlaces } from './open-proxy.ts'
import { ProxyBackend } from './proxy-backend.ts'
import { Quota, take } from './quota.ts'
import type { Rights } from './rights.ts'
import type { TunnelMetrics } from './tunnel-metrics.ts'
import { UdpProxy } from './udp-proxy.ts'
import { WorkPool } from './work-pool.ts'

/** What the sessions of all clients share. */
export interface ControlParts {
  readonly places: ProxyPlaces
  /** Names of proxies in use, with who has them. */
  readonly names: Map<string, ControlSession>
  /** Backends of proxies that are closed and still carry somebody. */
  readonly departed: Set<ProxyBackend>
  /** User connections of the server. */
  readonly connections: Quota
  readonly recorder: TunnelRecorder
  readonly metrics: TunnelMetrics
  readonly datapath: Datapath
  readonly clock: Clock
  readonly logger: Logger
  readonly joiner: TcpJoiner | undefined
}

/** A client whose login was accepted. */
export interface LoggedIn {
  readonly login: Login
  readonly runId: string
  readonly identity: Identity
  readonly rights: Rights
  readonly connection: AcceptedConnection
  /** Secured, and paused. */
  readonly channel: MessageChannel
  readonly udpPacketCodec: UdpPacketCodec
}

interface RegisteredProxy {
  readonly view: ProxyView
  readonly backend: ProxyBackend
  readonly opened: OpenedProxy
  /** Gives back what it took of quotas. */
  readonly release: () => void
}

/** Messages of a client that wait for the ones before them. A client that sends more does not read the answers. */
const maxPending = 1000

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
  readonly #payloadKey: Buffer
  readonly #proxies = new Map<string, RegisteredProxy>()
  readonly #ports: Quota
  readonly #proxyQuota: Quota
  #settle: () => void = () => undefined
  /** Messages are dealt with one after the other. */
  #work: Promise<void> = Promise.resolve()
  #pending = 0
  #lastPingMs: number
  #heartbeat: Timer | undefined
  #isClosing = false

  constructor(client: LoggedIn, parts: ControlParts) {
    const { login, runId, channel, connection } = client
    const { config } = parts.places
    this.client = client
    this.#parts = parts
    this.#logger = parts.logger.child({ runId })
    this.#payloadKey = cfbKey(client.identity.token)
    this.#ports = new Quota('max_ports_per_client', config.maxPortsPerClient)
    this.#proxyQuota = new Quota('limits.maxProxiesPerClient', config.limits.maxProxiesPerClient)
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
      waitMs: config.userConnTimeout * 1000,
      clock: parts.clock,
      request: () => channel.send('ReqWorkConn', {}),
    })
  }

  get proxies(): readonly ProxyView[] {
    return [...this.#proxies.values()].map(({ view }) => view)
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

  /** Ends the control channel, and with it the client's proxies. Connections that are carried go on where they can. */
  close(error?: Error): void {
    if (this.#isClosing) return
    this.#isClosing = true
    this.#heartbeat?.cancel()
    const { channel, connection } = this.client
    channel.destroy(error)
    connection.session?.destroy(error)
    this.pool.close()
    // What is being opened right now is closed by the one who opens it.
    void this.#work.then(() => {
      for (const name of this.#proxies.keys()) this.closeProxy(name)
      this.#parts.recorder.clientOffline(this.view.runId)
      this.#logger.info({ ...(error !== undefined && { reason: error.message }) }, 'client exit success')
      this.#settle()
    })
  }

  /** False: the client has no such proxy. */
  closeProxy(name: string): boolean {
    const proxy = this.#proxies.get(name)
    if (proxy === undefined) return false
    this.#proxies.delete(name)
    proxy.opened.close()
    proxy.release()
    this.#parts.names.delete(name)
    this.#parts.recorder.proxyOffline(name)
    const { departed } = this.#parts
    if (proxy.backend.joins > 0) {
      departed.add(proxy.backend)
      proxy.backend.onIdle(() => departed.delete(proxy.backend))
    }
    return true
  }

  #take(message: FrpMessage): void {
    if (++this.#pending > maxPending) {
      this.close(
        new TunnelError('TUNNEL_PROTOCOL', `more than ${maxPending} messages wait`, { side: 'client' }),
      )
      return
    }
    this.#work = this.#work.then(async () => {
      this.#pending--
      if (this.#isClosing) return
      try {
        await this.#deal(message)
      } catch (error) {
        this.#logger.error({ reason: errorMessage(error), message: message.name }, 'message not dealt with')
      }
    })
  }

  async #deal(message: FrpMessage): Promise<void> {
    switch (message.name) {
      case 'NewProxy':
        await this.#newProxy(message.body)
        return
      case 'CloseProxy':
        if (this.closeProxy(message.body.proxy_name)) {
          this.#logger.info({ proxy: message.body.proxy_name }, 'close proxy success')
        }
        return
      case 'Ping':
        await this.#ping(message.body)
        return
      case 'NatHoleVisitor':
      case 'NatHoleClient':
        this.client.channel.send('NatHoleResp', {
          transaction_id: message.body['transaction_id'],
          error: 'xtcp is not supported by this server',
        })
        return
      default:
        this.#logger.debug({ message: message.name }, 'message has no meaning here')
    }
  }

  async #ping(ping: Ping): Promise<void> {
    try {
      await this.client.identity.verifyPing(ping)
      this.#lastPingMs = this.#parts.clock.nowMs()
      this.client.channel.send('Pong', {})
    } catch (error) {
      this.client.channel.send('Pong', { error: this.#told(error, 'invalid ping') })
    }
  }

  async #newProxy(request: NewProxy): Promise<void> {
    const { proxy_name: name, proxy_type: type } = request
    const { channel } = this.client
    try {
      const remoteAddr = await this.#register(request)
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

  async #register(request: NewProxy): Promise<string> {
    const { names, places, recorder, clock } = this.#parts
    const { rights, login, channel, udpPacketCodec } = this.client
    const name = request.proxy_name
    const type = request.proxy_type || 'tcp'
    if (name === '') throw badProxy('proxy name is empty')
    const domains = domainTypes.has(type) ? domainsOf(request, places.config.subDomainHost) : []
    rights.checkProxy(request, type, login.user, domains)
    if (names.has(name)) {
      throw new TunnelError('TUNNEL_PROXY_NAME_TAKEN', `proxy [${name}] already exists`, { side: 'client' })
    }
    const release = this.#takeQuotas(type)
    // Taken before the port is open, so that nobody else gets the name meanwhile.
    names.set(name, this)
    const view: ProxyView = {
      name,
      type,
      user: login.user,
      clientId: login.client_id,
      runId: this.view.runId,
      request,
      remoteAddr: '',
      startedAtMs: clock.wallMs(),
    }
    // The recorder knows it before its first user can come, and learns its address below.
    const traffic = recorder.proxyOnline(view)
    try {
      const layers = this.#layersOf(request)
      const backend = this.#backendOf(request, layers, traffic)
      const opened = await openProxy(
        {
          request: { ...request, proxy_type: type },
          domains,
          user: login.user,
          form: { version: channel.version, codec: udpPacketCodec },
          rights,
          backend,
          makeUdp: () => this.#udpOf(name, layers, traffic),
        },
        places,
      )
      const opening: ProxyView = { ...view, remoteAddr: opened.remoteAddr }
      recorder.proxyOnline(opening)
      this.#proxies.set(name, { view: opening, backend, opened, release })
      return opened.remoteAddr
    } catch (error) {
      names.delete(name)
      release()
      recorder.proxyRefused(name)
      throw error
    }
  }

  #takeQuotas(type: string): () => void {
    const { rights } = this.client
    const hasPort = type === 'tcp' || type === 'udp'
    const quotas = [this.#proxyQuota, rights.proxies, ...(hasPort ? [this.#ports, rights.ports] : [])]
    const release = take(quotas)
    if (!(release instanceof Quota)) return release
    throw new TunnelError(
      'TUNNEL_FORBIDDEN',
      release === this.#ports
        ? 'exceed the max_ports_per_client'
        : `exceed the limit of ${release.limit} ${release.name}`,
      { side: 'client' },
    )
  }

  #backendOf(
    request: NewProxy,
    layers: (work: ByteStream) => ByteStream,
    traffic: ReturnType<TunnelRecorder['proxyOnline']>,
  ): ProxyBackend {
    const { connections, metrics, clock, joiner, places } = this.#parts
    const { rights, login, channel } = this.client
    const { maxConnectionsPerProxy } = places.config.limits
    return new ProxyBackend({
      proxyName: request.proxy_name,
      wireVersion: channel.version,
      pool: this.pool,
      layers,
      halfClose: login.half_close,
      quotas: [
        connections,
        rights.connections,
        new Quota('limits.maxConnectionsPerProxy', maxConnectionsPerProxy),
      ],
      traffic,
      metrics,
      clock,
      logger: this.#logger.child({ proxy: request.proxy_name }),
      joiner,
    })
  }

  #udpOf(
    proxyName: string,
    layers: (work: ByteStream) => ByteStream,
    traffic: ReturnType<TunnelRecorder['proxyOnline']>,
  ): UdpProxy {
    const { datapath, metrics, clock } = this.#parts
    const { channel, udpPacketCodec } = this.client
    return new UdpProxy({
      proxyName,
      wireVersion: channel.version,
      udpPacketCodec,
      pool: this.pool,
      layers,
      traffic,
      metrics,
      datapath,
      clock,
      logger: this.#logger.child({ proxy: proxyName }),
    })
  }

  /** Encryption and compression, and above them the limits that the server keeps (reference §17). */
  #layersOf(request: NewProxy): (work: ByteStream) => ByteStream {
    const buckets: ByteBucket[] = []
    const { bandwidth_limit: limit, bandwidth_limit_mode: mode } = request
    if (limit !== '' && mode === 'server') {
      const bytesPerSecond = parseBandwidth(limit)
      if (bytesPerSecond === undefined) throw badProxy(`bandwidth limit [${limit}]: unit not support`)
      if (bytesPerSecond > 0) buckets.push(new ByteBucket(bytesPerSecond, this.#parts.clock))
    }
    const { bucket } = this.client.rights
    if (bucket !== undefined) buckets.push(bucket)
    const payload = {
      key: request.use_encryption ? this.#payloadKey : undefined,
      isCompressed: request.use_compression,
    }
    return (work) => buckets.reduce(limitedStream, payloadLayers(work, payload))
  }

  #watchHeartbeat(): void {
    const { clock, places } = this.#parts
    const timeoutMs = places.config.transport.heartbeatTimeout * 1000
    if (timeoutMs <= 0) return
    const leftMs = this.#lastPingMs + timeoutMs - clock.nowMs()
    if (leftMs <= 0) {
      this.close(new TunnelError('TUNNEL_TIMEOUT', 'heartbeat timeout', { side: 'client' }))
      return
    }
    this.#heartbeat = clock.after(leftMs, () => this.#watchHeartbeat())
  }

  /** What a client is told: the reason, or a summary where the server is not to tell. */
  #told(error: unknown, summary: string): string {
    const { detailedErrorsToClient } = this.#parts.places.config
    return detailedErrorsToClient && error instanceof TunnelError ? error.message : summary
  }
}

function badProxy(message: string): TunnelError {
  return new TunnelError('TUNNEL_BAD_PROXY', message, { side: 'client' })
}
