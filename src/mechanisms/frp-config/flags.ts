import { FrpConfigError, FrpConfigErrorCode } from './errors.ts'
import { NumberRangeError, parsePortRanges } from './port-ranges.ts'

/** What a flag of the command line takes. */
export type FlagKind = 'text' | 'number' | 'flag' | 'list' | 'map' | 'ports'

/** A flag of frps or frpc, and the setting it stands for. */
export interface FrpFlag {
  /** As frp prints it; `_` and `-` are the same in it. */
  readonly name: string
  readonly short?: string
  readonly kind: FlagKind
  /** Of the setting, keys joined by dots. */
  readonly path: string
  readonly description: string
  /** Holds where the flag is not given and the default of files is another. */
  readonly fallback?: string | number
  /** Counts only with this flag on. */
  readonly onlyWith?: string
}

/** What was given on the command line, by the name of the flag. A list or map may come in pieces. */
export type FlagValues = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>

export const frpsFlags: readonly FrpFlag[] = [
  flag('bind_addr', 'text', 'bindAddr', 'address on which clients are served'),
  { ...flag('bind_port', 'number', 'bindPort', 'port on which clients are served'), short: 'p' },
  flag('kcp_bind_port', 'number', 'kcpBindPort', 'not supported'),
  flag('quic_bind_port', 'number', 'quicBindPort', 'not supported'),
  flag('proxy_bind_addr', 'text', 'proxyBindAddr', 'address of the ports of proxies', '0.0.0.0'),
  flag('vhost_http_port', 'number', 'vhostHTTPPort', 'port of http proxies'),
  flag('vhost_https_port', 'number', 'vhostHTTPSPort', 'port of https proxies'),
  flag('vhost_http_timeout', 'number', 'vhostHTTPTimeout', 'seconds in which a service must answer'),
  flag('dashboard_addr', 'text', 'webServer.addr', 'address of the web server', '0.0.0.0'),
  flag('dashboard_port', 'number', 'webServer.port', 'port of the web server'),
  flag('dashboard_user', 'text', 'webServer.user', 'user name of the web server', 'admin'),
  flag('dashboard_pwd', 'text', 'webServer.password', 'password of the web server', 'admin'),
  onlyWith('dashboard_tls_mode', [
    flag('dashboard_tls_cert_file', 'text', 'webServer.tls.certFile', 'certificate of the web server'),
    flag('dashboard_tls_key_file', 'text', 'webServer.tls.keyFile', 'its key'),
  ]),
  flag('dashboard_tls_mode', 'flag', '', 'serve the web server by HTTPS'),
  flag('enable_prometheus', 'flag', 'enablePrometheus', 'serve metrics on the web server'),
  logFlags(),
  { ...flag('token', 'text', 'auth.token', 'token of all clients'), short: 't' },
  flag('subdomain_host', 'text', 'subDomainHost', 'domain beneath which clients take names'),
  flag('allow_ports', 'ports', 'allowPorts', 'ports that clients may take, such as 1000-2000,3000'),
  flag('max_ports_per_client', 'number', 'maxPortsPerClient', 'most ports of a client; 0: no limit'),
  flag('tls_only', 'flag', 'transport.tls.force', 'refuse connections without TLS'),
].flat()

/** Of every inline command of frpc. */
export const frpcCommonFlags: readonly FrpFlag[] = [
  { ...flag('server_addr', 'text', 'serverAddr', 'address of the server', '127.0.0.1'), short: 's' },
  { ...flag('server_port', 'number', 'serverPort', 'port of the server'), short: 'P' },
  { ...flag('protocol', 'text', 'transport.protocol', 'tcp, websocket or wss'), short: 'p' },
  logFlags(),
  flag('tls_enable', 'flag', 'transport.tls.enable', 'use TLS, unless false'),
  flag('tls_server_name', 'text', 'transport.tls.serverName', 'name in the certificate of the server'),
  flag('dns_server', 'text', 'dnsServer', 'DNS server for the name of the server'),
  { ...flag('user', 'text', 'user', 'stands in front of the names of proxies'), short: 'u' },
  flag('client-id', 'text', 'clientID', 'names this client at the server'),
  { ...flag('token', 'text', 'auth.token', 'token of the server'), short: 't' },
].flat()

/** Types that have an inline command; xtcp so that it says what is the matter. */
export const INLINE_PROXY_TYPES = ['tcp', 'udp', 'http', 'https', 'tcpmux', 'stcp', 'sudp', 'xtcp'] as const

export type InlineProxyType = (typeof INLINE_PROXY_TYPES)[number]

/** Types of `frpc TYPE visitor`. */
export const INLINE_VISITOR_TYPES = ['stcp', 'sudp', 'xtcp'] as const

export type InlineVisitorType = (typeof INLINE_VISITOR_TYPES)[number]

const proxyFlags: readonly FrpFlag[] = [
  { ...flag('proxy_name', 'text', 'name', 'name of the proxy'), short: 'n' },
  flag('metadatas', 'map', 'metadatas', 'values sent to the server: key1=value1,key2=value2'),
  flag('annotations', 'map', 'annotations', 'words for the dashboard: key1=value1,key2=value2'),
  { ...flag('local_ip', 'text', 'localIP', 'address of the local service'), short: 'i' },
  { ...flag('local_port', 'number', 'localPort', 'port of the local service'), short: 'l' },
  flag('ue', 'flag', 'transport.useEncryption', 'encrypt'),
  flag('uc', 'flag', 'transport.useCompression', 'compress'),
  flag('bandwidth_limit', 'text', 'transport.bandwidthLimit', 'bytes per second, such as 100KB or 1MB'),
  flag('bandwidth_limit_mode', 'text', 'transport.bandwidthLimitMode', 'who holds to it: client or server'),
]

const domainFlags: readonly FrpFlag[] = [
  { ...flag('custom_domain', 'list', 'customDomains', 'domains'), short: 'd' },
  flag('sd', 'text', 'subdomain', 'name beneath the domain of the server'),
]

const httpUserFlags: readonly FrpFlag[] = [
  flag('http_user', 'text', 'httpUser', 'name that users must give'),
  flag('http_pwd', 'text', 'httpPassword', 'its password'),
]

const remotePortFlags: readonly FrpFlag[] = [
  { ...flag('remote_port', 'number', 'remotePort', 'port at the server'), short: 'r' },
]

const secretFlags: readonly FrpFlag[] = [
  flag('sk', 'text', 'secretKey', 'what visitors must know'),
  flag('allow_users', 'list', 'allowUsers', 'users whose visitors may come'),
]

const typeFlags: Readonly<Record<InlineProxyType, readonly FrpFlag[]>> = {
  tcp: remotePortFlags,
  udp: remotePortFlags,
  http: [
    ...domainFlags,
    flag('locations', 'list', 'locations', 'beginnings of paths'),
    ...httpUserFlags,
    flag('host_header_rewrite', 'text', 'hostHeaderRewrite', 'Host header that the service sees'),
  ],
  https: domainFlags,
  tcpmux: [...domainFlags, flag('mux', 'text', 'multiplexer', 'must be httpconnect'), ...httpUserFlags],
  stcp: secretFlags,
  sudp: secretFlags,
  xtcp: secretFlags,
}

/** Flags of `frpc TYPE`, besides the common ones. */
export function frpcProxyFlags(type: InlineProxyType): readonly FrpFlag[] {
  return [...proxyFlags, ...typeFlags[type]]
}

/** Flags of `frpc TYPE visitor`, besides the common ones. */
export const frpcVisitorFlags: readonly FrpFlag[] = [
  { ...flag('visitor_name', 'text', 'name', 'name of the visitor'), short: 'n' },
  flag('ue', 'flag', 'transport.useEncryption', 'encrypt'),
  flag('uc', 'flag', 'transport.useCompression', 'compress'),
  flag('sk', 'text', 'secretKey', 'secret key of the proxy'),
  flag('server_name', 'text', 'serverName', 'name of the proxy'),
  flag('server-user', 'text', 'serverUser', 'user of the client that has the proxy'),
  flag('bind_addr', 'text', 'bindAddr', 'address on which the service is offered here'),
  flag('bind_port', 'number', 'bindPort', 'its port'),
]

/** What `frpsConfigOf` takes, from flags. @throws FrpConfigError FRP_CONFIG_INVALID, naming the flag */
export function frpsRawOf(values: FlagValues): Record<string, unknown> {
  return rawOf(frpsFlags, values)
}

/** What `frpcConfigOf` takes, from the flags of `frpc TYPE`. @throws FrpConfigError */
export function frpcProxyRawOf(type: InlineProxyType, values: FlagValues): Record<string, unknown> {
  const proxy = { type, ...rawOf(frpcProxyFlags(type), values) }
  return { ...rawOf(frpcCommonFlags, values), proxies: [proxy] }
}

/** What `frpcConfigOf` takes, from the flags of `frpc TYPE visitor`. @throws FrpConfigError */
export function frpcVisitorRawOf(type: InlineVisitorType, values: FlagValues): Record<string, unknown> {
  const visitor = { type, ...rawOf(frpcVisitorFlags, values) }
  return { ...rawOf(frpcCommonFlags, values), visitors: [visitor] }
}

/** A name of a flag as it is looked up: `--server_addr` is `--server-addr`. */
export function flagKey(name: string): string {
  return name.replaceAll('_', '-')
}

function rawOf(flags: readonly FrpFlag[], values: FlagValues): Record<string, unknown> {
  const given = new Map(Object.entries(values).map(([name, value]) => [flagKey(name), value]))
  const raw: Record<string, unknown> = {}
  for (const flag of flags) {
    const value = given.get(flagKey(flag.name)) ?? flag.fallback
    if (value === undefined) continue
    const parsed = valueOf(flag, value)
    const isOn = flag.onlyWith === undefined || isTrue(given.get(flagKey(flag.onlyWith)))
    if (flag.path !== '' && isOn) put(raw, flag.path.split('.'), parsed)
  }
  return raw
}

function valueOf(flag: FrpFlag, value: string | number | boolean | readonly string[]): unknown {
  const texts = typeof value === 'object' ? value : [String(value)]
  const text = texts.at(-1) ?? ''
  switch (flag.kind) {
    case 'text':
      return text
    case 'number':
      return /^[+-]?\d{1,15}$/.test(text) ? Number(text) : refuse(flag, text, 'must be a whole number')
    case 'flag':
      return /^(?:1|t|true|0|f|false)$/i.test(text)
        ? isTrue(text)
        : refuse(flag, text, 'must be true or false')
    case 'list':
      return texts.flatMap((entry) => entry.split(',')).filter((entry) => entry !== '')
    case 'map':
      return Object.fromEntries(
        texts
          .flatMap((entry) => entry.split(','))
          .filter((entry) => entry !== '')
          .map((entry): [string, string] => {
            const end = entry.indexOf('=')
            if (end < 1) return refuse(flag, entry, 'must be key=value')
            return [entry.slice(0, end).trim(), entry.slice(end + 1)]
          }),
      )
    case 'ports':
      try {
        return parsePortRanges(texts.join(',')).map(({ from, to }) => ({ start: from, end: to }))
      } catch (error) {
        if (error instanceof NumberRangeError) return refuse(flag, text, error.message)
        throw error
      }
    default:
      return flag.kind satisfies never
  }
}

function isTrue(value: unknown): boolean {
  return value === true || (typeof value === 'string' && /^(?:1|t|true)$/i.test(value))
}

function refuse(flag: FrpFlag, value: string, message: string): never {
  const shown = JSON.stringify(value.slice(0, 80))
  const key = `--${flag.name}`
  throw new FrpConfigError([{ code: FrpConfigErrorCode.invalid, file: '', key, value: shown, message }])
}

function put(raw: Record<string, unknown>, [key = '', ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) raw[key] = value
  else put((raw[key] ??= {}) as Record<string, unknown>, rest, value)
}

function flag(
  name: string,
  kind: FlagKind,
  path: string,
  description: string,
  fallback?: string | number,
): FrpFlag {
  return { name, kind, path, description, ...(fallback === undefined ? {} : { fallback }) }
}

function onlyWith(name: string, flags: readonly FrpFlag[]): FrpFlag[] {
  return flags.map((entry) => ({ ...entry, onlyWith: name }))
}

function logFlags(): FrpFlag[] {
  return [
    flag('log_file', 'text', 'log.to', 'a file, or console'),
    flag('log_level', 'text', 'log.level', 'trace, debug, info, warn or error'),
    flag('log_max_days', 'number', 'log.maxDays', 'days for which old log files are kept'),
    flag('disable_log_color', 'flag', 'log.disablePrintColor', 'no colours on the console'),
  ]
}
