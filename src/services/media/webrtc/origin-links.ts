import { isIP } from 'node:net'
import {
  type Origin,
  originTarget,
  type OriginTarget,
  type StreamKey,
} from '../../../mechanisms/balancer/index.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import { authorityOf, type OriginApi } from './origin-client.ts'

/** A resource at an origin. */
export interface OriginResource {
  readonly api: OriginApi
  /** Path and query. */
  readonly target: string
  /** The Host header that it is asked with. */
  readonly host: string
  /** The origin that has it. */
  readonly origin: Origin
}

/**
 * Finds out where origins are, and where the URLs lead that they answer with: redirects and the Locations of sessions. No
 * origin leads the gateway to a host that is not an origin itself.
 */
export class OriginLinks {
  readonly #options: CompleteWebRtcOptions
  readonly #logged: LinePace

  constructor(options: CompleteWebRtcOptions) {
    this.#options = options
    this.#logged = new LinePace(options.clock)
  }

  /** Where an origin is; looked up once, so that media goes to the very host that answers. Undefined for unknown names. */
  async locate({
    scheme,
    host,
    port,
  }: Pick<OriginTarget, 'scheme' | 'host' | 'port'>): Promise<OriginApi | undefined> {
    const address = await literalAddress(host, this.#options.resolveHost)
    if (address === undefined) return undefined
    return { scheme: scheme === 'https' ? 'https' : 'http', host, address, port }
  }

  /** Where a URL leads that `from` answered with, absolute or relative; undefined, and logged, where it must not. */
  async follow(
    link: string | string[] | undefined,
    from: OriginResource,
    key: StreamKey,
  ): Promise<OriginResource | undefined> {
    const text = Array.isArray(link) ? link[0] : link
    if (text === undefined) return undefined
    const { scheme, host, address, port } = from.api
    const asked = [from.host, authorityOf(host, port)].find((authority) => isAuthority(authority)) ?? 'origin'
    const base = new URL(`${scheme}://${asked}`)
    const at = parseUrl(from.target, base.href) ?? base
    const url = parseUrl(text, at.href)
    if (url !== undefined && /^https?:$/.test(url.protocol)) {
      const target = url.pathname + url.search
      // It names itself as it was called, which may be the name of the gateway.
      if (url.host === base.host) return { ...from, target }
      const name = plainHost(url)
      const isSame = name === host.toLowerCase() || name === address
      const origin = isSame ? from.origin : await this.#originOfHost(name, key)
      const api = origin && (await this.locate({ ...schemeAndPort(url), host: isSame ? host : name }))
      if (origin && api) return { api, target, host: url.host, origin }
    }
    const due = this.#logged.due(from.origin.id)
    if (due !== undefined) {
      // The rest of the URL may be a secret.
      const fields = { origin: from.origin.id, host: url?.host ?? 'unreadable', ...due }
      this.#options.logger.warn(fields, 'origin names a host that is no origin')
    }
    return undefined
  }

  async #originOfHost(name: string, key: StreamKey): Promise<Origin | undefined> {
    // The store may be away; then nobody else is known.
    const origins = await this.#options.origins.list().catch(() => [])
    return origins.find((origin) => hostsOf(origin, key).some((host) => host.toLowerCase() === name))
  }
}

/** The address of a host; undefined for a name that is not known. */
export async function literalAddress(
  host: string,
  resolveHost: CompleteWebRtcOptions['resolveHost'],
): Promise<string | undefined> {
  if (isIP(host) !== 0) return host
  return resolveHost(host).catch(() => undefined)
}

function hostsOf(origin: Origin, key: StreamKey): readonly string[] {
  const needs = ['whip', 'whep', 'json'] as const
  return [origin.ip, ...needs.flatMap((need) => originTarget(origin, need, key)?.host ?? [])]
}

function parseUrl(text: string, base: string): URL | undefined {
  return URL.canParse(text, base) ? new URL(text, base) : undefined
}

function isAuthority(text: string): boolean {
  return /^(?:\[[\da-f:.]+\]|[\w.-]+)(?::\d{1,5})?$/i.test(text) && URL.canParse(`http://${text}`)
}

function plainHost({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '')
}

function schemeAndPort({ protocol, port }: URL): Pick<OriginTarget, 'scheme' | 'port'> {
  return protocol === 'https:'
    ? { scheme: 'https', port: Number(port || 443) }
    : { scheme: 'http', port: Number(port || 80) }
}
