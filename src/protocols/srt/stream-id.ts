import { isDeepStrictEqual } from 'node:util'

/** What a stream id says. */
export interface StreamId {
  /**
   * How it is written. `keys`: `#!::r=live/s,m=publish` (the access control syntax of libsrt). `action`:
   * `publish:live/s` or `read:live/s`, as MediaMTX has it. `plain`: `live/s`.
   */
  readonly form: 'keys' | 'action' | 'plain'
  /** The virtual host (`h`). */
  readonly host?: string
  /** The path of the stream (`r`), without its query. */
  readonly path: string
  /** What it wants to do (`m`). */
  readonly role?: 'publish' | 'play'
  /** Behind `?` of the resource, without it. */
  readonly query: string
  /** All other keys as they came: `u`, `s`, `t`, `key`, `token` and whatever else. */
  readonly others: readonly (readonly [key: string, value: string])[]
}

/** Why a text is no stream id. */
export type StreamIdFault = 'empty' | 'bad-pair' | 'no-resource' | 'ambiguous' | 'bad-mode' | 'bad-action'

/** Reads a stream id, in any of its forms. */
export function parseStreamId(text: string): StreamId | StreamIdFault {
  if (text === '') return 'empty'
  if (text.startsWith(KEYS_PREFIX)) return parseKeys(text.slice(KEYS_PREFIX.length))
  if (/^(?:publish|read|request):/.test(text)) return parseAction(text)
  const [path, query] = splitQuery(text)
  return path === '' ? 'no-resource' : { form: 'plain', path, query, others: [] }
}

/**
 * The text of a stream id with all that it says, in the access control syntax; `role` where it names none. Undefined when
 * a part of it would be read as another there: a comma within, for example.
 */
export function writeStreamId(id: StreamId, role: 'publish' | 'play'): string | undefined {
  const { host, path, query, others } = id
  const written = { ...id, form: 'keys', role: id.role ?? role } as const
  const pairs: (readonly [string, string])[] = [
    ...(host === undefined ? [] : [['h', host] as const]),
    ['r', query === '' ? path : `${path}?${query}`],
    ['m', modeOf(written.role)],
    ...others,
  ]
  const text = KEYS_PREFIX + pairs.map(([key, value]) => `${key}=${value}`).join(',')
  return isDeepStrictEqual(parseStreamId(text), written) ? text : undefined
}

/** For whom an origin is asked. */
export interface OriginStreamIdOptions {
  /** `app/stream`, which the origin's URL was filled in with. */
  readonly stream: string
  readonly role: 'publish' | 'play'
  /** The client's, without `?`. */
  readonly query: string
}

/**
 * The stream id by which an origin is asked, of the one that its URL names: with the role of this client, where the form
 * has one, and with the client's query, so that tokens arrive. Undefined when the stream's name or the query would say
 * more there than they do here.
 */
export function originStreamId(
  named: string,
  { stream, role, query }: OriginStreamIdOptions,
): string | undefined {
  if (named === '') return named
  const isKeys = named.startsWith(KEYS_PREFIX)
  const [, action, rest = ''] = /^(publish|read):(.*)$/s.exec(named) ?? []
  if (!isKeys && action === undefined) return append(named, query, named.includes('?') ? '&' : '?')
  if (/[,:;&=?]/.test(stream)) return undefined
  if (isKeys) {
    const pairs = named.slice(KEYS_PREFIX.length).split(',')
    const asked = pairs.map((pair) => {
      if (pair.startsWith('m=')) return `m=${modeOf(role)}`
      return pair.startsWith('r=') ? append(pair, query, pair.includes('?') ? '&' : '?') : pair
    })
    return /[,;]/.test(query) || isAmbiguous(asked.join(',')) ? undefined : KEYS_PREFIX + asked.join(',')
  }
  if (query.includes(':')) return undefined
  // MediaMTX: action:path[:query] or action:path:user:password[:query].
  const hasQuery = rest.split(':').length % 2 === 0
  return `${role === 'publish' ? 'publish' : 'read'}:${append(rest, query, hasQuery ? '&' : ':')}`
}

const KEYS_PREFIX = '#!::'

function parseKeys(text: string): StreamId | StreamIdFault {
  if (isAmbiguous(text)) return 'ambiguous'
  const values = new Map<string, string>()
  for (const pair of text.split(',')) {
    const at = pair.indexOf('=')
    if (at < 1) return 'bad-pair'
    const key = pair.slice(0, at)
    if (values.has(key)) return 'ambiguous'
    values.set(key, pair.slice(at + 1))
  }
  const [host, resource] = placeOf(values.get('h'), values.get('r'))
  const mode = values.get('m')?.toLowerCase()
  if (mode !== undefined && mode !== 'publish' && mode !== 'request') return 'bad-mode'
  const [path, query] = splitQuery(resource)
  if (path === '') return 'no-resource'
  // SRS takes what follows for something else.
  if (/[=;&]/.test(path + (host ?? ''))) return 'ambiguous'
  return {
    form: 'keys',
    ...(host !== undefined && { host }),
    path,
    ...(mode !== undefined && { role: mode === 'publish' ? 'publish' : 'play' }),
    query,
    others: [...values].filter(([key]) => key !== 'h' && key !== 'r' && key !== 'm'),
  }
}

/**
 * Origins do not agree on what separates keys (SRS: also `&`, `;` and `?`). With each of them the host, the resource and
 * the mode must be named once, or the origin may serve another stream than was decided on.
 */
function isAmbiguous(text: string): boolean {
  const keys = text.split(/[,&;?]/).map((pair) => pair.split('=', 1)[0])
  return ['h', 'r', 'm'].some((key) => keys.indexOf(key) !== keys.lastIndexOf(key))
}

/** SRS 4 had the resource in `h`: `h=live/s`, `h=host/live/s`. */
function placeOf(host: string | undefined, resource: string | undefined): [string | undefined, string] {
  if (resource !== undefined) return [host, resource]
  if (host === undefined || !host.includes('/')) return [host, '']
  const [path] = splitQuery(host)
  const first = host.indexOf('/')
  return path.lastIndexOf('/') === first ? [undefined, host] : [host.slice(0, first), host.slice(first + 1)]
}

function parseAction(text: string): StreamId | StreamIdFault {
  const [action, path = '', ...rest] = text.split(':')
  if (rest.length > 3) return 'bad-action'
  const [user, password] = rest.length >= 2 ? rest : []
  const [plain, query] = splitQuery(path)
  if (plain === '') return 'no-resource'
  const ownQuery = rest.length % 2 === 1 ? (rest.at(-1) ?? '') : ''
  return {
    form: 'action',
    path: plain,
    role: action === 'publish' ? 'publish' : 'play',
    query: append(query, ownQuery, query === '' ? '' : '&'),
    others: [
      ...(user === undefined ? [] : [['u', user] as const]),
      ...(password === undefined ? [] : [['s', password] as const]),
    ],
  }
}

function modeOf(role: 'publish' | 'play'): string {
  return role === 'publish' ? 'publish' : 'request'
}

function append(text: string, more: string, separator: string): string {
  return more === '' ? text : text + separator + more
}

function splitQuery(text: string): [string, string] {
  const at = text.indexOf('?')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
