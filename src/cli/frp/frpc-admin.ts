import { request as requestHttps } from 'node:https'
import { request, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { z } from 'zod'
import { errorMessage } from '../../foundation/errors.ts'
import type { FrpcConfig, WebServerConfig } from '../../mechanisms/frp-config/index.ts'
import { formatListenAddress } from '../../mechanisms/net/index.ts'
import { TunnelError } from '../../services/tunnel/errors.ts'

/** How its API is asked. */
export interface AdminOptions {
  /** As Go writes durations: 30s, 500ms, 1m. */
  readonly apiTimeout: string
  readonly strictConfig?: string
}

/** `frpc reload`: the client at the web server of the configuration reads its own again. */
export async function reloadFrpc({ webServer }: FrpcConfig, options: AdminOptions): Promise<void> {
  const strict = /^(?:0|f|false)$/i.test(options.strictConfig ?? 'true') ? '' : '?strictConfig=true'
  await ask(webServer, 'GET', `/api/reload${strict}`, options)
  process.stdout.write('reload success\n')
}

/** `frpc stop`. */
export async function stopFrpc({ webServer }: FrpcConfig, options: AdminOptions): Promise<void> {
  await ask(webServer, 'POST', '/api/stop', options)
  process.stdout.write('stop success\n')
}

/** The rows of `frpc status`, by type. */
const statusSchema = z.record(
  z.string(),
  z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      local_addr: z.string(),
      plugin: z.string(),
      remote_addr: z.string(),
      err: z.string(),
    }),
  ),
)

const columns = ['Name', 'Status', 'LocalAddr', 'Plugin', 'RemoteAddr', 'Error'] as const

/** `frpc status`: a table for each type of proxy. */
export async function showStatus({ webServer }: FrpcConfig, options: AdminOptions): Promise<void> {
  const byType = statusOf(await ask(webServer, 'GET', '/api/status', options))
  process.stdout.write('Proxy Status...\n')
  for (const [type, rows] of Object.entries(byType)) {
    if (rows.length === 0) continue
    const cells = rows.map((row) => [
      row.name,
      row.status,
      row.local_addr,
      row.plugin,
      row.remote_addr,
      row.err,
    ])
    process.stdout.write(`${type.toUpperCase()}\n${table([[...columns], ...cells])}\n`)
  }
}

function statusOf(answer: string): z.infer<typeof statusSchema> {
  try {
    return statusSchema.parse(JSON.parse(answer))
  } catch (cause) {
    const message = 'what answers at the address of the API tells no status of frpc'
    throw new TunnelError('TUNNEL_PROTOCOL', message, { side: 'origin', cause })
  }
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('')
}

async function ask(
  { addr, port, user, password, tls }: WebServerConfig,
  method: 'GET' | 'POST',
  path: string,
  { apiTimeout }: AdminOptions,
): Promise<string> {
  if (port === 0) throw new TypeError('web server port should be set if you want to use this feature')
  const host = addr === '' || addr === '0.0.0.0' ? '127.0.0.1' : addr
  const signal = AbortSignal.timeout(milliseconds(apiTimeout))
  const options = {
    host,
    port,
    method,
    path,
    agent: false as const,
    signal,
    ...(user === '' && password === '' ? {} : { auth: `${user}:${password}` }),
  }
  try {
    // Its certificate is the user's own affair, at an address that his configuration names.
    const asked =
      tls === undefined ? request(options) : requestHttps({ ...options, rejectUnauthorized: false })
    asked.end()
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    const body = await text(response)
    if (response.statusCode === 200) return body
    throw new TunnelError('TUNNEL_PROTOCOL', `api status code [${response.statusCode}]: ${body.trim()}`, {
      side: 'origin',
    })
  } catch (cause) {
    if (cause instanceof TunnelError) throw cause
    const place = `the API of frpc at ${formatListenAddress({ host, port })}`
    throw signal.aborted
      ? new TunnelError('TUNNEL_TIMEOUT', `${place} did not answer in ${apiTimeout}`, {
          side: 'origin',
          cause,
        })
      : new TunnelError('TUNNEL_UNREACHABLE', `${place}: ${errorMessage(cause)}`, { side: 'origin', cause })
  }
}

function milliseconds(duration: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
  const isDuration = /^(?:\d{1,6}(?:\.\d{1,3})?(?:ms|s|m|h))+$/.test(duration)
  const parts = isDuration ? duration.matchAll(/([\d.]+)(ms|s|m|h)/g) : []
  const sum = [...parts].reduce(
    (total, [, count, unit = '']) => total + Number(count) * (units[unit] ?? 0),
    0,
  )
  if (sum >= 1 && sum < 86_400_000) return Math.round(sum)
  throw new TypeError(`--api-timeout ${duration}: must be such as 30s or 1m30s, and less than a day`)
}
