import { isIP } from 'node:net'
import { z } from 'zod'
import {
  additionalScopesSchema,
  authMethodSchema,
  logSchema,
  valueSourceSchema,
  webServerSchema,
} from './common-schema.ts'
import type {
  FrpcAuthConfig,
  FrpcCommonConfig,
  FrpcConfig,
  FrpcTransportConfig,
  ProxyConfig,
  TunnelClientConfig,
  VisitorConfig,
} from './config.ts'
import { flag, issue, oneOf, port, positive, secondsOrOff, secret, text, textMap, texts } from './fields.ts'
import { proxySchema } from './proxy-schema.ts'
import { visitorSchema } from './visitor-schema.ts'

/** The configuration of a tunnel client: what frpc takes. */

const oidc = z
  .strictObject({
    clientID: text().describe('Name of this client at the token endpoint.'),
    clientSecret: secret.describe('Its secret.'),
    audience: text().describe('`audience` of the request.'),
    scope: text().describe('`scope` of the request.'),
    tokenEndpointURL: text().describe('Where tokens are had (client credentials).'),
    additionalEndpointParams: textMap.describe('Further parameters of the request.'),
    trustedCaFile: text().describe('Authorities (PEM) of the endpoint. Empty: those of the system.'),
    insecureSkipVerify: flag.describe('Takes any certificate of the endpoint.'),
    proxyURL: text().describe('Proxy on the way to the endpoint: http, https or socks5. Empty: none.'),
    tokenSource: valueSourceSchema
      .optional()
      .describe('Where tokens come from instead; read at each use. Excludes the other keys.'),
  })
  .check(({ value: { tokenSource, ...rest }, issues }) => {
    const isElseEmpty = Object.values(rest).every(
      (value) =>
        value === '' || value === false || (typeof value === 'object' && Object.keys(value).length === 0),
    )
    if (tokenSource !== undefined && !isElseEmpty) {
      issues.push(issue([], 'cannot specify both auth.oidc.tokenSource and any other field of auth.oidc'))
    }
  })
  .transform(({ tokenSource, ...rest }) => ({ ...rest, tokenSource }))
  .prefault({})

const auth: z.ZodType<FrpcAuthConfig> = z
  .strictObject({
    method: authMethodSchema.describe('How this client proves itself: `token` or `oidc`.'),
    token: secret.describe('The token of the server. It also keys encryption.'),
    tokenSource: valueSourceSchema.optional().describe('Where `token` comes from instead of the file.'),
    additionalScopes: additionalScopesSchema,
    oidc,
  })
  .check(({ value: { method, token, tokenSource, oidc }, issues }) => {
    if (token !== '' && tokenSource !== undefined) {
      issues.push(issue(['tokenSource'], 'cannot specify both auth.token and auth.tokenSource'))
    }
    if (method !== 'oidc' || oidc.tokenSource !== undefined) return
    if (oidc.clientID === '') issues.push(issue(['oidc', 'clientID'], 'is required with auth.method "oidc"'))
    const url = oidc.tokenEndpointURL
    if (url === '') {
      issues.push(issue(['oidc', 'tokenEndpointURL'], 'is required with auth.method "oidc"'))
    } else if (!/^https?:\/\/[^/?#]/i.test(url) || !URL.canParse(url)) {
      const message = 'must be an absolute http or https URL'
      issues.push(issue(['oidc', 'tokenEndpointURL'], message))
    }
    const params = Object.keys(oidc.additionalEndpointParams)
    if (params.includes('scope')) {
      const message = 'is not allowed; use auth.oidc.scope instead'
      issues.push(issue(['oidc', 'additionalEndpointParams', 'scope'], message))
    }
    if (oidc.audience !== '' && params.includes('audience')) {
      const message = 'cannot specify both auth.oidc.audience and auth.oidc.additionalEndpointParams.audience'
      issues.push(issue(['oidc', 'additionalEndpointParams', 'audience'], message))
    }
  })
  .transform(({ tokenSource, ...rest }) => ({ ...rest, tokenSource }))
  .prefault({})

/** What `transport.proxyURL` may be; empty is none. */
export function isProxyUrl(value: string): boolean {
  return value === '' || (/^(?:https?|socks5):\/\/[^/?#]/i.test(value) && URL.canParse(value))
}

export const PROXY_URL_FORM =
  'must be a URL of http, https or socks5, such as http://user:password@10.0.0.1:3128'

const transport: z.ZodType<FrpcTransportConfig> = z
  .strictObject({
    protocol: oneOf(['tcp', 'websocket', 'wss']).default('tcp').describe('How the server is reached.'),
    wireProtocol: oneOf(['v1', 'v2'])
      .default('v1')
      .describe('Version of the messages. Servers before frp 0.70 know `v1` only.'),
    dialServerTimeout: positive(10).describe('Seconds in which the connection must be made.'),
    dialServerKeepalive: secondsOrOff(7200).describe(
      'Seconds after which TCP looks for a silent server. Below 0: never.',
    ),
    connectServerLocalIP: text()
      .refine((value) => value === '' || isIP(value) !== 0, {
        error: 'must be a literal IPv4 or IPv6 address',
      })
      .describe('Own address from which the connection is made. Empty: any.'),
    proxyURL: text()
      .refine(isProxyUrl, { error: PROXY_URL_FORM })
      .meta({ secret: true })
      .describe('Proxy on the way to the server: http, https or socks5. Empty: none.'),
    poolCount: positive(1, 10_000).describe('Work connections that are kept ready.'),
    tcpMux: z
      .boolean()
      .default(true)
      .describe('Sends everything over one connection. The same on both sides.'),
    tcpMuxKeepaliveInterval: positive(30).describe('Seconds between pings on that connection.'),
    heartbeatInterval: z
      .int()
      .min(-1_000_000)
      .max(2_147_483)
      .default(0)
      .describe('Seconds between pings to the server. 0: 30 without `tcpMux`, else off. Below 0: off.'),
    heartbeatTimeout: z
      .int()
      .min(-1_000_000)
      .max(2_147_483)
      .default(0)
      .describe(
        'Seconds without an answer after which the server is left. 0: 90 without `tcpMux`, else off. Below 0: off.',
      ),
    tls: z
      .strictObject({
        enable: z.boolean().default(true).describe('Whether TLS is used.'),
        disableCustomTLSFirstByte: z
          .boolean()
          .default(true)
          .describe('Leaves out the byte 0x17 in front of TLS.'),
        certFile: text().describe('Own certificate chain (PEM), for servers that ask for one.'),
        keyFile: text().describe('Its key.'),
        trustedCaFile: text().describe(
          'Authorities (PEM) of the server. Empty: its certificate is not verified.',
        ),
        serverName: text().describe('Name in the certificate of the server. Empty: `serverAddr`.'),
      })
      .prefault({}),
  })
  .transform((value) => ({
    ...value,
    heartbeatInterval: value.heartbeatInterval || (value.tcpMux ? -1 : 30),
    heartbeatTimeout: value.heartbeatTimeout || (value.tcpMux ? -1 : 90),
  }))
  .check(({ value: { heartbeatInterval, heartbeatTimeout }, issues }) => {
    if (heartbeatInterval > 0 && heartbeatTimeout > 0 && heartbeatTimeout < heartbeatInterval) {
      const message = `heartbeat timeout should not less than heartbeat interval, ${heartbeatInterval}`
      issues.push(issue(['heartbeatTimeout'], message))
    }
  })
  .prefault({})

/** Of frpc and of a client within the gateway. */
const sharedKeys = {
  serverAddr: text('0.0.0.0').describe('Address or name of the server.'),
  serverPort: port(7000).describe('Its port.'),
  user: text().describe('Stands in front of the names of all proxies here: `user.name`.'),
  clientID: text().describe('Names this client at the server, besides `user`.'),
  metadatas: textMap.describe('Values sent along with the login.'),
  dnsServer: text().describe(
    'DNS server for the name of the server, with a port if it is not 53. Empty: as the system has it.',
  ),
  webServer: webServerSchema,
  store: z
    .strictObject({
      path: text().describe('File of the proxies and visitors made by the API. Empty: there is no such API.'),
    })
    .prefault({}),
  transport,
  auth,
  start: texts.describe('Names of proxies and visitors that run. Empty: all.'),
}

const loginFailExit = z.boolean().describe('Ends when the first login fails, instead of trying again.')

const commonKeys = { ...sharedKeys, log: logSchema, loginFailExit: loginFailExit.default(true) }

/** All but proxies and visitors, as the files of frpc have it; `start` is yet to be applied. */
export const frpcCommonSchema: z.ZodType<FrpcCommonConfig & { readonly start: readonly string[] }> =
  z.strictObject(commonKeys)

/** At most this many proxies, and visitors, in a configuration. */
const ENTRIES_MAX = 100_000

const entryKeys = {
  proxies: z
    .array(proxySchema)
    .max(ENTRIES_MAX)
    .default([])
    .describe('Services offered to users of the server.'),
  visitors: z
    .array(visitorSchema)
    .max(ENTRIES_MAX)
    .default([])
    .describe('Services of other clients (stcp, sudp) offered here.'),
}

/** A client within the gateway, which has a log of its own and does not end for want of a tunnel. */
export const tunnelClientSchema: z.ZodType<TunnelClientConfig> = z
  .strictObject({ ...sharedKeys, loginFailExit: loginFailExit.default(false), ...entryKeys })
  .check(withoutDuplicates)
  .transform(withRunning)

interface Entries {
  readonly proxies: readonly Entry<ProxyConfig>[]
  readonly visitors: readonly Entry<VisitorConfig>[]
}

function withoutDuplicates({ value, issues }: z.core.ParsePayload<Entries>): void {
  for (const kind of ['proxies', 'visitors'] as const) {
    for (const { index, message } of duplicates(kind, value[kind])) {
      issues.push(issue([kind, index, 'name'], message))
    }
  }
}

function withRunning<Config extends Entries & { readonly start: readonly string[] }>(
  config: Config,
): Omit<Config, keyof Entries> & Pick<FrpcConfig, 'proxies' | 'visitors'> {
  const { proxies, visitors, ...common } = config
  return {
    ...common,
    proxies: runningOf(proxies, config.start),
    visitors: runningOf(visitors, config.start),
  }
}

interface Entry<Config> {
  readonly enabled: boolean
  readonly config: Config
}

/** Entries whose name an earlier one has, in frp's words. */
function duplicates(
  kind: 'proxies' | 'visitors',
  entries: readonly Entry<{ readonly name: string }>[],
): { readonly index: number; readonly message: string }[] {
  const seen = new Set<string>()
  return entries.flatMap(({ config: { name } }, index) => {
    const isThere = seen.has(name)
    seen.add(name)
    const word = kind === 'proxies' ? 'proxy' : 'visitor'
    return isThere ? [{ index, message: `${word} name [${name}] is duplicated` }] : []
  })
}

/** What is to run of all entries. */
function runningOf<Config extends { readonly name: string }>(
  entries: readonly Entry<Config>[],
  start: readonly string[],
): Config[] {
  const names = new Set(start)
  return entries
    .filter(({ enabled, config }) => enabled && (names.size === 0 || names.has(config.name)))
    .map(({ config }) => config)
}
