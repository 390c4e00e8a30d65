import type { IncomingMessage } from 'node:http'

/** What a request asks for, as it was sent: nothing is decoded. */
export interface RequestTarget {
  readonly pathname: string
  /** Without the `?`; empty when there is none. */
  readonly query: string
  /** Path and query, as an origin is asked for it. */
  readonly pathAndQuery: string
}

/**
 * Reads the request target in origin form or absolute form (RFC 9112 §3.2). Undefined for other forms, and for one that
 * holds characters which would break a request line.
 */
export function parseRequestTarget(request: IncomingMessage): RequestTarget | undefined {
  const raw = request.url ?? ''
  const absolute = /^https?:\/\/[^/?#]*/i.exec(raw)?.[0]
  const rest = absolute === undefined ? raw : raw.slice(absolute.length)
  const pathAndQuery = absolute !== undefined && !rest.startsWith('/') ? `/${rest}` : rest
  if (!/^\/[\x21-\x7e\x80-\xff]*$/.test(pathAndQuery) || pathAndQuery.includes('#')) return undefined
  const mark = pathAndQuery.indexOf('?')
  return mark === -1
    ? { pathname: pathAndQuery, query: '', pathAndQuery }
    : { pathname: pathAndQuery.slice(0, mark), query: pathAndQuery.slice(mark + 1), pathAndQuery }
}
