import { z } from 'zod'
import { type FrpsConfig, PROXY_TYPES, type TokenGrant, type TunnelServerConfig } from './config.ts'
import {
  additionalScopesSchema,
  authMethodSchema,
  logSchema,
  valueSourceSchema,
  webServerSchema,
} from './common-schema.ts'
import {
  bytesPerSecond,
  cidr,
  flag,
  issue,
  oneOf,
  port,
  portRange,
  positive,
  secondsOrOff,
  secret,
  text,
} from './fields.ts'

/** The configuration of a tunnel server: what frps takes, and ours beside it. */

const portRanges = z.array(portRange).max(10_000)
const limit = z.int().min(0).max(1_000_000_000)
const bound = z.int().min(1).max(100_000_000)

const grant: z.ZodType<TokenGrant> = z
  .strictObject({
    name: z.string().min(1).max(64).describe('Names the token in logs and the API; unique.'),
    token: z.string().min(1).meta({ secret: true }).describe('The token; unique.'),
    users: z
      .array(z.string())
      .max(10_000)
      .optional()
      .describe('Values of `user` that may log in with it. Absent: any.'),
    allowPorts: portRanges
      .optional()
      .describe('Remote ports of tcp and udp, within those of the server. Absent: as the server.'),
    allowProxyTypes: z.array(oneOf(PROXY_TYPES)).max(16).optional().describe('Absent: every type.'),
    allowDomains: z
      .array(z.string().min(1).max(253))
      .max(10_000)
      .optional()
      .describe('Domains of http, https and tcpmux; `*.example.com` for all beneath. Absent: any.'),
    maxPorts: limit.default(0).describe('Most tcp and udp proxies of all its clients together. 0: no limit.'),
    maxProxies: limit.default(0).describe('Most proxies. 0: no limit.'),
    maxClients: limit.default(0).describe('Most clients at a time. 0: no limit.'),
    maxConnections: limit.default(0).describe('Most user connections at a time. 0: no limit.'),
    bandwidthLimit: bytesPerSecond.describe(
      'Bytes per second, both ways together: `1MB`, `500KB`. Empty: no limit.',
    ),
  })
  .transform(({ users, allowPorts, allowProxyTypes, allowDomains, ...rest }) => ({
    ...rest,
    users,
    allowPorts,
    allowProxyTypes,
    allowDomains,
  }))

const transport = z
  .strictObject({
    tcpMux: z
      .boolean()
      .default(true)
      .describe('Whether a client sends everything over one connection. The same on both sides.'),
    tcpMuxKeepaliveInterval: positive(30).describe('Seconds between pings on that connection.'),
    tcpKeepalive: secondsOrOff(7200).describe(
      'Seconds after which TCP looks for a silent peer. Below 0: never.',
    ),
    maxPoolCount: positive(5, 10_000).describe('Most work connections that a client may keep ready.'),
    heartbeatTimeout: z
      .int()
      .min(-1_000_000)
      .max(2_147_483)
      .default(0)
      .describe(
        'Seconds without a ping after which a client is dropped. 0: 90 without `tcpMux`, else off. Below 0: off.',
      ),
    tls: z
      .strictObject({
        force: flag.describe('Refuses connections without TLS. Always so with `trustedCaFile`.'),
        certFile: text().describe('Certificate chain (PEM). Empty: one is made at start.'),
        keyFile: text().describe('Its key.'),
        trustedCaFile: text().describe('Clients must have a certificate of these authorities (PEM).'),
      })
      .transform((tls) => ({ ...tls, force: tls.force || tls.trustedCaFile !== '' }))
      .prefault({}),
    proxyProtocolFrom: z
      .array(cidr)
      .max(256)
      .default([])
      .describe('Balancers whose PROXY protocol header (v1, v2) says who the client is.'),
  })
  .transform((value) => ({
    ...value,
    heartbeatTimeout: value.heartbeatTimeout || (value.tcpMux ? -1 : 90),
  }))
  .prefault({})

const limits = z
  .strictObject({
    maxUnauthenticated: bound
      .default(2_000)
      .describe(
        'Most connections that have not yet logged in; for one more, the one that has waited longest is cut.',
      ),
    maxUnauthenticatedPerAddress: bound.default(200).describe('The same for one client address.'),
    loginsPerMinute: bound
      .default(600)
      .describe(
        'Most logins of one source (an IPv4 address, a /64 of IPv6) in a minute; further ones are refused. As many refused visitors and work connections are answered, further ones are cut.',
      ),
    maxClients: bound.default(10_000).describe('Most clients; further logins are refused.'),
    maxProxiesPerClient: bound.default(1_000).describe('Most proxies of a client; further ones are refused.'),
    maxConnections: bound.default(20_000).describe('Most user connections; further ones are closed at once.'),
    maxConnectionsPerProxy: limit
      .default(0)
      .describe('Most user connections of one proxy. 0: no limit beyond `maxConnections`.'),
  })
  .prefault({})

/** Clients of frp have wrong clocks, so a server that stands for frps does not look at them. */
export const frpsSchema: z.ZodType<FrpsConfig> = z
  .strictObject({ ...serverKeys(0), log: logSchema })
  .transform(withProxyBindAddr)

/**
 * The same for the gateway, which has a log of its own, and where a login that was overheard is of no use after a quarter of
 * an hour.
 */
export const tunnelServerSchema: z.ZodType<TunnelServerConfig> = z
  .strictObject(serverKeys(900))
  .transform(withProxyBindAddr)

function withProxyBindAddr<Config extends { readonly bindAddr: string; readonly proxyBindAddr: string }>(
  config: Config,
): Config {
  return { ...config, proxyBindAddr: config.proxyBindAddr || config.bindAddr }
}

type ServerKeys = { readonly [Key in keyof TunnelServerConfig]-?: z.ZodType<TunnelServerConfig[Key]> }

function serverKeys(timestampWindow: number): ServerKeys {
  return {
    bindAddr: text('0.0.0.0').describe('Address on which clients are served.'),
    bindPort: port(7000).describe('Port on which clients are served (TCP, TLS, WebSocket).'),
    proxyBindAddr: text().describe('Address of the ports of proxies. Empty: `bindAddr`.'),
    vhostHTTPPort: port(0).describe('Port of proxies of type http. 0: there are none. May be `bindPort`.'),
    vhostHTTPSPort: port(0).describe('Port of proxies of type https. 0: there are none. May be `bindPort`.'),
    vhostHTTPTimeout: positive(60).describe('Seconds in which a service must begin its HTTP answer.'),
    tcpmuxHTTPConnectPort: port(0).describe('Port of proxies of type tcpmux. 0: there are none.'),
    tcpmuxPassthrough: flag.describe('Whether CONNECT requests go to the service as they are.'),
    subDomainHost: text().describe(
      'Domain beneath which clients may take names by `subdomain`. Empty: they may not.',
    ),
    custom404Page: text().describe(
      'HTML file for requests of hosts that nobody serves. Empty: a built-in page.',
    ),
    webServer: webServerSchema,
    enablePrometheus: flag.describe('Whether the web server has `/metrics`.'),
    detailedErrorsToClient: z
      .boolean()
      .default(true)
      .describe('Whether clients are told why something is refused.'),
    transport,
    auth: authSchema(timestampWindow),
    maxPortsPerClient: limit.default(0).describe('Most tcp and udp proxies of a client. 0: no limit.'),
    userConnTimeout: positive(10).describe('Seconds that a user connection waits for its client.'),
    allowPorts: portRanges.default([]).describe('Remote ports that clients may take. Empty: all.'),
    limits,
    statisticsFile: text().describe(
      'File in which statistics of days outlive a restart. Empty: they do not.',
    ),
  }
}

function authSchema(timestampWindow: number): z.ZodType<FrpsConfig['auth']> {
  return z
    .strictObject({
      method: authMethodSchema.describe('How clients prove themselves: `token` or `oidc`.'),
      token: secret.describe('The token of all clients. It also keys encryption.'),
      tokenSource: valueSourceSchema.optional().describe('Where `token` comes from instead of the file.'),
      additionalScopes: additionalScopesSchema,
      oidc: z
        .strictObject({
          issuer: text().describe('URL of the issuer; its keys are looked up there at start.'),
          audience: text().describe('What `aud` of a token must contain. Empty: not checked.'),
          skipExpiryCheck: flag.describe('Takes tokens that have expired.'),
          skipIssuerCheck: flag.describe('Takes tokens of any issuer.'),
        })
        .prefault({}),
      tokens: z
        .array(grant)
        .max(10_000)
        .check(({ value, issues }) => {
          for (const key of ['name', 'token'] as const) {
            const seen = new Set<string>()
            for (const [index, entry] of value.entries()) {
              if (seen.has(entry[key])) issues.push(issue([index, key], 'is there already; must be unique'))
              seen.add(entry[key])
            }
          }
        })
        .default([])
        .describe('Several tokens with rights of their own, beside `token`.'),
      timestampWindow: z
        .int()
        .min(0)
        .max(31_536_000)
        .default(timestampWindow)
        .describe(
          'Seconds by which the clock of a client may be off at its login. 0: not checked, as frp does.',
        ),
    })
    .check(({ value, issues }) => {
      if (value.token !== '' && value.tokenSource !== undefined) {
        issues.push(issue(['tokenSource'], 'cannot specify both auth.token and auth.tokenSource'))
      }
      if (value.method === 'oidc' && value.tokens.length > 0) {
        issues.push(issue(['tokens'], 'has no use with auth.method "oidc"; must be empty'))
      }
    })
    .transform(({ tokenSource, ...rest }) => ({ ...rest, tokenSource }))
    .prefault({})
}
