import { TunnelError, TunnelErrorCode } from '../errors.ts'
import type { VhostRoute } from './contract.ts'

/** What a route is found by. */
export type RouteKey = Pick<VhostRoute, 'domain' | 'location' | 'httpUser'>

interface Entry<T> {
  readonly location: string
  readonly value: T
}

/** By HTTP user; the longest location first. */
type Domain<T> = Map<string, Entry<T>[]>

/** The bound of DNS. Longer names are not searched label by label. */
const MAX_HOST_CHARACTERS = 255
/** `*.example.com` is asked for `a.example.com`, but `*.com` is not asked for `example.com`. */
const MIN_WILDCARD_LABELS = 3

/**
 * Routes by domain, HTTP user and location (reference §13). The domain itself comes first, then wildcards, the closest
 * before the wider, then `*`; of each domain first the routes of the user, then those for all; of these the longest
 * location.
 *
 * A location ends where a segment of the path does: `/foo` stands for `/foo` and `/foo/bar`, not for `/foobar`. There frp
 * compares bare prefixes. One that ends with a slash, or does not begin with one, is a bare prefix here too.
 */
export class RouteTable<T> {
  readonly #domains = new Map<string, Domain<T>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  /**
   * The function that is returned takes the route out again; it may be called twice.
   * @throws TunnelError TUNNEL_ROUTE_TAKEN `router config conflict`
   */
  add(key: RouteKey, value: T): () => void {
    const name = key.domain.toLowerCase()
    const domain: Domain<T> = this.#domains.get(name) ?? new Map<string, Entry<T>[]>()
    const entries = domain.get(key.httpUser) ?? []
    if (entries.some(({ location }) => location === key.location)) {
      throw new TunnelError(TunnelErrorCode.routeTaken, 'router config conflict', { side: 'client' })
    }
    const entry: Entry<T> = { location: key.location, value }
    const shorter = entries.findIndex(({ location }) => location.length < key.location.length)
    entries.splice(shorter === -1 ? entries.length : shorter, 0, entry)
    domain.set(key.httpUser, entries)
    this.#domains.set(name, domain)
    this.#size++
    return () => {
      const at = entries.indexOf(entry)
      if (at === -1) return
      entries.splice(at, 1)
      this.#size--
      if (entries.length > 0) return
      // A domain that came back in the meantime has lists of its own.
      if (domain.get(key.httpUser) === entries) domain.delete(key.httpUser)
      if (domain.size === 0 && this.#domains.get(name) === domain) this.#domains.delete(name)
    }
  }

  /**
   * @param host as of `hostName`; empty: only `*` is left
   * @param path without query
   */
  find(host: string, path: string, httpUser: string): T | undefined {
    if (host.length <= MAX_HOST_CHARACTERS) {
      const found = this.#findIn(host, path, httpUser) ?? this.#findWildcard(host, path, httpUser)
      if (found !== undefined) return found.value
    }
    return this.#findIn('*', path, httpUser)?.value
  }

  #findWildcard(host: string, path: string, httpUser: string): Entry<T> | undefined {
    let labels = host.split('.').length
    for (let dot = host.indexOf('.'); labels >= MIN_WILDCARD_LABELS; dot = host.indexOf('.', dot + 1)) {
      const found = this.#findIn(`*${host.slice(dot)}`, path, httpUser)
      if (found !== undefined) return found
      labels--
    }
    return undefined
  }

  #findIn(name: string, path: string, httpUser: string): Entry<T> | undefined {
    const domain = this.#domains.get(name)
    if (domain === undefined) return undefined
    const ofUser = domain.get(httpUser)?.find(({ location }) => isUnder(path, location))
    return ofUser ?? domain.get('')?.find(({ location }) => isUnder(path, location))
  }
}

function isUnder(path: string, location: string): boolean {
  if (!path.startsWith(location)) return false
  if (path.length === location.length || !location.startsWith('/') || location.endsWith('/')) return true
  return path[location.length] === '/'
}
