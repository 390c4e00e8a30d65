import type { Clock } from '../../../foundation/clock.ts'
import type { TunnelServerConfig } from '../../../mechanisms/frp-config/index.ts'
import type { ProxyReport, TunnelStatistics } from '../statistics/tunnel-statistics.ts'
import { type ClientJson, clientJson, clientList, knownClient, seconds } from './client-json.ts'
import { compare, withoutEmpty } from './frp-json.ts'
import { proxySpec, remotePort } from './proxy-conf.ts'
import { serverInfo } from './server-info.ts'
import { WebError } from './web-error.ts'
import type { WebRequest, WebRoute } from './web-server.ts'

type Json = Readonly<Record<string, unknown>>

/** What v2 shows. */
export interface DashboardV2Parts {
  readonly config: TunnelServerConfig
  readonly version: string
  readonly statistics: TunnelStatistics
  readonly clock: Clock
}

const DEFAULT_PAGE_SIZE = 50
const MAX_PAGE_SIZE = 200
/** As frp names them in its answer to another one. */
const TYPES = ['tcp', 'udp', 'http', 'https', 'tcpmux', 'stcp', 'xtcp', 'sudp']

/** v2 of the API of frps: everything within `{"code", "msg", "data"}`, lists by pages. */
export function dashboardV2Routes(parts: DashboardV2Parts): readonly WebRoute[] {
  const route = (
    method: WebRoute['method'],
    path: string,
    data: (parts: DashboardV2Parts, request: WebRequest) => Json,
  ): WebRoute => ({
    method,
    path: `/api/v2/${path}`,
    errorJson: (code, msg) => ({ code, msg, data: null }),
    handle: (request) => ({ json: { code: 200, msg: 'success', data: data(parts, request) } }),
  })
  return [
    route('GET', 'system/info', systemInfo),
    route('POST', 'system/prune', prune),
    route('GET', 'users', users),
    route('GET', 'clients', clients),
    route('GET', 'clients/:key', oneClient),
    route('GET', 'proxies', proxies),
    route('GET', 'proxies/:name', oneProxy),
    route('GET', 'proxies/:name/traffic', traffic),
  ]
}

function systemInfo({ config, version, statistics }: DashboardV2Parts): Json {
  const { config: settings, allowPortsStr, tlsForce, status } = serverInfo(config, statistics)
  return { version, config: { ...settings, allowPortsStr, tlsForce }, status }
}

function prune({ statistics }: DashboardV2Parts, { query }: WebRequest): Json {
  const type = query.get('type')?.toLowerCase() ?? ''
  if (type === '') throw new WebError(400, 'type is required')
  if (type !== 'offline_proxies') throw new WebError(400, 'type must be one of offline_proxies')
  return { type, ...statistics.forgetOfflineProxies() }
}

function users({ statistics }: DashboardV2Parts, { query }: WebRequest): Json {
  const counts = new Map<string, { readonly user: string; clientCount: number; proxyCount: number }>()
  const countsOf = (user: string): { clientCount: number; proxyCount: number } => {
    const known = counts.get(user) ?? { user, clientCount: 0, proxyCount: 0 }
    counts.set(user, known)
    return known
  }
  for (const { user } of statistics.clients()) countsOf(user).clientCount++
  for (const { user } of statistics.proxies()) countsOf(user).proxyCount++
  const list = [...counts.values()].sort((one, other) => compare(one.user, other.user))
  return pageOf(query, list, ({ user }) => [user])
}

function clients({ statistics }: DashboardV2Parts, { query }: WebRequest): Json {
  const isWanted = statusFilter(query)
  const user = query.get('user')
  const clientId = query.get('clientID') ?? ''
  const runId = query.get('runID') ?? ''
  const list = clientList(statistics).filter(
    (client) =>
      isWanted(client.online) &&
      // An empty one is asked for, too.
      (user === null || client.user === user) &&
      (clientId === '' || client.clientID === clientId) &&
      (runId === '' || client.runID === runId),
  )
  return pageOf(query, list, textsOfClient)
}

function textsOfClient(client: ClientJson): readonly unknown[] {
  const { key, user, clientID, runID } = client
  return [
    key,
    user,
    clientID,
    runID,
    client['version'],
    client['wireProtocol'],
    client['hostname'],
    client['clientIP'],
  ]
}

function oneClient({ statistics }: DashboardV2Parts, { params: { key = '' } }: WebRequest): Json {
  const client = clientJson(knownClient(statistics, key))
  const own = statistics
    .proxies()
    .filter(({ user, clientId }) => user === client.user && clientId === client.clientID)
  const status = {
    phase: client.online ? 'online' : 'offline',
    curConns: own.reduce((sum, { connections }) => sum + connections, 0),
    proxyCount: own.length,
  }
  return { ...client, status }
}

function proxies({ statistics }: DashboardV2Parts, { query }: WebRequest): Json {
  const isWanted = statusFilter(query)
  const type = query.get('type')?.toLowerCase() ?? ''
  if (type !== '' && !TYPES.includes(type)) {
    throw new WebError(400, `type must be one of ${TYPES.join(', ')}`)
  }
  const user = query.get('user')
  const clientId = query.get('clientID') ?? ''
  const list = statistics
    .proxies(type === '' ? undefined : type)
    .filter(
      (report) =>
        isWanted(report.current !== undefined) &&
        (user === null || report.user === user) &&
        (clientId === '' || report.clientId === clientId),
    )
    .sort((one, other) => compare(one.type, other.type) || compare(one.name, other.name))
  const page = pageOf(query, list, textsOfProxy)
  return { ...page, items: page.items.map(proxyJson) }
}

function textsOfProxy({ name, type, user, clientId, current }: ProxyReport): readonly unknown[] {
  const phase = current === undefined ? 'offline' : 'online'
  if (current === undefined) return [name, type, user, clientId, phase]
  const { custom_domains: domains, subdomain } = current.request
  const isByPort = type === 'tcp' || type === 'udp'
  return [
    ...[name, type, user, clientId, phase],
    ...(isByPort ? [String(remotePort(current))] : [...domains, subdomain]),
  ]
}

function oneProxy({ statistics }: DashboardV2Parts, { params: { name = '' } }: WebRequest): Json {
  const report = statistics.proxy(name)
  if (report === undefined) throw new WebError(404, 'no proxy info found')
  return proxyJson(report)
}

function proxyJson(report: ProxyReport): Json {
  const { name, type, user, clientId, current, closedAtMs } = report
  return {
    name,
    user,
    clientID: clientId,
    spec: proxySpec(type, current),
    status: {
      phase: current === undefined ? 'offline' : 'online',
      todayTrafficIn: report.todayIn,
      todayTrafficOut: report.todayOut,
      curConns: report.connections,
      ...withoutEmpty({
        lastStartAt: seconds(report.startedAtMs),
        lastCloseAt: closedAtMs === undefined ? 0 : seconds(closedAtMs),
      }),
    },
  }
}

function traffic({ statistics, clock }: DashboardV2Parts, { params: { name = '' } }: WebRequest): Json {
  const report = statistics.traffic(name)
  if (report === undefined) throw new WebError(404, 'no proxy info found')
  const now = new Date(clock.wallMs())
  const history = report.in.map((trafficIn, age) => ({
    date: dateText(new Date(now.getFullYear(), now.getMonth(), now.getDate() - age)),
    trafficIn,
    trafficOut: report.out[age] ?? 0,
  }))
  return { name, unit: 'bytes', granularity: 'day', history: history.toReversed() }
}

/** `2026-01-02`, local. */
function dateText(date: Date): string {
  const numbers = [date.getFullYear(), date.getMonth() + 1, date.getDate()]
  return numbers.map((number) => String(number).padStart(2, '0')).join('-')
}

/** @throws WebError 400 */
function statusFilter(query: URLSearchParams): (isOnline: boolean) => boolean {
  const status = query.get('status')?.toLowerCase() ?? ''
  if (!['', 'all', 'online', 'offline'].includes(status)) {
    throw new WebError(400, 'status must be one of all, online, offline')
  }
  return (isOnline) => status === '' || status === 'all' || isOnline === (status === 'online')
}

/** The items that hold `q`, the page that was asked for. @throws WebError 400 */
function pageOf<Item>(
  query: URLSearchParams,
  items: readonly Item[],
  textsOf: (item: Item) => readonly unknown[],
): {
  readonly total: number
  readonly page: number
  readonly pageSize: number
  readonly items: readonly Item[]
} {
  const page = positiveOf(query, 'page', 1)
  const pageSize = positiveOf(query, 'pageSize', DEFAULT_PAGE_SIZE)
  if (pageSize > MAX_PAGE_SIZE) throw new WebError(400, `pageSize must be between 1 and ${MAX_PAGE_SIZE}`)
  const q = query.get('q')?.toLowerCase() ?? ''
  const found =
    q === ''
      ? items
      : items.filter((item) =>
          textsOf(item).some((text) => typeof text === 'string' && text.toLowerCase().includes(q)),
        )
  const start = (page - 1) * pageSize
  return { total: found.length, page, pageSize, items: found.slice(start, start + pageSize) }
}

function positiveOf(query: URLSearchParams, name: string, byDefault: number): number {
  const text = query.get(name) ?? ''
  if (text === '') return byDefault
  const value = Number(text)
  if (/^\+?\d+$/.test(text) && value >= 1 && Number.isSafeInteger(value)) return value
  throw new WebError(400, `${name} must be a positive integer`)
}
