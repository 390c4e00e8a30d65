import { open, writeFile } from 'node:fs/promises'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode, errorMessage, SluiceError } from '../../../foundation/errors.ts'
import { definitionJson } from '../../../mechanisms/frp-config/index.ts'
import { formatListenAddress } from '../../../mechanisms/net/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { ClientWork, ProxyStatus, TunnelClientControl } from '../client/contract.ts'
import { compare, sortedByKey } from './frp-json.ts'
import type { ProxyStore } from './proxy-store.ts'
import { clientPage } from './status-page.ts'
import { storeRoutes } from './store-routes.ts'
import { WebError } from './web-error.ts'
import type { WebReply, WebRequest, WebRoute } from './web-server.ts'

/** What the admin API of a client shows, and acts on. */
export interface AdminParts {
  /** Of frp, whose API this is. */
  readonly version: string
  readonly control: Pick<TunnelClientControl, 'isLoggedIn' | 'runId' | 'status'>
  /** What is to run at present. */
  readonly work: () => ClientWork
  readonly serverAddr: string
  /** Undefined: the configuration did not come from a file. */
  readonly configFile: string | undefined
  /** Reads the configuration again and puts it into force. @throws with what is wrong in it */
  readonly reload: (options: { readonly strict: boolean }) => Promise<void>
  /** Ends the program, in order. */
  readonly stop: () => void
  /** Undefined: `store.path` is not set, and there are no such paths. */
  readonly store: ProxyStore | undefined
  /** Puts into force what is to run after a change of the store. */
  readonly apply: () => void | Promise<void>
  readonly log: Logger
  readonly clock: Clock
}

/** A longer file is not shown. */
const MAX_CONFIG_BYTES = 16 * 1024 * 1024
/** So that the answer gets out first, as at frp. */
const STOP_DELAY_MS = 100

/** The admin API of frpc. */
export function adminRoutes(parts: AdminParts): readonly WebRoute[] {
  const { version, control, work, store, apply, log } = parts
  return [
    { method: 'GET', path: '/healthz', isOpen: true, handle: () => ({}) },
    { method: 'GET', path: '/', handle: () => ({ status: 301, headers: { Location: '/static/' } }) },
    { method: 'GET', path: '/static/', handle: () => clientPage(version, control, work()) },
    { method: 'GET', path: '/api/reload', changesState: true, handle: (request) => reload(parts, request) },
    { method: 'POST', path: '/api/stop', handle: () => stop(parts) },
    { method: 'GET', path: '/api/status', handle: () => status(parts) },
    { method: 'GET', path: '/api/config', handle: () => readConfig(parts) },
    { method: 'PUT', path: '/api/config', handle: (request) => writeConfig(parts, request) },
    { method: 'GET', path: '/api/proxy/:name/config', handle: (request) => proxyConfig(parts, request) },
    { method: 'GET', path: '/api/visitor/:name/config', handle: (request) => visitorConfig(parts, request) },
    ...(store === undefined ? [] : storeRoutes({ store, apply, log })),
  ]
}

async function reload(
  { configFile, reload: run, log }: AdminParts,
  { query }: WebRequest,
): Promise<WebReply> {
  fileOf(configFile)
  // As Go reads a truth value.
  const strict = ['1', 't', 'true'].includes(query.get('strictConfig')?.toLowerCase() ?? '')
  try {
    await run({ strict })
  } catch (cause) {
    if (!(cause instanceof SluiceError)) throw cause
    throw new WebError(400, `invalid argument: ${cause.message}`, cause)
  }
  log.info('success reload conf')
  return {}
}

function stop({ stop: run, clock, log }: AdminParts): WebReply {
  log.info('stop requested')
  clock.after(STOP_DELAY_MS, run)
  return {}
}

function status(parts: AdminParts): WebReply {
  const byType: Record<string, Readonly<Record<string, unknown>>[]> = {}
  const proxies = [...parts.control.status()].sort((one, other) => compare(one.name, other.name))
  for (const proxy of proxies) (byType[proxy.type] ??= []).push(statusJson(parts, proxy))
  return { json: sortedByKey(byType) }
}

function statusJson(
  { serverAddr, store }: AdminParts,
  { name, type, phase, error, remoteAddr, config }: ProxyStatus,
): Readonly<Record<string, unknown>> {
  const isByPort = type === 'tcp' || type === 'udp'
  return {
    name,
    type,
    status: phase,
    err: error,
    local_addr:
      config.localPort === 0 ? '' : formatListenAddress({ host: config.localIP, port: config.localPort }),
    plugin: '',
    remote_addr: error === '' ? `${isByPort ? serverAddr : ''}${remoteAddr}` : '',
    ...(store?.proxies.get(name)?.isEnabled === true && { source: 'store' }),
  }
}

async function readConfig({ configFile }: AdminParts): Promise<WebReply> {
  const path = fileOf(configFile)
  try {
    const file = await open(path)
    try {
      const { size } = await file.stat()
      if (size > MAX_CONFIG_BYTES) throw new Error(`it has more than ${MAX_CONFIG_BYTES} bytes`)
      return { text: await file.readFile('utf8') }
    } finally {
      await file.close()
    }
  } catch (cause) {
    throw new WebError(400, `invalid argument: ${path}: ${errorMessage(cause)}`, cause)
  }
}

async function writeConfig({ configFile, log }: AdminParts, { readBody }: WebRequest): Promise<WebReply> {
  const body = await readBody()
  if (body.length === 0) throw new WebError(400, "body can't be empty")
  const path = fileOf(configFile)
  try {
    // In place: the file may be a link, or be mounted alone.
    await writeFile(path, body, { mode: 0o600 })
  } catch (cause) {
    throw new WebError(500, `${path} cannot be written: ${errorCode(cause)}`, cause)
  }
  log.info({ file: path }, 'configuration file written')
  return {}
}

function proxyConfig({ work, store }: AdminParts, { params: { name = '' } }: WebRequest): WebReply {
  const config = work().proxies.find((proxy) => proxy.name === name) ?? store?.proxies.get(name)?.config
  if (config === undefined) throw new WebError(404, `proxy "${name}" not found`)
  return { json: definitionJson(config) }
}

function visitorConfig({ work, store }: AdminParts, { params: { name = '' } }: WebRequest): WebReply {
  const config = work().visitors.find((visitor) => visitor.name === name) ?? store?.visitors.get(name)?.config
  if (config === undefined) throw new WebError(404, `visitor "${name}" not found`)
  return { json: definitionJson(config) }
}

/** @throws WebError 400 */
function fileOf(configFile: string | undefined): string {
  if (configFile !== undefined) return configFile
  throw new WebError(400, 'invalid argument: frpc has no config file path')
}
