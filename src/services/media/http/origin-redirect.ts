import { type Need, type Origin, originTarget, type StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { ResponseHead } from '../../../protocols/http/index.ts'
import type { OriginUrl } from './origin-url.ts'

const REDIRECTS = new Set([301, 302, 307, 308])

/** Where an origin's answer sends whoever asked; undefined when it does not, or to no place of HTTP. */
export function redirectOf(head: ResponseHead, asked: OriginUrl): OriginUrl | undefined {
  if (!REDIRECTS.has(head.status)) return undefined
  const location = head.headers.find(({ name }) => name.toLowerCase() === 'location')?.value
  if (location === undefined) return undefined
  const host = asked.host.includes(':') ? `[${asked.host}]` : asked.host
  let url: URL
  try {
    url = new URL(location, `${asked.scheme}://${host}:${asked.port}${asked.pathAndQuery}`)
  } catch {
    return undefined
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return undefined
  const scheme = url.protocol === 'http:' ? 'http' : 'https'
  return {
    scheme,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port) || (scheme === 'http' ? 80 : 443),
    pathAndQuery: `${url.pathname}${url.search}`,
    isAsAsked: asked.isAsAsked,
  }
}

/** Whether two URLs lead to the same server. */
export function isSamePlace(
  a: Pick<OriginUrl, 'scheme' | 'host' | 'port'>,
  b: Pick<OriginUrl, 'scheme' | 'host' | 'port'>,
): boolean {
  return a.scheme === b.scheme && a.host.toLowerCase() === b.host.toLowerCase() && a.port === b.port
}

/** Whether a place is one where an origin of ours serves what is needed, so that a request may be sent there. */
export function isOriginsPlace(
  place: OriginUrl,
  origins: readonly Origin[],
  need: Need,
  key: StreamKey,
): boolean {
  return origins.some((origin) => {
    const { ip, http } = origin
    if (http.some((port) => isSamePlace(place, { scheme: 'http', host: ip, port }))) return true
    const target = originTarget(origin, need, key)
    if (target?.scheme !== 'http' && target?.scheme !== 'https') return false
    return isSamePlace(place, { scheme: target.scheme, host: target.host, port: target.port })
  })
}
