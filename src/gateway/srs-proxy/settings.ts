import { isIP } from 'node:net'
import { parseListenText } from '../../mechanisms/net/index.ts'
import { srsProxyError } from './errors.ts'
import { parseGoDuration } from './go-duration.ts'
import { assertNoRedisSettings, readRedisSettings, type RedisSettings } from './redis-settings.ts'

/** What the variables of the SRS proxy say (reference: process, settings, lifetime), checked, defaults filled in. */
export interface SrsProxySettings {
  /** Listeners as `parseListenText` takes them. */
  readonly rtmp: string
  readonly http: string
  readonly api: string
  readonly webrtc: string
  readonly srt: string
  readonly system: string
  /** Directory of pages. */
  readonly staticFiles: string
  readonly originTtlMs: number
  readonly defaultBackend: SrsProxyBackend | undefined
  /** Where proxies share what they know; undefined: nowhere, this one is alone. */
  readonly shared: RedisSettings | undefined
  readonly graceMs: number
  readonly forceMs: number
  /** Where the profiler listens; undefined: nowhere. */
  readonly profiler: string | undefined
  /** Of our own, for who does not want them among the arguments, which everybody on the machine can read. */
  readonly registerToken: string | undefined
  readonly adminToken: string | undefined
}

/** The made-up origin of `PROXY_DEFAULT_BACKEND_*`. */
export interface SrsProxyBackend {
  readonly host: string
  readonly rtmp: number
  readonly http: number
  readonly api: number
  readonly rtc: number
  readonly srt: number
}

/** Every variable that has a default, with it. */
export const SRS_PROXY_DEFAULTS = {
  PROXY_RTMP_SERVER: '11935',
  PROXY_HTTP_SERVER: '18080',
  PROXY_HTTP_API: '11985',
  PROXY_WEBRTC_SERVER: '18000',
  PROXY_SRT_SERVER: '20080',
  PROXY_SYSTEM_API: '12025',
  PROXY_STATIC_FILES: './trunk/research',
  PROXY_LOAD_BALANCER_TYPE: 'memory',
  PROXY_ORIGIN_SERVER_TTL: '300s',
  PROXY_DEFAULT_BACKEND_ENABLED: 'off',
  PROXY_DEFAULT_BACKEND_IP: '127.0.0.1',
  PROXY_DEFAULT_BACKEND_RTMP: '1935',
  PROXY_DEFAULT_BACKEND_HTTP: '8080',
  PROXY_DEFAULT_BACKEND_API: '1985',
  PROXY_DEFAULT_BACKEND_RTC: '8000',
  PROXY_DEFAULT_BACKEND_SRT: '10080',
  PROXY_GRACE_QUIT_TIMEOUT: '20s',
  PROXY_FORCE_QUIT_TIMEOUT: '30s',
} as const

/** What is said to be longer comes to the same. */
const MAX_QUIT_MS = 86_400_000
const MAX_TTL_MS = 31_536_000_000

type Variable = keyof typeof SRS_PROXY_DEFAULTS

/**
 * Reads the settings. What the process has wins over `.env`; an empty value counts as none.
 * @throws SRS_PROXY_BAD_VARIABLE
 */
export function readSettings(
  env: Readonly<Record<string, string | undefined>>,
  dotEnv: ReadonlyMap<string, string>,
): SrsProxySettings {
  // As in SRS: a variable that the process has, even an empty one, hides the one of the file.
  const given = (name: string): string | undefined => (env[name] ?? dotEnv.get(name)) || undefined
  const text = (name: Variable): string => given(name) ?? SRS_PROXY_DEFAULTS[name]
  const listener = (name: Variable): string => listenText(name, text(name))
  const port = (name: Variable): number => portOf(name, text(name))
  const quitTime = (name: Variable): number =>
    Math.min(Math.max(0, durationOf(name, text(name))), MAX_QUIT_MS)
  const type = text('PROXY_LOAD_BALANCER_TYPE')
  if (type !== 'memory' && type !== 'redis') throw bad('PROXY_LOAD_BALANCER_TYPE', type, 'memory or redis')
  if (type === 'memory') assertNoRedisSettings(given)
  const ttlText = text('PROXY_ORIGIN_SERVER_TTL')
  const originTtlMs = Math.min(durationOf('PROXY_ORIGIN_SERVER_TTL', ttlText), MAX_TTL_MS)
  if (originTtlMs <= 0) throw bad('PROXY_ORIGIN_SERVER_TTL', ttlText, 'more than 0')
  const profiler = given('GO_PPROF')
  return {
    rtmp: listener('PROXY_RTMP_SERVER'),
    http: listener('PROXY_HTTP_SERVER'),
    api: listener('PROXY_HTTP_API'),
    webrtc: listener('PROXY_WEBRTC_SERVER'),
    srt: listener('PROXY_SRT_SERVER'),
    system: listener('PROXY_SYSTEM_API'),
    staticFiles: text('PROXY_STATIC_FILES'),
    originTtlMs,
    defaultBackend:
      text('PROXY_DEFAULT_BACKEND_ENABLED') === 'on'
        ? {
            host: hostText('PROXY_DEFAULT_BACKEND_IP', text('PROXY_DEFAULT_BACKEND_IP')),
            rtmp: port('PROXY_DEFAULT_BACKEND_RTMP'),
            http: port('PROXY_DEFAULT_BACKEND_HTTP'),
            api: port('PROXY_DEFAULT_BACKEND_API'),
            rtc: port('PROXY_DEFAULT_BACKEND_RTC'),
            srt: port('PROXY_DEFAULT_BACKEND_SRT'),
          }
        : undefined,
    shared: type === 'redis' ? readRedisSettings(given) : undefined,
    graceMs: quitTime('PROXY_GRACE_QUIT_TIMEOUT'),
    forceMs: quitTime('PROXY_FORCE_QUIT_TIMEOUT'),
    profiler: profiler === undefined ? undefined : profilerText(profiler),
    registerToken: given('SLUICE_REGISTER_TOKEN'),
    adminToken: given('SLUICE_ADMIN_TOKEN'),
  }
}

/** `port`, `:port` or `host:port`; of names only localhost, as a listener has an address. */
function listenText(name: string, value: string): string {
  const text = value.trim().replace(/^localhost:/i, '127.0.0.1:')
  if (parseListenText(text) === undefined) {
    throw bad(name, value, 'a port (1935), or an address and a port (127.0.0.1:1935, [::1]:1935)')
  }
  return text
}

/** An address, IPv6 with or without brackets, or a name. */
function hostText(name: string, value: string): string {
  const text = value.trim()
  const inBrackets = /^\[(.*)\]$/.exec(text)?.[1]
  if (inBrackets !== undefined && isIP(inBrackets) === 6) return inBrackets
  if (isIP(text) !== 0 || /^[\w.-]{1,253}$/.test(text)) return text
  throw bad(name, value, 'an address or a host name')
}

/** A profiler shows the inside of the process: a port alone means this machine only, unlike that of the other listeners. */
function profilerText(value: string): string {
  const text = listenText('GO_PPROF', value)
  return /^:?\d+$/.test(text) ? `127.0.0.1:${text.replace(':', '')}` : text
}

function portOf(name: string, value: string): number {
  const port = Number(value)
  if (/^\d{1,5}$/.test(value) && port > 0 && port <= 65_535) return port
  throw bad(name, value, 'a port, 1 to 65535')
}

function durationOf(name: string, value: string): number {
  const ms = parseGoDuration(value)
  if (ms === undefined) throw bad(name, value, 'a duration such as 20s, 1m30s or 500ms')
  return ms
}

function bad(name: string, value: string, allowed: string): Error {
  return srsProxyError('SRS_PROXY_BAD_VARIABLE', `${name}=${value}: must be ${allowed}`)
}
