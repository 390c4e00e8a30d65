import type { OriginTarget } from '../../../mechanisms/balancer/index.ts'
import { requestElsewhere, type StreamRequest } from '../../../protocols/rtmp/index.ts'
import { joinQueries, splitQuery } from './stream-query.ts'

/**
 * The request as an origin is asked: as the client asked where that is how the origin is asked, else with the app and the
 * stream name that the origin knows. What the client put behind them as queries stays behind them.
 */
export function requestAt(target: OriginTarget, request: StreamRequest): StreamRequest {
  if (target.name === undefined) return requestAsAsked(request)
  // Decoded already; what still looks like an escape is part of a name.
  const [path, query] = splitQuery(target.name)
  const slash = path.lastIndexOf('/')
  const app = path.slice(1, Math.max(1, slash))
  const stream = path.slice(slash + 1)
  const [, queryOfName] = splitQuery(request.streamName)
  const [, queryOfUrl] = splitQuery(request.tcUrl)
  return requestElsewhere(request, {
    app,
    tcUrl: withQuery(`${target.scheme}://${authority(target)}/${app}`, queryOfUrl),
    streamName: withQuery(stream, joinQueries(query, queryOfName)),
  })
}

/**
 * SRS joins both texts, takes what stands behind the last slash for the stream, be it in a query, and ends a name at a `#`:
 * then it would serve another stream than was decided on. So neither is left where it would do that.
 */
function requestAsAsked(request: StreamRequest): StreamRequest {
  const [url, queryOfUrl] = splitQuery(request.tcUrl)
  const [wholeName, queryOfName] = splitQuery(request.streamName)
  const name = wholeName.replace(/^\/+/, '')
  const slash = queryOfUrl === '' ? -1 : name.lastIndexOf('/')
  const more = slash === -1 ? '' : `/${name.slice(0, slash)}`
  const queries = queryOfUrl + queryOfName
  if (more === '' && !queries.includes('/') && !`${url}${name}`.includes('#')) return request
  return requestElsewhere(request, {
    app: withoutHashes(splitQuery(request.app)[0] + more),
    tcUrl: withQuery(withoutHashes(url + more), withoutSlashes(queryOfUrl)),
    streamName: withQuery(withoutHashes(name.slice(slash + 1)), withoutSlashes(queryOfName)),
  })
}

function withoutHashes(text: string): string {
  return text.replaceAll('#', '%23')
}

function withoutSlashes(query: string): string {
  return query.replaceAll('/', '%2F')
}

function authority({ host, port }: OriginTarget): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

function withQuery(text: string, query: string): string {
  return query === '' ? text : `${text}?${query}`
}
