import type { ClientWork, TunnelClientControl } from '../client/contract.ts'
import type { TunnelStatistics } from '../statistics/tunnel-statistics.ts'
import { clientList } from './client-json.ts'
import { compare } from './frp-json.ts'
import type { WebReply } from './web-server.ts'

/** How often a page is loaded again, in seconds. */
const REFRESH_SECONDS = 10
/** A page is for looking at; the API has the rest. */
const MAX_ROWS = 1000

/** What a server has at the moment, for people. */
export function serverPage(version: string, statistics: TunnelStatistics): WebReply {
  const { clients, connections, todayIn, todayOut } = statistics.server()
  const proxies = [...statistics.proxies()].sort((one, other) => compare(one.name, other.name))
  return page('frps', [
    `<p>Version ${escaped(version)}. ${clients} clients, ${connections} connections; today ` +
      `${bytesText(todayIn)} in, ${bytesText(todayOut)} out.</p>`,
    table(
      'Clients',
      ['User', 'Client', 'Host', 'Address', 'Version', 'Status'],
      clientList(statistics).map((client) => [
        client.user,
        client.clientID,
        client['hostname'],
        client['clientIP'],
        client['version'],
        client.online ? 'online' : 'offline',
      ]),
    ),
    table(
      'Proxies',
      ['Name', 'Type', 'User', 'Client', 'Address', 'Connections', 'In today', 'Out today', 'Status'],
      proxies.map((report) => [
        report.name,
        report.type,
        report.user,
        report.clientId,
        report.current?.remoteAddr,
        report.connections,
        bytesText(report.todayIn),
        bytesText(report.todayOut),
        report.current === undefined ? 'offline' : 'online',
      ]),
    ),
  ])
}

/** What a client has at the moment, for people. */
export function clientPage(
  version: string,
  control: Pick<TunnelClientControl, 'isLoggedIn' | 'runId' | 'status'>,
  { visitors }: Pick<ClientWork, 'visitors'>,
): WebReply {
  const proxies = [...control.status()].sort((one, other) => compare(one.name, other.name))
  return page('frpc', [
    `<p>Version ${escaped(version)}. ${
      control.isLoggedIn ? `Logged in, run id ${escaped(control.runId)}.` : 'Not logged in.'
    }</p>`,
    table(
      'Proxies',
      ['Name', 'Type', 'Local', 'Remote', 'Status', 'Error'],
      proxies.map(({ name, type, config, remoteAddr, phase, error }) => [
        name,
        type,
        `${config.localIP}:${config.localPort}`,
        remoteAddr,
        phase,
        error,
      ]),
    ),
    table(
      'Visitors',
      ['Name', 'Type', 'Server', 'Bind'],
      visitors.map(({ name, type, serverName, bindAddr, bindPort }) => [
        name,
        type,
        serverName,
        `${bindAddr}:${bindPort}`,
      ]),
    ),
  ])
}

function page(title: string, parts: readonly string[]): WebReply {
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="${REFRESH_SECONDS}">
<title>${title}</title>
<style>
body { font: 15px system-ui, sans-serif; margin: 2rem; color: #222; background: #fff; }
table { border-collapse: collapse; margin-bottom: 2rem; }
th, td { text-align: left; padding: .3rem .8rem; border-bottom: 1px solid #ddd; }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #111; } th, td { border-color: #333; } }
</style>
</head>
<body>
<h1>${title}</h1>
${parts.join('\n')}
</body>
</html>
`
  const headers = {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  }
  return { text: html, headers }
}

function table(title: string, columns: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const shown = rows.slice(0, MAX_ROWS)
  const more = rows.length > MAX_ROWS ? `<p>${rows.length - MAX_ROWS} more.</p>` : ''
  return [
    `<h2>${title}</h2>`,
    `<table><thead><tr>${columns.map((column) => `<th>${column}</th>`).join('')}</tr></thead><tbody>`,
    ...shown.map((cells) => `<tr>${cells.map((cell) => `<td>${escaped(cell)}</td>`).join('')}</tr>`),
    `</tbody></table>${more}`,
  ].join('\n')
}

/** Names come from clients. */
function escaped(value: unknown): string {
  const text = typeof value === 'string' || typeof value === 'number' ? String(value) : ''
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB', 'PB']

function bytesText(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`
}
