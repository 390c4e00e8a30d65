import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { ByteBucket, limitedStream } from '../../../mechanisms/streams/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { cfbKey, type NewProxy, parseBandwidth } from '../../../protocols/frp/index.ts'
import { TunnelError } from '../errors.ts'
import { payloadLayers } from '../payload-layers.ts'
import type { ProxyTraffic, ProxyView } from '../statistics/contract.ts'
import type { ControlParts, LoggedIn, ProxyOwner } from './control-parts.ts'
import { domainsOf, domainTypes } from './domains.ts'
import { LateTraffic } from './late-traffic.ts'
import { type OpenedProxy, openerOf } from './open-proxy.ts'
import { ProxyBackend } from './proxy-backend.ts'
import { Quota, take } from './quota.ts'
import { UdpProxy } from './udp-proxy.ts'
import type { WorkPool } from './work-pool.ts'

/** Of which several may share a port or a route. */
const groupTypes: ReadonlySet<string> = new Set(['tcp', 'http', 'https', 'tcpmux'])

interface RegisteredProxy {
  readonly view: ProxyView
  readonly backend: ProxyBackend
  readonly opened: OpenedProxy
  /** Gives back what it took of quotas. */
  readonly release: () => void
}

/** The proxies of one client: their names, what they take of quotas, and what makes users reach them. */
export class ClientProxies implements ProxyOwner {
  readonly #client: LoggedIn
  readonly #pool: WorkPool
  readonly #parts: ControlParts
  readonly #logger: Logger
  readonly #payloadKey: Buffer
  readonly #registered = new Map<string, RegisteredProxy>()
  readonly #ports: Quota
  readonly #proxies: Quota
  /** Closed, with users who go on. */
  readonly #departed = new Set<ProxyBackend>()
  /** Those that are being opened. */
  readonly #opening = new Set<Promise<string>>()
  #isRetired = false

  constructor(client: LoggedIn, pool: WorkPool, parts: ControlParts, logger: Logger) {
    this.#client = client
    this.#pool = pool
    this.#parts = parts
    this.#logger = logger
    this.#payloadKey = cfbKey(client.identity.token)
    this.#ports = new Quota('max_ports_per_client', 0)
    this.#proxies = new Quota('proxies per client', 0)
  }

  get views(): readonly ProxyView[] {
    return [...this.#registered.values()].map(({ view }) => view)
  }

  /**
   * Makes a proxy reachable. Gives where users reach it.
   * @throws TunnelError in frp's words; then nothing is left of it
   */
  open(asked: NewProxy): Promise<string> {
    const opening = this.#open(asked)
    this.#opening.add(opening)
    return opening.finally(() => this.#opening.delete(opening))
  }

  close(name: string): boolean {
    const proxy = this.#registered.get(name)
    if (proxy === undefined) return false
    this.#registered.delete(name)
    proxy.opened.close()
    proxy.release()
    this.#parts.names.delete(name)
    this.#parts.recorder.proxyOffline(name)
    const { backend } = proxy
    if (backend.carried > 0) {
      const places = [this.#departed, this.#parts.departed]
      for (const place of places) place.add(backend)
      backend.onIdle = () => {
        for (const place of places) place.delete(backend)
      }
    }
    return true
  }

  /** Cuts the users of all its proxies, also of those that it has closed. */
  cut(): void {
    for (const { backend } of this.#registered.values()) backend.destroy()
    for (const backend of this.#departed) backend.destroy()
  }

  /**
   * Closes all, and opens none any more; what is being opened fails. Resolves when nothing is open. Users who are carried go
   * on where they can.
   */
  async retire(): Promise<void> {
    this.#isRetired = true
    for (const name of this.#registered.keys()) this.close(name)
    await Promise.allSettled(this.#opening)
  }

  async #open(asked: NewProxy): Promise<string> {
    const { names, places } = this.#parts
    const { rights, login } = this.#client
    const request = { ...asked, proxy_type: asked.proxy_type || 'tcp' }
    const { proxy_name: name, proxy_type: type } = request
    if (name === '') throw badProxy('proxy name is empty')
    const open = openerOf(request, rights, places)
    const domains = domainTypes.has(type) ? domainsOf(request, places.config.subDomainHost) : []
    rights.checkProxy(request, type, login.user, domains)
    if (names.has(name)) {
      throw new TunnelError('TUNNEL_PROXY_NAME_TAKEN', `proxy [${name}] already exists`, { side: 'client' })
    }
    if (request.group !== '' && !groupTypes.has(type)) {
      this.#logger.warn({ proxy: name, type }, 'a group has no meaning for a proxy of this type')
    }
    const release = this.#takeQuotas(type)
    // Taken before it is open, so that nobody else gets the name meanwhile.
    names.set(name, this)
    let opened: OpenedProxy | undefined
    try {
      const traffic = new LateTraffic()
      const layers = this.#layersOf(request)
      const backend = this.#backendOf(request, layers, traffic)
      opened = await open({
        request,
        domains,
        user: login.user,
        form: { version: this.#client.channel.version, codec: this.#client.udpPacketCodec },
        rights,
        backend,
        makeUdp: () => this.#udpOf(name, layers, traffic),
      })
      this.#checkRetired()
      const view = this.#viewOf(request, opened.remoteAddr)
      // Before its first user comes: nobody was accepted since it opened.
      traffic.book = this.#parts.recorder.proxyOnline(view)
      this.#registered.set(name, { view, backend, opened, release })
      return opened.remoteAddr
    } catch (error) {
      opened?.close()
      names.delete(name)
      release()
      throw error
    }
  }

  #checkRetired(): void {
    if (this.#isRetired)
      throw new TunnelError('TUNNEL_CLOSED', 'proxies are not opened any more', { side: 'self' })
  }

  #viewOf(request: NewProxy, remoteAddr: string): ProxyView {
    const { login, runId } = this.#client
    return {
      name: request.proxy_name,
      type: request.proxy_type,
      user: login.user,
      clientId: login.client_id,
      runId,
      request,
      remoteAddr,
      startedAtMs: this.#parts.clock.wallMs(),
    }
  }

  #takeQuotas(type: string): () => void {
    const { rights } = this.#client
    const { maxPortsPerClient, limits } = this.#parts.places.config
    this.#ports.limit = maxPortsPerClient
    this.#proxies.limit = limits.maxProxiesPerClient
    const hasPort = type === 'tcp' || type === 'udp'
    const release = take([this.#proxies, rights.proxies, ...(hasPort ? [this.#ports, rights.ports] : [])])
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
    traffic: ProxyTraffic,
  ): ProxyBackend {
    const { connections, metrics, clock, joiner, places } = this.#parts
    const { rights, login, channel } = this.#client
    const { maxConnectionsPerProxy } = places.config.limits
    return new ProxyBackend({
      proxyName: request.proxy_name,
      wireVersion: channel.version,
      pool: this.#pool,
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

  #udpOf(proxyName: string, layers: (work: ByteStream) => ByteStream, traffic: ProxyTraffic): UdpProxy {
    const { datapath, metrics, clock } = this.#parts
    const { channel, udpPacketCodec } = this.#client
    return new UdpProxy({
      proxyName,
      wireVersion: channel.version,
      udpPacketCodec,
      pool: this.#pool,
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
    const { bucket } = this.#client.rights
    if (bucket !== undefined) buckets.push(bucket)
    const payload = {
      key: request.use_encryption ? this.#payloadKey : undefined,
      isCompressed: request.use_compression,
    }
    return (work) => buckets.reduce(limitedStream, payloadLayers(work, payload))
  }
}

function badProxy(message: string): TunnelError {
  return new TunnelError('TUNNEL_BAD_PROXY', message, { side: 'client' })
}
