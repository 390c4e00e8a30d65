import { z } from 'zod'
import type { StringMap } from '../../protocols/frp/index.ts'
import { annotationProblems } from './annotations.ts'
import { type HealthCheckConfig, PROXY_TYPES, type ProxyConfig, type ProxyType } from './config.ts'
import {
  bandwidth,
  flag,
  issue,
  nameOf,
  oneOf,
  port,
  portNumber,
  positive,
  required,
  secret,
  text,
  textMap,
  textList,
} from './fields.ts'

/** A proxy with whether it is to run. */
export interface ProxyEntry {
  readonly enabled: boolean
  readonly config: ProxyConfig
}

const domainKeys = ['customDomains', 'subdomain'] as const
const httpUserKeys = ['httpUser', 'httpPassword', 'routeByHTTPUser'] as const
const secretKeys = ['secretKey', 'allowUsers'] as const
const httpKeys = ['locations', 'hostHeaderRewrite', 'requestHeaders', 'responseHeaders'] as const

/** Keys that not every type of proxy has. */
const typeKeys = {
  tcp: ['remotePort'],
  udp: ['remotePort'],
  http: [...domainKeys, ...httpUserKeys, ...httpKeys],
  https: domainKeys,
  tcpmux: [...domainKeys, ...httpUserKeys, 'multiplexer'],
  stcp: secretKeys,
  sudp: secretKeys,
} as const satisfies Readonly<Record<ProxyType, readonly string[]>>

type TypeKey = (typeof typeKeys)[ProxyType][number]

const allTypeKeys: readonly TypeKey[] = [...new Set(Object.values(typeKeys).flat())]

/** Keys of a proxy that proxies of this type do not have. */
export function foreignProxyKeys(type: unknown): readonly string[] {
  const own: readonly string[] = PROXY_TYPES.includes(type as ProxyType)
    ? typeKeys[type as ProxyType]
    : allTypeKeys
  return allTypeKeys.filter((key) => !own.includes(key))
}

const headerSet = z.strictObject({ set: textMap.describe('Headers by name.') })

const healthCheck = z
  .strictObject({
    type: oneOf(['', 'tcp', 'http'])
      .default('')
      .describe('`tcp` connects, `http` makes a GET request. Empty: no check.'),
    timeoutSeconds: positive(3).describe('Seconds after which a check has failed.'),
    maxFailed: positive(1).describe('Failed checks in a row after which the proxy is taken down.'),
    intervalSeconds: positive(10).describe('Seconds between checks.'),
    path: text().describe('Path of the request, with `http`.'),
    httpHeaders: z
      .array(z.strictObject({ name: z.string().min(1), value: z.string() }))
      .max(1_000)
      .default([])
      .describe('Headers of the request, with `http`.'),
  })
  .check(({ value, issues }) => {
    if (value.type === 'http' && value.path === '') {
      issues.push(issue(['path'], 'health check path should not be empty'))
    }
  })
  .transform(({ type, ...rest }): HealthCheckConfig | undefined =>
    type === '' ? undefined : { type, ...rest },
  )
  .prefault({})
  .describe('Checks of the local service; the proxy is served while they succeed.')

const proxyShape = z.strictObject({
  name: required('name should not be empty').describe('Name of the proxy; unique.'),
  type: z
    .enum(PROXY_TYPES, {
      error: ({ input }) => `unknown proxy type: ${nameOf(input)}; allowed: ${PROXY_TYPES.join(', ')}`,
    })
    .describe('How users reach it.'),
  enabled: z.boolean().default(true).describe('Whether it is served.'),
  annotations: textMap.describe('Words about the proxy that the dashboard shows, by key.'),
  metadatas: textMap.describe('Values sent along to the server.'),
  localIP: text('127.0.0.1').describe('Address or name of the local service.'),
  localPort: port(0).describe('Its port.'),
  transport: z
    .strictObject({
      useEncryption: flag.describe('Encrypts the way between client and server with the token.'),
      useCompression: flag.describe('Compresses it (snappy).'),
      bandwidthLimit: bandwidth.describe(
        'Bytes per second of all connections together: `1MB`, `500KB`. Empty: no limit.',
      ),
      bandwidthLimitMode: oneOf(['client', 'server']).default('client').describe('Who holds to it.'),
      proxyProtocolVersion: oneOf(['', 'v1', 'v2'])
        .default('')
        .describe('PROXY protocol header that tells the local service who the user is. Empty: none.'),
    })
    .prefault({}),
  loadBalancer: z
    .strictObject({
      group: text().describe('Proxies of one group share their port or domain. Empty: no group.'),
      groupKey: secret.describe('What every member of the group must know.'),
    })
    .prefault({}),
  healthCheck,
  remotePort: portNumber.optional().describe('Port at the server (tcp, udp). 0: a free one.'),
  customDomains: textList.optional().describe('Domains (http, https, tcpmux).'),
  subdomain: z
    .string()
    .optional()
    .describe('Name beneath `subDomainHost` of the server (http, https, tcpmux).'),
  locations: textList.optional().describe('Beginnings of paths (http). Empty: every path.'),
  httpUser: z
    .string()
    .optional()
    .describe('Name that users must give (http, tcpmux). With `httpPassword` empty as well: none.'),
  httpPassword: z.string().meta({ secret: true }).optional().describe('Its password.'),
  routeByHTTPUser: z
    .string()
    .optional()
    .describe('Only requests with this user name come here (http, tcpmux).'),
  hostHeaderRewrite: z.string().optional().describe('Host header that the service sees (http).'),
  requestHeaders: headerSet.optional().describe('Headers set in requests (http).'),
  responseHeaders: headerSet.optional().describe('Headers set in answers (http).'),
  multiplexer: z.string().optional().describe('Must be `httpconnect` (tcpmux).'),
  secretKey: z.string().meta({ secret: true }).optional().describe('What visitors must know (stcp, sudp).'),
  allowUsers: textList
    .optional()
    .describe('Users whose visitors may come (stcp, sudp); `*` for all. Empty: only the own user.'),
})

type ProxyInput = z.output<typeof proxyShape>

export const proxySchema: z.ZodType<ProxyEntry> = proxyShape
  .check(({ value, issues }) => {
    const allowed = Object.keys(proxyShape.shape).filter((key) => !foreignProxyKeys(value.type).includes(key))
    for (const key of foreignProxyKeys(value.type)) {
      if (value[key as TypeKey] === undefined) continue
      issues.push(
        issue([key], `unknown key for a proxy of type ${value.type}; allowed here: ${allowed.join(', ')}`),
      )
    }
    for (const message of annotationProblems(value.annotations)) issues.push(issue(['annotations'], message))
    const isByDomain = value.type === 'http' || value.type === 'https' || value.type === 'tcpmux'
    if (isByDomain && !value.subdomain && (value.customDomains ?? []).length === 0) {
      issues.push(issue([], 'subdomain and custom domains should not be both empty'))
    }
    if (value.type === 'tcpmux' && value.multiplexer !== 'httpconnect') {
      const message = `not support multiplexer: ${value.multiplexer ?? ''}; allowed: httpconnect`
      issues.push(issue(['multiplexer'], message))
    }
  })
  .transform((input) => ({ enabled: input.enabled, config: proxyOf(input) }))

function proxyOf(input: ProxyInput): ProxyConfig {
  const { name, annotations, metadatas, localIP, localPort, transport, loadBalancer, healthCheck } = input
  const base = { name, annotations, metadatas, localIP, localPort, transport, loadBalancer, healthCheck }
  const { customDomains = [], subdomain = '', httpUser = '', httpPassword = '', routeByHTTPUser = '' } = input
  const { locations = [], hostHeaderRewrite = '', secretKey = '', allowUsers = [], remotePort = 0 } = input
  switch (input.type) {
    case 'tcp':
    case 'udp':
      return { ...base, type: input.type, remotePort }
    case 'http':
      return {
        ...base,
        type: input.type,
        customDomains,
        subdomain,
        locations,
        httpUser,
        httpPassword,
        hostHeaderRewrite,
        requestHeaders: { set: headersOf(input.requestHeaders) },
        responseHeaders: { set: headersOf(input.responseHeaders) },
        routeByHTTPUser,
      }
    case 'https':
      return { ...base, type: input.type, customDomains, subdomain }
    case 'tcpmux':
      return {
        ...base,
        type: input.type,
        customDomains,
        subdomain,
        multiplexer: 'httpconnect',
        httpUser,
        httpPassword,
        routeByHTTPUser,
      }
    case 'stcp':
    case 'sudp':
      return { ...base, type: input.type, secretKey, allowUsers }
    default:
      return input.type satisfies never
  }
}

function headersOf(headers: { readonly set: StringMap } | undefined): StringMap {
  return headers?.set ?? {}
}
