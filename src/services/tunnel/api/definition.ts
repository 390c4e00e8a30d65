import type { HealthCheckConfig, ProxyConfig, VisitorConfig } from '../../../mechanisms/frp-config/index.ts'
import { withoutEmpty } from './frp-json.ts'

type Json = Readonly<Record<string, unknown>>

/** A proxy as frpc's API shows it: `{name, type, <type>: {...}}` in the words of the configuration file. */
export function proxyDefinition(config: ProxyConfig): Json {
  const { name, type, transport, loadBalancer } = config
  const block = {
    name,
    type,
    ...withoutEmpty({ annotations: config.annotations }),
    transport: {
      ...withoutEmpty({ useEncryption: transport.useEncryption, useCompression: transport.useCompression }),
      bandwidthLimit: transport.bandwidthLimit,
      bandwidthLimitMode: transport.bandwidthLimitMode,
      ...withoutEmpty({ proxyProtocolVersion: transport.proxyProtocolVersion }),
    },
    ...withoutEmpty({ metadatas: config.metadatas }),
    loadBalancer: { group: loadBalancer.group, ...withoutEmpty({ groupKey: loadBalancer.groupKey }) },
    healthCheck: healthCheckJson(config.healthCheck),
    ...withoutEmpty({ localIP: config.localIP, localPort: config.localPort }),
    plugin: null,
    ...partOfType(config),
  }
  return { name, type, [type]: block }
}

function healthCheckJson(check: HealthCheckConfig | undefined): Json {
  if (check === undefined) return { type: '', intervalSeconds: 0 }
  const { type, timeoutSeconds, maxFailed, intervalSeconds, path, httpHeaders } = check
  return { type, timeoutSeconds, maxFailed, intervalSeconds, ...withoutEmpty({ path, httpHeaders }) }
}

function partOfType(config: ProxyConfig): Json {
  if ('remotePort' in config) return withoutEmpty({ remotePort: config.remotePort })
  if ('secretKey' in config) {
    return withoutEmpty({ secretKey: config.secretKey, allowUsers: config.allowUsers })
  }
  const domains = withoutEmpty({ customDomains: config.customDomains, subdomain: config.subdomain })
  if (config.type === 'https') return domains
  const user = withoutEmpty({ httpUser: config.httpUser, httpPassword: config.httpPassword })
  const route = withoutEmpty({ routeByHTTPUser: config.routeByHTTPUser })
  if (config.type === 'tcpmux') return { ...domains, ...user, ...route, multiplexer: config.multiplexer }
  return {
    ...domains,
    ...withoutEmpty({ locations: config.locations }),
    ...user,
    ...withoutEmpty({ hostHeaderRewrite: config.hostHeaderRewrite }),
    requestHeaders: withoutEmpty(config.requestHeaders),
    responseHeaders: withoutEmpty(config.responseHeaders),
    ...route,
  }
}

/** The same for a visitor. */
export function visitorDefinition(config: VisitorConfig): Json {
  const { name, type, transport, secretKey, serverUser, serverName, bindAddr, bindPort } = config
  const { useEncryption, useCompression } = transport
  const { fallbackTo, fallbackTimeoutMs } = config
  const block = {
    name,
    type,
    transport: withoutEmpty({ useEncryption, useCompression }),
    ...withoutEmpty({ secretKey, serverUser, serverName, bindAddr, bindPort }),
    plugin: null,
    // Ours for stcp.
    ...(fallbackTo !== '' && { fallbackTo, fallbackTimeoutMs }),
  }
  return { name, type, [type]: block }
}

/**
 * What a definition says, as an entry of the configuration file would: its block, with name and type.
 *
 * @throws Error, in frp's words, unless there is a name, a known type and exactly that block
 */
export function entryOf(kind: 'proxy' | 'visitor', definition: unknown): Json & { readonly name: string } {
  const { name, type, ...blocks } = objectOf(definition, 'a definition')
  if (typeof name !== 'string' || name.trim() === '') throw new Error(`${kind} name is required`)
  const types = TYPES[kind]
  if (typeof type !== 'string' || !types.includes(type)) {
    throw new Error(`invalid ${kind} type: ${typeof type === 'string' ? type : ''}`)
  }
  const given = types.filter((one) => blocks[one] !== undefined && blocks[one] !== null)
  const [block] = given
  if (block === undefined || given.length > 1) throw new Error(`exactly one ${kind} type block is required`)
  if (block !== type) throw new Error(`${kind} type block "${block}" does not match type "${type}"`)
  return { ...objectOf(blocks[block], `block "${block}"`), name, type }
}

const TYPES: Readonly<Record<'proxy' | 'visitor', readonly string[]>> = {
  proxy: ['tcp', 'udp', 'http', 'https', 'tcpmux', 'stcp', 'sudp', 'xtcp'],
  visitor: ['stcp', 'sudp', 'xtcp'],
}

function objectOf(value: unknown, what: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  throw new Error(`${what} must be an object`)
}
