import type { OriginTarget } from '../../../mechanisms/balancer/index.ts'
import type { RequestTarget } from './request-target.ts'

/** Where an origin is asked over HTTP, and what for. */
export interface OriginUrl {
  readonly scheme: 'http' | 'https'
  /** A literal address without brackets, or a host name. */
  readonly host: string
  readonly port: number
  readonly pathAndQuery: string
  /**
   * Whether path and query are the client's own, as SRS origins are asked: then the client's Host goes with them, for it
   * says which vhost is meant.
   */
  readonly isAsAsked: boolean
}

/** What a client asked for, at an origin. Undefined when the origin is not asked over HTTP. */
export function originUrl(
  place: OriginTarget,
  { pathAndQuery, query }: RequestTarget,
): OriginUrl | undefined {
  const { scheme, host, port, name } = place
  if (scheme !== 'http' && scheme !== 'https') return undefined
  if (name === undefined) return { scheme, host, port, pathAndQuery, isAsAsked: true }
  return { scheme, host, port, pathAndQuery: withQuery(name, query), isAsAsked: false }
}

/** Host and, where it is not that of the scheme, port. */
export function authorityOf({ scheme, host, port }: Pick<OriginUrl, 'scheme' | 'host' | 'port'>): string {
  const literal = host.includes(':') ? `[${host}]` : host
  return port === (scheme === 'http' ? 80 : 443) ? literal : `${literal}:${port}`
}

/** What names the stream at the origin is not the client's to say again. */
function withQuery(name: string, query: string): string {
  const path = name.startsWith('/') ? name : `/${name}`
  const mark = path.indexOf('?')
  const own =
    mark === -1
      ? []
      : path
          .slice(mark + 1)
          .split('&')
          .map(parameterName)
  const others = query.split('&').filter((pair) => !own.includes(parameterName(pair)))
  if (query === '' || others.length === 0) return path
  return `${path}${mark === -1 ? '?' : '&'}${others.join('&')}`
}

function parameterName(pair: string): string {
  const name = pair.split('=', 1)[0] ?? ''
  try {
    return decodeURIComponent(name.replaceAll('+', ' '))
  } catch {
    return name
  }
}
