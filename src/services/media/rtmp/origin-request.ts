import type { OriginTarget } from '../../../mechanisms/balancer/index.ts'
import { requestElsewhere, type StreamRequest } from '../../../protocols/rtmp/index.ts'
import { joinQueries, splitQuery } from './stream-query.ts'

/**
 * The request as an origin is asked: as the client asked where that is how the origin is asked, else with the app and the
 * stream name that the origin knows. What the client put behind them as queries stays behind them.
 */
export function requestAt(target: OriginTarget, request: StreamRequest): StreamRequest {
  if (target.name === undefined) return request
  const [path, query] = splitQuery(target.name)
  const slash = path.lastIndexOf('/')
  const app = unescaped(path.slice(1, Math.max(1, slash)))
  const stream = unescaped(path.slice(slash + 1))
  const [, queryOfName] = splitQuery(request.streamName)
  const [, queryOfUrl] = splitQuery(request.tcUrl)
  return requestElsewhere(request, {
    app,
    tcUrl: withQuery(`${target.scheme}://${authority(target)}/${app}`, queryOfUrl),
    streamName: withQuery(stream, joinQueries(query, queryOfName)),
  })
}

/** RTMP names are no parts of a URL: nothing in them is escaped. A template may hold a % that is none of an escape. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function authority({ host, port }: OriginTarget): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

function withQuery(text: string, query: string): string {
  return query === '' ? text : `${text}?${query}`
}
