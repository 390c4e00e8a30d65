import {
  type FrpcConfig,
  frpcConfigOf,
  type FrpcTransportConfig,
  type PortProxyConfig,
  type ProxyBase,
  type SecretProxyConfig,
  type VisitorConfig,
} from '../../../mechanisms/frp-config/index.ts'

/** A configuration of frpc with frp's defaults, a token, and no TLS. */
export function frpcConfig(
  changes: Partial<FrpcConfig> & { readonly wire?: Partial<FrpcTransportConfig> } = {},
): FrpcConfig {
  const { wire, ...rest } = changes
  const raw = { serverAddr: '127.0.0.1', auth: { token: 'secret' }, transport: { tls: { enable: false } } }
  const { config } = frpcConfigOf(raw, { env: {} })
  return { ...config, ...rest, transport: { ...config.transport, ...wire } }
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
