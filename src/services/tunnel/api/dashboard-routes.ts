import type { Clock } from '../../../foundation/clock.ts'
import type { TunnelServerConfig } from '../../../mechanisms/frp-config/index.ts'
import type { Logger, Registry } from '../../../mechanisms/telemetry/index.ts'
import type { TunnelServerControl } from '../statistics/contract.ts'
import type { ProxyReport, TunnelStatistics } from '../statistics/tunnel-statistics.ts'
import { clientJson, clientList, knownClient } from './client-json.ts'
import { dashboardV2Routes } from './dashboard-v2-routes.ts'
import { compare, withoutEmpty } from './frp-json.ts'
import { proxyConf } from './proxy-conf.ts'
import { flatServerInfo, serverInfo } from './server-info.ts'
import { serverPage } from './status-page.ts'
import { WebError } from './web-error.ts'
import type { WebReply, WebRequest, WebRoute } from './web-server.ts'

type Json = Readonly<Record<string, unknown>>

/** What the dashboard of a server shows, and acts on. */
export interface DashboardParts {
  readonly config: TunnelServerConfig
  /** Of frp, whose API this is. */
  readonly version: string
  readonly statistics: TunnelStatistics
  readonly control: Pick<TunnelServerControl, 'kick' | 'closeProxy'>
  /** What `/metrics` shows; undefined: there is no such path. */
  readonly registry: Registry | undefined
  readonly log: Logger
  readonly clock: Clock
}

/**
 * The API of frps, v1 and v2, with two of our own: `POST /api/clients/{key}/kick` ends a client's control connection, and
 * `POST /api/proxies/{name}/close` closes a proxy.
 */
export function dashboardRoutes(parts: DashboardParts): readonly WebRoute[] {
  const { config, version, statistics, registry } = parts
  const info = (): Json => flatServerInfo(version, serverInfo(config, statistics))
  return [
    { method: 'GET', path: '/healthz', isOpen: true, handle: () => ({}) },
    { method: 'GET', path: '/', handle: () => ({ status: 301, headers: { Location: '/static/' } }) },
    { method: 'GET', path: '/static/', handle: () => serverPage(version, statistics) },
    ...(registry === undefined ? [] : [metricsRoute(registry)]),
    { method: 'GET', path: '/api/serverinfo', handle: () => ({ json: info() }) },
    { method: 'GET', path: '/api/proxy/:type', handle: (request) => proxiesOfType(parts, request) },
    { method: 'GET', path: '/api/proxy/:type/:name', handle: (request) => oneProxy(parts, request) },
    { method: 'GET', path: '/api/proxies/:name', handle: (request) => oneProxy(parts, request) },
    { method: 'GET', path: '/api/traffic/:name', handle: (request) => traffic(parts, request) },
    { method: 'DELETE', path: '/api/proxies', handle: (request) => forgetOffline(parts, request) },
    { method: 'GET', path: '/api/clients', handle: (request) => clients(parts, request) },
    { method: 'GET', path: '/api/clients/:key', handle: (request) => oneClient(parts, request) },
    { method: 'POST', path: '/api/clients/:key/kick', handle: (request) => kick(parts, request) },
    { method: 'POST', path: '/api/proxies/:name/close', handle: (request) => closeProxy(parts, request) },
    ...dashboardV2Routes(parts),
  ]
}

/** What frp answers when there is nothing to say. */
const SUCCESS: WebReply = { json: { Code: 200, Msg: 'success' } }

function metricsRoute(registry: Registry): WebRoute {
  return {
    method: 'GET',
    path: '/metrics',
    handle: async () => ({
      text: await registry.metrics(),
      headers: { 'Content-Type': registry.contentType },
    }),
  }
}

function proxiesOfType({ statistics }: DashboardParts, { params }: WebRequest): WebReply {
  const proxies = statistics.proxies(params['type'] ?? '').map(proxyJson)
  return { json: { proxies: proxies.sort((one, other) => compare(one.name, other.name)) } }
}

function oneProxy({ statistics }: DashboardParts, { params }: WebRequest): WebReply {
  const { type, name = '' } = params
  const report = statistics.proxy(name)
  if (report === undefined || (type !== undefined && report.type !== type)) throw noProxy()
  return { json: proxyJson(report) }
}

function proxyJson(report: ProxyReport): Json & { readonly name: string } {
  return {
    name: report.name,
    conf: report.current === undefined ? null : proxyConf(report.current),
    ...withoutEmpty({ user: report.user, clientID: report.clientId }),
    todayTrafficIn: report.todayIn,
    todayTrafficOut: report.todayOut,
    curConns: report.connections,
    lastStartTime: shortTime(report.startedAtMs),
    lastCloseTime: report.closedAtMs === undefined ? '' : shortTime(report.closedAtMs),
    status: report.current === undefined ? 'offline' : 'online',
  }
}

/** `01-02 15:04:05`, local. */
function shortTime(wallMs: number): string {
  const date = new Date(wallMs)
  const day = [date.getMonth() + 1, date.getDate()].map(twoDigits).join('-')
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(':')}`
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0')
}

function traffic({ statistics }: DashboardParts, { params: { name = '' } }: WebRequest): WebReply {
  const report = statistics.traffic(name)
  if (report === undefined) throw noProxy()
  return { json: { name, trafficIn: report.in, trafficOut: report.out } }
}

function forgetOffline({ statistics, log }: DashboardParts, { query }: WebRequest): WebReply {
  if (query.get('status') !== 'offline') throw new WebError(400, 'status only support offline')
  log.info(statistics.forgetOfflineProxies(), 'offline proxies forgotten')
  return SUCCESS
}

function clients({ statistics }: DashboardParts, { query }: WebRequest): WebReply {
  const status = query.get('status')?.toLowerCase() ?? ''
  const wanted: Readonly<Record<string, string>> = {
    user: query.get('user') ?? '',
    clientID: query.get('clientId') ?? '',
    runID: query.get('runId') ?? '',
  }
  const json = clientList(statistics).filter(
    (client) =>
      (status === 'online' || status === 'offline' ? client.online === (status === 'online') : true) &&
      Object.entries(wanted).every(([name, value]) => value === '' || client[name] === value),
  )
  return { json }
}

function oneClient({ statistics }: DashboardParts, { params: { key = '' } }: WebRequest): WebReply {
  return { json: clientJson(knownClient(statistics, key)) }
}

function kick({ statistics, control, log }: DashboardParts, { params: { key = '' } }: WebRequest): WebReply {
  const { runId } = knownClient(statistics, key)
  if (runId === '' || !control.kick(runId)) throw new WebError(404, `client ${key} is not online`)
  log.info({ client: key, runId }, 'client kicked')
  return SUCCESS
}

function closeProxy({ control, log }: DashboardParts, { params: { name = '' } }: WebRequest): WebReply {
  if (!control.closeProxy(name)) throw new WebError(404, `proxy ${name} is not online`)
  log.info({ proxy: name }, 'proxy closed by request')
  return SUCCESS
}

function noProxy(): WebError {
  return new WebError(404, 'no proxy info found')
}
