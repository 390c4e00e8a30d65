import type { ProxyConfig } from '../../../mechanisms/frp-config/index.ts'
import type { NewProxy } from '../../../protocols/frp/index.ts'

/** What a server is told of a proxy; `wireName` is its name with the user's prefix. */
export function newProxyMessage(config: ProxyConfig, wireName: string): Partial<NewProxy> {
  const { transport, loadBalancer } = config
  return {
    proxy_name: wireName,
    proxy_type: config.type,
    use_encryption: transport.useEncryption,
    use_compression: transport.useCompression,
    bandwidth_limit: transport.bandwidthLimit,
    // frp leaves its default out.
    bandwidth_limit_mode: transport.bandwidthLimitMode === 'client' ? '' : transport.bandwidthLimitMode,
    group: loadBalancer.group,
    group_key: loadBalancer.groupKey,
    metas: config.metadatas,
    annotations: config.annotations,
    ...fieldsOfType(config),
  }
}

function fieldsOfType(config: ProxyConfig): Partial<NewProxy> {
  switch (config.type) {
    case 'tcp':
    case 'udp':
      return { remote_port: config.remotePort }
    case 'http':
      return {
        custom_domains: config.customDomains,
        subdomain: config.subdomain,
        locations: config.locations,
        http_user: config.httpUser,
        http_pwd: config.httpPassword,
        host_header_rewrite: config.hostHeaderRewrite,
        headers: config.requestHeaders.set,
        response_headers: config.responseHeaders.set,
        route_by_http_user: config.routeByHTTPUser,
      }
    case 'https':
      return { custom_domains: config.customDomains, subdomain: config.subdomain }
    case 'tcpmux':
      return {
        custom_domains: config.customDomains,
        subdomain: config.subdomain,
        multiplexer: config.multiplexer,
        http_user: config.httpUser,
        http_pwd: config.httpPassword,
        route_by_http_user: config.routeByHTTPUser,
      }
    case 'stcp':
    case 'sudp':
      return { sk: config.secretKey, allow_users: config.allowUsers }
    default:
      return config satisfies never
  }
}
