/** Whom and what a request asks for. */
export interface RequestTarget {
  /** Whether the request is made as to a proxy, by its absolute form (RFC 9112 §3.2.2). */
  readonly isProxyForm: boolean
  /** As it was written, maybe with a port; empty when a request of HTTP/1.0 names none. */
  readonly host: string
  /** What locations are compared with: without query, percent-decoded. */
  readonly path: string
  /** What the backend is asked for, query included: in origin form, or `*`. */
  readonly pathAndQuery: string
}

const ABSOLUTE = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#@]+)([^#]*)$/i

/**
 * Reads the target of a request other than CONNECT. The host of the absolute form counts, not that of the header.
 * Undefined: it is none.
 */
export function readRequestTarget(
  method: string,
  url: string,
  hostHeader: string,
): RequestTarget | undefined {
  if (url.startsWith('/')) return target(false, hostHeader, url)
  if (url === '*') return method === 'OPTIONS' ? target(false, hostHeader, url) : undefined
  const [, host, rest] = ABSOLUTE.exec(url) ?? []
  if (host === undefined || rest === undefined) return undefined
  return target(true, host, rest.startsWith('/') ? rest : `/${rest}`)
}

function target(isProxyForm: boolean, host: string, pathAndQuery: string): RequestTarget {
  const query = pathAndQuery.indexOf('?')
  const path = query === -1 ? pathAndQuery : pathAndQuery.slice(0, query)
  return { isProxyForm, host, path: decoded(path), pathAndQuery }
}

function decoded(path: string): string {
  if (!path.includes('%')) return path
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}
