import { BlockList, isIP } from 'node:net'
import type { HeaderField, ResponseHead } from '../../../protocols/http/index.ts'
import { endToEndHeaders } from './end-to-end-headers.ts'

/** What an answer to a browser of any page carries, unless the origin has its own rules. */
const CORS: readonly HeaderField[] = [
  { name: 'Access-Control-Allow-Origin', value: '*' },
  { name: 'Access-Control-Allow-Methods', value: '*' },
  // `*` does not stand for Authorization (Fetch, CORS protocol).
  { name: 'Access-Control-Allow-Headers', value: '*, Authorization' },
  { name: 'Access-Control-Expose-Headers', value: '*' },
]

/** The same for answers that we make ourselves. */
export const corsHeaders: Readonly<Record<string, string>> = Object.fromEntries(
  CORS.map(({ name, value }) => [name, value]),
)

export interface Perspective {
  /** Where the origin was dialled. */
  readonly originHost: string
  /** The Host by which the client knows us. */
  readonly clientHost: string | undefined
}

/**
 * The headers of an origin's response as a client gets them: end-to-end ones, CORS added, and no inner address in
 * `Location` and `Content-Location`. The framing is not among them, but for Content-Length.
 */
export function clientHeaders(head: ResponseHead, perspective: Perspective): HeaderField[] {
  const headers: HeaderField[] = []
  let hasCors = false
  for (const field of endToEndHeaders(head.headers)) {
    const name = field.name.toLowerCase()
    if (name === 'access-control-allow-origin') hasCors = true
    // Names another address of the origin, for all of its paths.
    if (name === 'alt-svc') continue
    // RFC 9110 §8.6
    if (name === 'content-length' && head.status === 204) continue
    if (name === 'location' || name === 'content-location') {
      const value = publicLocation(field.value, perspective)
      if (value !== undefined) headers.push({ name: field.name, value })
      continue
    }
    headers.push(field)
  }
  return hasCors ? headers : [...headers, ...CORS]
}

/**
 * A Location without inner addresses. What names the origin becomes a path; what names the host that the client asked for,
 * or a public one, stays; what names another private address or a host without a domain is dropped (undefined), since
 * the client could not reach it and should not learn it.
 */
export function publicLocation(location: string, perspective: Perspective): string | undefined {
  const url = parseUrl(location, RELATIVE_BASE)
  if (url === undefined) return undefined
  if (url.origin === RELATIVE_BASE) return location
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return undefined
  if (url.host === parseUrl(`http://${perspective.clientHost ?? ''}`)?.host) return location
  if (url.hostname === hostnameOf(perspective.originHost)) {
    // A path that begins with two slashes would name a host.
    return `${url.pathname.replace(/^\/+/, '/')}${url.search}${url.hash}`
  }
  return isInner(url.hostname) ? undefined : location
}

const RELATIVE_BASE = 'http://relative.invalid'

const PRIVATE_ADDRESSES = new BlockList()
for (const [base, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const) {
  PRIVATE_ADDRESSES.addSubnet(base, bits, 'ipv4')
}
PRIVATE_ADDRESSES.addSubnet('fc00::', 7, 'ipv6')
PRIVATE_ADDRESSES.addSubnet('fe80::', 10, 'ipv6')
PRIVATE_ADDRESSES.addSubnet('::', 127, 'ipv6')

function isInner(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '')
  const family = isIP(host)
  if (family !== 0) return PRIVATE_ADDRESSES.check(host, family === 4 ? 'ipv4' : 'ipv6')
  return !host.includes('.') || /\.(?:local|localhost|internal|lan|home\.arpa)\.?$/i.test(host)
}

function hostnameOf(host: string): string | undefined {
  return parseUrl(`http://${isIP(host) === 6 ? `[${host}]` : host}`)?.hostname
}

function parseUrl(text: string, base?: string): URL | undefined {
  try {
    return new URL(text, base)
  } catch {
    return undefined
  }
}
