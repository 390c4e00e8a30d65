import { isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import { z } from 'zod'
import { isClusterEndpoint } from './cluster-endpoint.ts'
import {
  DEFAULT_HEALTHCHECK_ENDPOINT,
  DEFAULT_HEALTHCHECK_PORT,
  DEFAULT_LOG_LEVEL,
  DEFAULT_METRICS_PORT,
  DEFAULT_NAME,
  DEFAULT_REALM,
  DEFAULT_TURN_PORT,
  LISTENER_PROTOCOLS,
  type ListenerProtocol,
  type StunnerdAuth,
  type StunnerdCluster,
  type StunnerdConfig,
  type StunnerdListener,
} from './config.ts'
import { parseHttpEndpoint } from './http-endpoint-text.ts'

/**
 * The schema of `stunnerd` configurations, `v1` and `v1alpha1` alike. What it is given has been made even before: keys are
 * in lower case, variables replaced, empty values left out, nested forms lifted.
 */

const name = z.string().min(1, { error: 'must not be empty' }).max(512)

function oneOf<const T extends string>(allowed: readonly T[]): z.ZodType<T, string> {
  const error = `must be one of ${allowed.join(', ')} (case does not matter)`
  return z.string({ error }).transform((text, context) => {
    const found = allowed.find((it) => it.toLowerCase() === text.toLowerCase())
    if (found !== undefined) return found
    context.issues.push({ code: 'custom', message: error, input: text })
    return z.NEVER
  })
}

function httpEndpoint(defaultPort: number): z.ZodType<string> {
  return z.string().refine((text) => text === '' || parseHttpEndpoint(text, defaultPort) !== undefined, {
    error: `must be empty (off), or http://address:port/path with a literal address or none; the port may be left out (${defaultPort})`,
  })
}

const port = z.int().min(0).max(65_535)

const admin = z
  .strictObject({
    name: z.string().max(512).default(''),
    loglevel: z.string().max(1024).default(''),
    metrics_endpoint: httpEndpoint(DEFAULT_METRICS_PORT).default(''),
    healthcheck_endpoint: httpEndpoint(DEFAULT_HEALTHCHECK_PORT).default(DEFAULT_HEALTHCHECK_ENDPOINT),
    user_quota: z.int().default(0),
    offload_engine: oneOf(['None', 'XDP', 'TC', 'Auto']).default('None'),
    offload_interfaces: z.array(z.string().min(1)).max(256).default([]),
    license_config: z.looseObject({}).optional(),
  })
  .transform((written): StunnerdConfig['admin'] => ({
    name: written.name || DEFAULT_NAME,
    logLevel: written.loglevel || DEFAULT_LOG_LEVEL,
    metricsEndpoint: written.metrics_endpoint,
    healthcheckEndpoint: written.healthcheck_endpoint,
    userQuota: Math.max(0, written.user_quota),
    offloadEngine: written.offload_engine,
    offloadInterfaces: written.offload_interfaces.toSorted(),
    hasLicense: written.license_config !== undefined,
  }))

const credential = z.string().min(1).max(4096)

const auth = z
  .strictObject({
    type: oneOf(['static', 'plaintext', 'ephemeral', 'longterm', 'timewindowed', 'none']).default('static'),
    realm: z.string().max(127, { error: 'must have at most 127 characters (RFC 8489 §14.9)' }).default(''),
    credentials: z.record(z.string(), z.string()).default({}),
  })
  .transform(({ type, realm: written, credentials }, { issues }): StunnerdAuth => {
    const realm = written || DEFAULT_REALM
    const needed = (key: string): string => {
      const { data } = credential.safeParse(credentials[key])
      if (data !== undefined) return data
      const message = `must have 1 to 4096 characters; auth type "${type}" needs it`
      issues.push({ code: 'custom', path: ['credentials', key], input: undefined, message })
      return ''
    }
    if (type === 'none') return { type, realm }
    if (type === 'static' || type === 'plaintext') {
      return { type: 'static', realm, username: needed('username'), password: needed('password') }
    }
    return { type: 'ephemeral', realm, secret: needed('secret') }
  })

const listener = z
  .strictObject({
    name,
    protocol: oneOf(Object.keys(LISTENER_PROTOCOLS) as ListenerProtocol[]).default('TURN-UDP'),
    public_address: z.string().max(512).default(''),
    public_port: port.default(0),
    address: z
      .string()
      .default('')
      .transform((text) => (text === '' ? '0.0.0.0' : text === 'localhost' ? '127.0.0.1' : text))
      .refine((text) => isIP(text) !== 0 && !text.includes('%'), {
        error:
          'must be a literal IPv4 or IPv6 address; $STUNNER_ADDR and __node_address_placeholder are one when STUNNER_ADDR is set',
      }),
    port: port.default(0),
    cert: z.string().default(''),
    key: z.string().default(''),
    routes: z.array(z.string()).max(4096).default([]),
    min_relay_port: port.default(0),
    max_relay_port: port.default(0),
  })
  .transform((written, { issues }): StunnerdListener => {
    const refuse = (key: string, message: string, input?: unknown) =>
      issues.push({ code: 'custom', path: [key], input, message })
    const { protocol, min_relay_port: from, max_relay_port: to } = written
    if (from > 0 !== to > 0 || from > to) {
      refuse('min_relay_port', `must go with a max_relay_port that is not below it, which is ${to}`, from)
    }
    const transport = LISTENER_PROTOCOLS[protocol]
    const isTls = transport === 'tls' || transport === 'dtls'
    const certificate = isTls ? certificateOf(written.cert, written.key, refuse) : undefined
    return {
      name: written.name,
      protocol,
      address: written.address,
      port: written.port || DEFAULT_TURN_PORT,
      ...(written.public_address !== '' && { publicAddress: written.public_address }),
      ...(written.public_port > 0 && { publicPort: written.public_port }),
      ...(certificate !== undefined && { certificate }),
      routes: [...new Set(written.routes)].toSorted(),
      ...(from > 0 && { relayPorts: { from, to } }),
    }
  })

function certificateOf(
  cert64: string,
  key64: string,
  refuse: (key: string, message: string) => void,
): { readonly cert: string; readonly key: string } | undefined {
  const cert = pemOf(cert64)
  const key = pemOf(key64)
  const form = 'must be a PEM text in base64; TLS and DTLS listeners need it'
  if (cert === undefined) refuse('cert', form)
  if (key === undefined) refuse('key', form)
  if (cert === undefined || key === undefined) return undefined
  try {
    createSecureContext({ cert, key })
    return { cert, key }
  } catch {
    // What OpenSSL says of it is cryptic.
    refuse('cert', 'certificate and key cannot be read, or do not belong together')
    return undefined
  }
}

function pemOf(base64: string): string | undefined {
  const text = Buffer.from(base64, 'base64').toString('latin1')
  return text.includes('-----BEGIN ') ? text : undefined
}

const cluster = z
  .strictObject({
    name,
    type: oneOf(['STATIC', 'STRICT_DNS']).default('STATIC'),
    protocol: oneOf(['udp', 'tcp']).default('udp'),
    endpoints: z.array(z.string()).max(65_536).default([]),
  })
  .transform(({ endpoints, ...written }, { issues }): StunnerdCluster => {
    for (const [index, text] of endpoints.entries()) {
      if (isClusterEndpoint(text, written.type)) continue
      const allowed =
        written.type === 'STATIC' ? 'an address or a range' : 'an address, a range or a DNS name'
      const message = `must be ${allowed}, optionally with ports, as in 10.0.0.0/8:<1000-2000>`
      issues.push({ code: 'custom', path: ['endpoints', index], input: text, message })
    }
    return { ...written, endpoints: endpoints.toSorted() }
  })

export const stunnerdSchema: z.ZodType<StunnerdConfig> = z
  .strictObject({
    version: z.enum(['v1', 'v1alpha1']),
    admin: admin.prefault({}),
    auth: auth.prefault({}),
    listeners: z.array(listener).max(1024).default([]),
    clusters: z.array(cluster).max(4096).default([]),
  })
  .transform(({ version: _version, ...config }, { issues }): StunnerdConfig => {
    for (const list of ['listeners', 'clusters'] as const) {
      const seen = new Set<string>()
      for (const [index, { name: it }] of config[list].entries()) {
        if (seen.has(it)) {
          issues.push({ code: 'custom', path: [list, index, 'name'], input: it, message: 'must be unique' })
        }
        seen.add(it)
      }
    }
    return config
  })
