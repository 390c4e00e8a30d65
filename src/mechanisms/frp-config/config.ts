/**
 * The configuration of frps and frpc as the rest of the code sees it: complete, checked, in frp's own words (reference §24).
 * Times keep frp's units: whole seconds unless the name says otherwise; negative means off where the reference says so.
 */
import type { StringMap } from '../../protocols/frp/index.ts'

export interface LogConfig {
  /** `console` or a file. */
  readonly to: string
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error'
  readonly maxDays: number
  readonly disablePrintColor: boolean
}

export interface WebServerConfig {
  readonly addr: string
  /** 0: no web server. */
  readonly port: number
  readonly user: string
  readonly password: string
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined
}

export type AuthScope = 'HeartBeats' | 'NewWorkConns'

/** Where a secret comes from instead of the file; read at start, of OIDC at each use. */
export type ValueSource =
  | { readonly type: 'file'; readonly file: { readonly path: string } }
  | {
      readonly type: 'exec'
      readonly exec: {
        readonly command: string
        readonly args: readonly string[]
        readonly env: readonly { readonly name: string; readonly value: string }[]
      }
    }

export interface PortRange {
  readonly from: number
  readonly to: number
}

/**
 * Ours: one of several tokens, with what its holder may do. frp has one token for everybody.
 * A login matches the first grant whose token made its privilege_key.
 */
export interface TokenGrant {
  /** For logs and the API; never the token itself. */
  readonly name: string
  readonly token: string
  /** `user` of the login must be one of these. @defaultValue any */
  readonly users: readonly string[] | undefined
  /** Remote ports of tcp and udp, within those that the server allows. @defaultValue as the server */
  readonly allowPorts: readonly PortRange[] | undefined
  readonly allowProxyTypes: readonly ProxyType[] | undefined
  /** Domains that http, https and tcpmux may use; `*.example.com` for all beneath. @defaultValue any */
  readonly allowDomains: readonly string[] | undefined
  /** 0: no limit. Of all clients with this token together, as are the next ones. */
  readonly maxPorts: number
  readonly maxProxies: number
  readonly maxClients: number
  /** User connections at a time. */
  readonly maxConnections: number
  /** Bytes per second, both ways together; 0: no limit. */
  readonly bandwidthLimit: number
}

export interface ServerTlsConfig {
  readonly force: boolean
  readonly certFile: string
  readonly keyFile: string
  readonly trustedCaFile: string
}

export interface FrpsConfig {
  readonly bindAddr: string
  readonly bindPort: number
  readonly proxyBindAddr: string
  readonly vhostHTTPPort: number
  readonly vhostHTTPSPort: number
  readonly vhostHTTPTimeout: number
  readonly tcpmuxHTTPConnectPort: number
  readonly tcpmuxPassthrough: boolean
  readonly subDomainHost: string
  readonly custom404Page: string
  readonly webServer: WebServerConfig
  readonly enablePrometheus: boolean
  readonly log: LogConfig
  readonly detailedErrorsToClient: boolean
  readonly transport: {
    readonly tcpMux: boolean
    readonly tcpMuxKeepaliveInterval: number
    readonly tcpKeepalive: number
    readonly maxPoolCount: number
    readonly heartbeatTimeout: number
    readonly tls: ServerTlsConfig
    /** Ours: balancers that put a PROXY protocol header in front (addresses and CIDR ranges). */
    readonly proxyProtocolFrom: readonly string[]
  }
  readonly auth: {
    readonly method: 'token' | 'oidc'
    readonly token: string
    readonly tokenSource: ValueSource | undefined
    readonly additionalScopes: readonly AuthScope[]
    readonly oidc: {
      readonly issuer: string
      readonly audience: string
      readonly skipExpiryCheck: boolean
      readonly skipIssuerCheck: boolean
    }
    /** Ours: see `TokenGrant`. Empty: `token` alone, with every right. */
    readonly tokens: readonly TokenGrant[]
    /** Ours: how far a login's timestamp may be off, in seconds. 0: not checked, as frp does. */
    readonly timestampWindow: number
  }
  /** tcp + udp proxies of one client; 0: no limit. */
  readonly maxPortsPerClient: number
  readonly userConnTimeout: number
  /** Empty: all. Of tcp and udp separately. */
  readonly allowPorts: readonly PortRange[]
  /** Ours: bounds of what strangers and clients may hold. */
  readonly limits: {
    /** Connections that have not yet logged in, in all and per address. */
    readonly maxUnauthenticated: number
    readonly maxUnauthenticatedPerAddress: number
    /** Logins per address and minute. */
    readonly loginsPerMinute: number
    readonly maxClients: number
    readonly maxProxiesPerClient: number
    readonly maxConnections: number
    readonly maxConnectionsPerProxy: number
  }
  /** Ours: where per-day statistics are kept over restarts; empty: not. */
  readonly statisticsFile: string
}

/** A server within the gateway, whose log it has. */
export type TunnelServerConfig = Omit<FrpsConfig, 'log'>

export interface FrpcTransportConfig {
  readonly protocol: 'tcp' | 'websocket' | 'wss'
  readonly wireProtocol: 'v1' | 'v2'
  readonly dialServerTimeout: number
  readonly dialServerKeepalive: number
  readonly connectServerLocalIP: string
  readonly proxyURL: string
  readonly poolCount: number
  readonly tcpMux: boolean
  readonly tcpMuxKeepaliveInterval: number
  readonly heartbeatInterval: number
  readonly heartbeatTimeout: number
  readonly tls: {
    readonly enable: boolean
    readonly disableCustomTLSFirstByte: boolean
    readonly certFile: string
    readonly keyFile: string
    readonly trustedCaFile: string
    readonly serverName: string
  }
}

export interface FrpcAuthConfig {
  readonly method: 'token' | 'oidc'
  readonly token: string
  readonly tokenSource: ValueSource | undefined
  readonly additionalScopes: readonly AuthScope[]
  readonly oidc: {
    readonly clientID: string
    readonly clientSecret: string
    readonly audience: string
    readonly scope: string
    readonly tokenEndpointURL: string
    readonly additionalEndpointParams: StringMap
    readonly trustedCaFile: string
    readonly insecureSkipVerify: boolean
    readonly proxyURL: string
    readonly tokenSource: ValueSource | undefined
  }
}

/** What frpc has besides proxies and visitors; a change of it wants a restart. */
export interface FrpcCommonConfig {
  readonly serverAddr: string
  readonly serverPort: number
  readonly user: string
  readonly clientID: string
  readonly metadatas: StringMap
  readonly dnsServer: string
  readonly loginFailExit: boolean
  readonly log: LogConfig
  readonly webServer: WebServerConfig
  /** Where proxies and visitors made by the API are kept; empty: there is no such API. */
  readonly store: { readonly path: string }
  readonly transport: FrpcTransportConfig
  readonly auth: FrpcAuthConfig
}

/** `start`, `enabled` and `includes` have been applied: what is listed is to run. */
export interface FrpcConfig extends FrpcCommonConfig {
  /** Names that run; empty: all. It has been applied to what is listed, and holds for what a store adds. */
  readonly start: readonly string[]
  readonly proxies: readonly ProxyConfig[]
  readonly visitors: readonly VisitorConfig[]
}

/** A client within the gateway, whose log it has. */
export type TunnelClientConfig = Omit<FrpcConfig, 'log'>

export const PROXY_TYPES = ['tcp', 'udp', 'http', 'https', 'tcpmux', 'stcp', 'sudp'] as const
export type ProxyType = (typeof PROXY_TYPES)[number]

export interface HealthCheckConfig {
  readonly type: 'tcp' | 'http'
  readonly timeoutSeconds: number
  readonly maxFailed: number
  readonly intervalSeconds: number
  readonly path: string
  readonly httpHeaders: readonly { readonly name: string; readonly value: string }[]
}

export interface ProxyBase {
  /** Without the user's prefix. */
  readonly name: string
  readonly annotations: StringMap
  readonly metadatas: StringMap
  readonly localIP: string
  readonly localPort: number
  readonly transport: {
    readonly useEncryption: boolean
    readonly useCompression: boolean
    /** As written (`1MB`), or empty; `parseBandwidth` makes bytes per second of it. */
    readonly bandwidthLimit: string
    readonly bandwidthLimitMode: 'client' | 'server'
    readonly proxyProtocolVersion: '' | 'v1' | 'v2'
  }
  readonly loadBalancer: { readonly group: string; readonly groupKey: string }
  readonly healthCheck: HealthCheckConfig | undefined
}

interface DomainConfig {
  readonly customDomains: readonly string[]
  readonly subdomain: string
}

export interface PortProxyConfig extends ProxyBase {
  readonly type: 'tcp' | 'udp'
  readonly remotePort: number
}

export interface HttpProxyConfig extends ProxyBase, DomainConfig {
  readonly type: 'http'
  readonly locations: readonly string[]
  readonly httpUser: string
  readonly httpPassword: string
  readonly hostHeaderRewrite: string
  readonly requestHeaders: { readonly set: StringMap }
  readonly responseHeaders: { readonly set: StringMap }
  readonly routeByHTTPUser: string
}

export interface HttpsProxyConfig extends ProxyBase, DomainConfig {
  readonly type: 'https'
}

export interface TcpmuxProxyConfig extends ProxyBase, DomainConfig {
  readonly type: 'tcpmux'
  readonly multiplexer: 'httpconnect'
  readonly httpUser: string
  readonly httpPassword: string
  readonly routeByHTTPUser: string
}

export interface SecretProxyConfig extends ProxyBase {
  readonly type: 'stcp' | 'sudp'
  readonly secretKey: string
  readonly allowUsers: readonly string[]
}

export type ProxyConfig =
  | PortProxyConfig
  | HttpProxyConfig
  | HttpsProxyConfig
  | TcpmuxProxyConfig
  | SecretProxyConfig

export interface VisitorConfig {
  readonly name: string
  readonly type: 'stcp' | 'sudp'
  readonly transport: { readonly useEncryption: boolean; readonly useCompression: boolean }
  readonly secretKey: string
  readonly serverUser: string
  readonly serverName: string
  readonly bindAddr: string
  /** Below 0: only as what another visitor falls back to. */
  readonly bindPort: number
  /** Ours for stcp (frp has it for xtcp only): the visitor that takes over when the server refuses or does not answer in time; empty: none. */
  readonly fallbackTo: string
  readonly fallbackTimeoutMs: number
}
