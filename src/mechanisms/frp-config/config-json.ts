import type { ProxyConfig, VisitorConfig } from './config.ts'

type Json = Readonly<Record<string, unknown>>

/**
 * A proxy or visitor in frp's JSON shape, as its APIs and its store have it; `proxyConfigOf` and `visitorConfigOf` take it
 * back. What is zero is left out where frp leaves it out.
 */
export function configJson(config: ProxyConfig | VisitorConfig): Json {
  return 'serverName' in config ? visitorJson(config) : proxyJson(config)
}

/** The same with its name, as the admin API has it: `{ name, type, tcp: { ... } }`. */
export function definitionJson(config: ProxyConfig | VisitorConfig): Json {
  return { name: config.name, type: config.type, [config.type]: configJson(config) }
}

function proxyJson(config: ProxyConfig): Json {
  const { name, type, transport, loadBalancer, healthCheck, localIP, localPort } = config
  return {
    name,
    type,
    ...sparse({ annotations: config.annotations }),
    transport: {
      ...sparse({ useEncryption: transport.useEncryption, useCompression: transport.useCompression }),
      bandwidthLimit: transport.bandwidthLimit,
      bandwidthLimitMode: transport.bandwidthLimitMode,
      ...sparse({ proxyProtocolVersion: transport.proxyProtocolVersion }),
    },
    ...sparse({ metadatas: config.metadatas }),
    loadBalancer: { group: loadBalancer.group, ...sparse({ groupKey: loadBalancer.groupKey }) },
    healthCheck: healthCheck === undefined ? { type: '', intervalSeconds: 0 } : sparse({ ...healthCheck }),
    localIP,
    ...sparse({ localPort }),
    plugin: null,
    ...typeJson(config),
  }
}

function typeJson(config: ProxyConfig): Json {
  switch (config.type) {
    case 'tcp':
    case 'udp':
      return sparse({ remotePort: config.remotePort })
    case 'http':
      return {
        ...domainJson(config),
        ...sparse({
          locations: config.locations,
          httpUser: config.httpUser,
          httpPassword: config.httpPassword,
          hostHeaderRewrite: config.hostHeaderRewrite,
        }),
        requestHeaders: sparse({ set: config.requestHeaders.set }),
        responseHeaders: sparse({ set: config.responseHeaders.set }),
        ...sparse({ routeByHTTPUser: config.routeByHTTPUser }),
      }
    case 'https':
      return domainJson(config)
    case 'tcpmux':
      return {
        ...domainJson(config),
        ...sparse({
          httpUser: config.httpUser,
          httpPassword: config.httpPassword,
          routeByHTTPUser: config.routeByHTTPUser,
        }),
        multiplexer: config.multiplexer,
      }
    case 'stcp':
    case 'sudp':
      return sparse({ secretKey: config.secretKey, allowUsers: config.allowUsers })
    default:
      return config satisfies never
  }
}

function domainJson(config: { readonly customDomains: readonly string[]; readonly subdomain: string }): Json {
  return sparse({ customDomains: config.customDomains, subdomain: config.subdomain })
}

function visitorJson(config: VisitorConfig): Json {
  const { name, type, transport, secretKey, serverUser, serverName, bindAddr, bindPort } = config
  const { fallbackTo, fallbackTimeoutMs } = config
  return {
    name,
    type,
    transport: sparse({ ...transport }),
    ...sparse({ secretKey, serverUser, serverName, bindAddr, bindPort }),
    plugin: null,
    ...(fallbackTo === '' ? {} : { fallbackTo, fallbackTimeoutMs }),
  }
}

/** Without what is empty, zero or false. */
function sparse(values: Json): Json {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) =>
      typeof value === 'object' && value !== null ? Object.keys(value).length > 0 : Boolean(value),
    ),
  )
}
