import type { NewProxy } from '../../../protocols/frp/index.ts'
import type { ProxyView } from '../statistics/contract.ts'
import { withoutEmpty } from './frp-json.ts'

type Json = Readonly<Record<string, unknown>>

/** A registered proxy as v1 of frps's API shows it: a configuration made of what the client asked for. */
export function proxyConf(view: ProxyView): Json {
  const { request, type, name } = view
  return {
    name,
    type,
    ...withoutEmpty({ annotations: request.annotations }),
    transport: {
      ...withoutEmpty({ useEncryption: request.use_encryption, useCompression: request.use_compression }),
      bandwidthLimit: request.bandwidth_limit,
      bandwidthLimitMode: request.bandwidth_limit_mode || 'client',
    },
    ...withoutEmpty({ metadatas: request.metas }),
    loadBalancer: { group: request.group, ...withoutEmpty({ groupKey: request.group_key }) },
    // The rest of the base is the client's own affair; frps shows these zeros.
    healthCheck: { type: '', intervalSeconds: 0 },
    localIP: '127.0.0.1',
    plugin: null,
    ...confOfType(view),
  }
}

function confOfType(view: ProxyView): Json {
  const { request } = view
  switch (view.type) {
    case 'tcp':
    case 'udp':
      return { remotePort: remotePort(view) }
    case 'http':
      return {
        ...domains(request),
        locations: request.locations.length > 0 ? request.locations : null,
        hostHeaderRewrite: request.host_header_rewrite,
      }
    case 'https':
      return domains(request)
    case 'tcpmux':
      return {
        ...domains(request),
        multiplexer: request.multiplexer,
        routeByHTTPUser: request.route_by_http_user,
      }
    default:
      return {}
  }
}

/** The same for v2: `{type, <type>: {...}}`, whose block is empty for a proxy that is offline. */
export function proxySpec(type: string, view: ProxyView | undefined): Json {
  return { type, [type]: view === undefined ? {} : specBlock(view) }
}

function specBlock(view: ProxyView): Json {
  const { request } = view
  return {
    ...withoutEmpty({ annotations: request.annotations, metadatas: request.metas }),
    transport: {
      useEncryption: request.use_encryption,
      useCompression: request.use_compression,
      bandwidthLimit: request.bandwidth_limit,
      bandwidthLimitMode: request.bandwidth_limit_mode || 'client',
    },
    loadBalancer: { group: request.group },
    ...specOfType(view),
  }
}

function specOfType(view: ProxyView): Json {
  const { request } = view
  switch (view.type) {
    case 'tcp':
    case 'udp':
      return { remotePort: remotePort(view) }
    case 'http':
      return {
        ...domains(request),
        ...withoutEmpty({ locations: request.locations, hostHeaderRewrite: request.host_header_rewrite }),
      }
    case 'https':
      return domains(request)
    case 'tcpmux':
      return {
        ...domains(request),
        ...withoutEmpty({ multiplexer: request.multiplexer, routeByHTTPUser: request.route_by_http_user }),
      }
    default:
      return {}
  }
}

function domains({ custom_domains: customDomains, subdomain }: NewProxy): Json {
  return withoutEmpty({ customDomains, subdomain })
}

/** The one that it has got, where any would do. */
export function remotePort({ remoteAddr, request }: ProxyView): number {
  const port = /:(\d+)$/.exec(remoteAddr)?.[1]
  return port === undefined ? request.remote_port : Number(port)
}
