import { queryParameter } from '../../../mechanisms/balancer/index.ts'

/** What the stream key is made of: one of each, or the origin might serve another stream than the key says. */
const ofKey: ReadonlySet<string> = new Set(['app', 'stream', 'vhost'])

/**
 * The query towards the origin: the client's, what names the stream first, the rest as it came, without `ice-ufrag` and
 * `ice-pwd` unless they are allowed (whoever chooses the credentials of the origin's side chooses the USERNAME). When the
 * path named the stream, `app` and `stream` are made of it and the client's own are dropped.
 *
 * @param query without its `?`
 * @param streamPath `/{app}/{stream}`, percent-encoded
 */
export function originQuery(query: string, streamPath: string | undefined, allowIceQuery: boolean): string {
  const dropped = new Set<string>()
  if (!allowIceQuery) for (const name of ['ice-ufrag', 'ice-pwd']) dropped.add(name)
  const parameters: string[] = []
  if (streamPath !== undefined) {
    for (const name of ['app', 'stream']) dropped.add(name)
    const slash = streamPath.lastIndexOf('/')
    parameters.push(
      `app=${escaped(streamPath.slice(1, slash))}`,
      `stream=${escaped(streamPath.slice(slash + 1))}`,
    )
  }
  const others: string[] = []
  for (const parameter of query.split('&')) {
    const name = nameOf(parameter)
    if (parameter === '' || dropped.has(name)) continue
    if (!ofKey.has(name)) {
      others.push(parameter)
    } else if (queryParameter(parameter, name) !== undefined) {
      dropped.add(name)
      // First, and by its plain name: SRS loses its place behind a value with `=` in it, and decodes no names.
      const [, value = ''] = /=(.*)$/s.exec(parameter) ?? []
      parameters.push(`${name}=${value}`)
    }
  }
  return [...parameters, ...others].join('&')
}

/** What makes an SRS announce other addresses: where the media goes is found in the answers of such origins. */
const ofMedia: ReadonlySet<string> = new Set(['eip', 'candidate'])

/**
 * The client's query for an origin whose own path names the stream: without the names that it was routed by.
 *
 * @param queries without their `?`
 */
export function foreignQuery(queries: readonly string[], allowIceQuery: boolean): string {
  return queries
    .flatMap((query) => originQuery(query, undefined, allowIceQuery).split('&'))
    .filter(
      (parameter) => parameter !== '' && !ofKey.has(nameOf(parameter)) && !ofMedia.has(nameOf(parameter)),
    )
    .join('&')
}

/** A path, with a query or without, and more parameters for it: those that its own query does not name. */
export function withQuery(target: string, query: string): string {
  const mark = target.indexOf('?')
  const own =
    mark === -1
      ? []
      : target
          .slice(mark + 1)
          .split('&')
          .map(nameOf)
  const others = query.split('&').filter((parameter) => !own.includes(nameOf(parameter)))
  if (query === '' || others.length === 0) return target
  return `${target}${mark === -1 ? '?' : '&'}${others.join('&')}`
}

function nameOf(parameter: string): string {
  const name = parameter.split('=', 1)[0] ?? ''
  try {
    return decodeURIComponent(name.replaceAll('+', ' '))
  } catch {
    return name
  }
}

/** A path may hold bare characters that would end or change a query value. */
function escaped(text: string): string {
  return text.replaceAll(/[&+#=,;]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
}
