import type {
  FrpcConfig,
  FrpcTransportConfig,
  PortProxyConfig,
  ProxyBase,
  SecretProxyConfig,
  VisitorConfig,
} from '../../../mechanisms/frp-config/index.ts'

/** A configuration of frpc with frp's defaults, wire version 1 and no heartbeats. */
export function frpcConfig(
  changes: Partial<FrpcConfig> & { readonly wire?: Partial<FrpcTransportConfig> } = {},
): FrpcConfig {
  const { wire, ...rest } = changes
  return {
    serverAddr: '127.0.0.1',
    serverPort: 7000,
    user: '',
    clientID: '',
    metadatas: {},
    dnsServer: '',
    loginFailExit: true,
    log: { to: 'console', level: 'info', maxDays: 3, disablePrintColor: false },
    webServer: { addr: '127.0.0.1', port: 0, user: '', password: '', tls: undefined },
    store: { path: '' },
    auth: {
      method: 'token',
      token: 'secret',
      tokenSource: undefined,
      additionalScopes: [],
      oidc: {
        clientID: '',
        clientSecret: '',
        audience: '',
        scope: '',
        tokenEndpointURL: '',
        additionalEndpointParams: {},
        trustedCaFile: '',
        insecureSkipVerify: false,
        proxyURL: '',
        tokenSource: undefined,
      },
    },
    start: [],
    proxies: [],
    visitors: [],
    ...rest,
    transport: {
      protocol: 'tcp',
      wireProtocol: 'v1',
      dialServerTimeout: 10,
      dialServerKeepalive: 7200,
      connectServerLocalIP: '',
      proxyURL: '',
      poolCount: 1,
      tcpMux: true,
      tcpMuxKeepaliveInterval: 30,
      heartbeatInterval: -1,
      heartbeatTimeout: -1,
      tls: {
        enable: false,
        disableCustomTLSFirstByte: true,
        certFile: '',
        keyFile: '',
        trustedCaFile: '',
        serverName: '',
      },
      ...wire,
    },
  }
}

export const plainTransport: ProxyBase['transport'] = {
  useEncryption: false,
  useCompression: false,
  bandwidthLimit: '',
  bandwidthLimitMode: 'client',
  proxyProtocolVersion: '',
}

export function proxyBase(name: string, changes: Partial<ProxyBase> = {}): ProxyBase {
  return {
    name,
    annotations: {},
    metadatas: {},
    localIP: '127.0.0.1',
    localPort: 80,
    transport: plainTransport,
    loadBalancer: { group: '', groupKey: '' },
    healthCheck: undefined,
    ...changes,
  }
}

export function portProxy(
  type: PortProxyConfig['type'],
  name: string,
  changes: Partial<PortProxyConfig> = {},
): PortProxyConfig {
  return { ...proxyBase(name), remotePort: 0, ...changes, type }
}

export function secretProxy(
  type: SecretProxyConfig['type'],
  name: string,
  changes: Partial<SecretProxyConfig> = {},
): SecretProxyConfig {
  return { ...proxyBase(name), secretKey: 'key', allowUsers: [], ...changes, type }
}

export function visitorConfig(
  type: VisitorConfig['type'],
  name: string,
  changes: Partial<VisitorConfig> = {},
): VisitorConfig {
  return {
    name,
    transport: { useEncryption: false, useCompression: false },
    secretKey: 'key',
    serverUser: '',
    serverName: 'hidden',
    bindAddr: '127.0.0.1',
    bindPort: -1,
    fallbackTo: '',
    fallbackTimeoutMs: 1000,
    ...changes,
    type,
  }
}
