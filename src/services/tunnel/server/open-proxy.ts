import type { TunnelServerConfig } from '../../../mechanisms/frp-config/index.ts'
import { ConnectionCap, endpointAddresses, hostOf, TcpListener } from '../../../mechanisms/net/index.ts'
import { socketStream } from '../../../mechanisms/streams/index.ts'
import type { NewProxy } from '../../../protocols/frp/index.ts'
import { TunnelError } from '../errors.ts'
import type { HttpRules, TcpmuxRules, VhostRegistry, VhostRoute } from '../vhost/contract.ts'
import type { Backend, BackendPicker } from './backend.ts'
import { remoteAddrOf } from './domains.ts'
import type { Groups, Place } from './groups.ts'
import type { DatagramForm } from './recode-datagrams.ts'
import type { OpenPort, RemotePorts } from './remote-ports.ts'
import type { Rights } from './rights.ts'
import type { SecretProxies } from './secret-proxies.ts'
import type { TunnelMetrics } from './tunnel-metrics.ts'
import type { UdpProxy } from './udp-proxy.ts'

/** What proxies of all clients share. */
export interface ProxyPlaces {
  /** In force; a reload puts another one here. */
  config: TunnelServerConfig
  readonly tcpPorts: RemotePorts
  readonly udpPorts: RemotePorts
  readonly groups: Groups
  readonly secrets: SecretProxies
  /** Absent where the server has no port for the type. */
  readonly http: VhostRegistry<HttpRules> | undefined
  readonly https: VhostRegistry<undefined> | undefined
  readonly tcpmux: VhostRegistry<TcpmuxRules> | undefined
  readonly metrics: Pick<TunnelMetrics, 'userRefused'>
}

/** One proxy that wants to be reached. */
export interface ProxyToOpen {
  readonly request: NewProxy
  /** As configured by `domainsOf`; empty for types without. */
  readonly domains: readonly string[]
  /** Of the login. */
  readonly user: string
  readonly form: DatagramForm
  readonly rights: Rights
  readonly backend: Backend
  /** Only of type udp. */
  readonly makeUdp: () => UdpProxy
}

/** A proxy that users reach. */
export interface OpenedProxy {
  /** Told to the client. */
  readonly remoteAddr: string
  /** Nobody new is let in, and its port is free; connections that are carried go on. */
  readonly close: () => void
}

/** Most routes of one proxy, domains times locations. */
const maxRoutes = 1000
/** A user whose machine has gone without a word must not hold its place for ever; asked after so many milliseconds. */
const keepAliveMs = 60_000
/** The longest time that a timer takes. */
const forEverMs = 2_147_483_647

/** Makes a proxy reachable. @throws TunnelError in frp's words */
export type ProxyOpener = (proxy: ProxyToOpen) => Promise<OpenedProxy>

/**
 * How a proxy is made reachable as its type says (reference §9), once it is known that it may be.
 * @throws TunnelError in frp's words, for a type or a port that cannot be had here
 */
export function openerOf(
  request: NewProxy,
  { allowPorts }: Pick<Rights, 'allowPorts'>,
  places: ProxyPlaces,
): ProxyOpener {
  const { proxy_type: type, remote_port: port } = request
  switch (type) {
    case 'tcp':
      places.tcpPorts.check(port, allowPorts)
      return (proxy) => openTcp(proxy, places)
    case 'udp':
      places.udpPorts.check(port, allowPorts)
      return (proxy) => openUdp(proxy, places)
    case 'http': {
      const registry = portOfType(type, places.http)
      return (proxy) => openHttp(proxy, places, registry)
    }
    case 'https': {
      const registry = portOfType(type, places.https)
      return (proxy) => openHttps(proxy, places, registry)
    }
    case 'tcpmux': {
      if (request.multiplexer !== 'httpconnect')
        throw badProxy(`unknown multiplexer [${request.multiplexer}]`)
      const registry = places.tcpmux
      if (registry !== undefined) return (proxy) => openTcpmux(proxy, places, registry)
      throw badProxy(
        'tcpmux with multiplexer httpconnect not supported because this feature is not enabled in server',
      )
    }
    case 'stcp':
    case 'sudp':
      return async (proxy) => openSecret(type, proxy, places)
    case 'xtcp':
      throw new TunnelError('TUNNEL_UNSUPPORTED', 'proxy type xtcp is not supported by this server', {
        side: 'client',
      })
    default:
      throw badProxy(`unknown proxy type: ${type}`)
  }
}

async function openTcp(proxy: ProxyToOpen, places: ProxyPlaces): Promise<OpenedProxy> {
  const { request, backend, rights } = proxy
  const { tcpPorts, config, metrics } = places
  const name = request.proxy_name
  const open = async (backends: BackendPicker): Promise<Place<OpenPort<TcpListener>>> => {
    const value = await tcpPorts.open(name, request.remote_port, rights.allowPorts, async (port) => {
      const listener = tcpListener(config, port, backends, metrics)
      await listener.start()
      return listener
    })
    return { value, close: () => undefined }
  }
  const { group } = request
  if (group === '') {
    const { value } = await open(single(backend))
    return {
      remoteAddr: `:${value.port}`,
      close: () => closeListener(value, name, tcpPorts),
    }
  }
  const terms = {
    type: 'tcp',
    name: group,
    key: request.group_key,
    place: config.proxyBindAddr,
    port: request.remote_port,
  }
  const place = await places.groups.join(terms, backend, async (backends) => {
    const { value } = await open(backends)
    return { value, close: () => closeListener(value, name, tcpPorts) }
  })
  // The founder's port, which is not every member's to use.
  if (!tcpPorts.isAllowed(place.value.port, rights.allowPorts)) {
    place.close()
    throw new TunnelError('TUNNEL_PORT', 'port not allowed', { side: 'client' })
  }
  return {
    remoteAddr: `:${place.value.port}`,
    close: () => place.close(),
  }
}

function tcpListener(
  config: TunnelServerConfig,
  port: number,
  backends: BackendPicker,
  metrics: ProxyPlaces['metrics'],
): TcpListener {
  const { maxConnections } = config.limits
  return new TcpListener({
    listen: { ...hostOf(config.proxyBindAddr), port },
    cap: new ConnectionCap({ maxConnections, maxConnectionsPerAddress: maxConnections }),
    onConnection: (socket, info) => {
      const next = backends.next()
      if (next !== undefined) {
        socket.setKeepAlive(true, keepAliveMs)
        next.serve(socketStream(socket), info)
        return
      }
      metrics.userRefused('no-backend')
      socket.destroy()
    },
  })
}

/** Nothing listens when it returns; what was accepted goes on. */
function closeListener({ port, listener }: OpenPort<TcpListener>, name: string, ports: RemotePorts): void {
  void listener.close({ graceMs: forEverMs })
  ports.release(name, port)
}

async function openUdp(proxy: ProxyToOpen, { udpPorts, config }: ProxyPlaces): Promise<OpenedProxy> {
  const { request, rights } = proxy
  const name = request.proxy_name
  const addresses = await endpointAddresses(config.proxyBindAddr)
  const opened = await udpPorts.open(name, request.remote_port, rights.allowPorts, async (port) => {
    const udp = proxy.makeUdp()
    await udp.listen(addresses, port)
    return udp
  })
  return {
    remoteAddr: `:${opened.port}`,
    close: () => {
      opened.listener.close()
      udpPorts.release(name, opened.port)
    },
  }
}

function openHttp(
  proxy: ProxyToOpen,
  places: ProxyPlaces,
  registry: VhostRegistry<HttpRules>,
): Promise<OpenedProxy> {
  const { request } = proxy
  const rules: HttpRules = {
    user: request.http_user,
    password: request.http_pwd,
    hostHeaderRewrite: request.host_header_rewrite,
    requestHeaders: request.headers,
    responseHeaders: request.response_headers,
  }
  return openRoutes(proxy, places, registry, rules, {
    locations: request.locations.length === 0 ? [''] : request.locations,
    httpUser: request.route_by_http_user,
    port: places.config.vhostHTTPPort,
  })
}

function openHttps(
  proxy: ProxyToOpen,
  places: ProxyPlaces,
  registry: VhostRegistry<undefined>,
): Promise<OpenedProxy> {
  return openRoutes(proxy, places, registry, undefined, {
    locations: [''],
    httpUser: '',
    port: places.config.vhostHTTPSPort,
  })
}

function openTcpmux(
  proxy: ProxyToOpen,
  places: ProxyPlaces,
  registry: VhostRegistry<TcpmuxRules>,
): Promise<OpenedProxy> {
  const { request } = proxy
  return openRoutes(
    proxy,
    places,
    registry,
    { user: request.http_user, password: request.http_pwd },
    { locations: [''], httpUser: request.route_by_http_user, port: places.config.tcpmuxHTTPConnectPort },
  )
}

interface RoutePlan {
  readonly locations: readonly string[]
  readonly httpUser: string
  readonly port: number
}

async function openRoutes<Rules>(
  proxy: ProxyToOpen,
  places: ProxyPlaces,
  registry: VhostRegistry<Rules>,
  rules: Rules,
  { locations, httpUser, port }: RoutePlan,
): Promise<OpenedProxy> {
  const { request, backend, domains } = proxy
  if (domains.length * locations.length > maxRoutes) {
    throw badProxy(`more than ${maxRoutes} routes: ${domains.length} domains, ${locations.length} locations`)
  }
  // frp tells a domain once for each of its locations.
  const remoteAddr = remoteAddrOf(
    domains.flatMap((domain) => locations.map(() => domain)),
    port,
  )
  const open = (backends: BackendPicker): (() => void) => {
    const removals: (() => void)[] = []
    const close = (): void => {
      for (const remove of removals) remove()
    }
    try {
      for (const domain of domains) {
        for (const location of locations) {
          const route: VhostRoute = { domain, location, httpUser, backends }
          removals.push(registry.add(route, rules))
        }
      }
    } catch (error) {
      close()
      throw error
    }
    return close
  }
  if (request.group === '') {
    const close = open(single(backend))
    return { remoteAddr, close }
  }
  const terms = {
    type: request.proxy_type,
    name: request.group,
    key: request.group_key,
    place: JSON.stringify([domains.toSorted(), locations.toSorted(), httpUser]),
    port: 0,
  }
  const place = await places.groups.join(terms, backend, async (backends) => ({
    value: undefined,
    close: open(backends),
  }))
  return { remoteAddr, close: () => place.close() }
}

function openSecret(
  type: 'stcp' | 'sudp',
  { request, user, form, backend }: ProxyToOpen,
  { secrets }: ProxyPlaces,
): OpenedProxy {
  const remove = secrets.add(request.proxy_name, {
    type,
    secretKey: request.sk,
    allowUsers: request.allow_users.length === 0 ? [user] : request.allow_users,
    form,
    backend,
  })
  return { remoteAddr: '', close: remove }
}

function portOfType<T>(type: 'http' | 'https', registry: T | undefined): T {
  if (registry !== undefined) return registry
  throw badProxy(`type [${type}] not supported when vhost ${type} port is not set`)
}

function single(backend: Backend): BackendPicker {
  return { next: () => backend }
}

function badProxy(message: string): TunnelError {
  return new TunnelError('TUNNEL_BAD_PROXY', message, { side: 'client' })
}
