import { badStreamKey } from './errors.ts'
import { percentDecode, queryParameter } from './percent-decode.ts'
import { isFoundBySrs, vhostsAsSrsReads } from './srs-query.ts'
import {
  DEFAULT_VHOST,
  extensionStart,
  srsHostOfHeader,
  srsKeyOfUrl,
  srsUrlOfHttp,
} from './srs-stream-key.ts'

declare const streamKeyBrand: unique symbol

/** `vhost/app/stream`, what routing hangs on. */
export type StreamKey = string & { readonly [streamKeyBrand]: true }

/** How requests become stream keys. */
export interface KeyRules {
  /**
   * `normal`: a host with and without port is the same, lower case, and is the default vhost unless listed in `vhosts`;
   * a `vhost=` parameter stands for the host; queries are dropped, slashes collapsed.
   * `srs`: the keys of the SRS proxy byte for byte, for a Redis that is shared with it.
   */
  readonly keys: 'normal' | 'srs'
  /** Hosts that have streams of their own. Not looked at by `srs`. */
  readonly vhosts: readonly string[]
}

/** An HTTP request as far as it names a stream; texts as node:http gives them. */
export interface HttpStreamRequest {
  /** The Host header. */
  readonly host: string | undefined
  /** The path, still percent-encoded, without its query. */
  readonly path: string
  /** The query without its `?`; empty when there is none. */
  readonly query: string
  /**
   * What names the stream. `query`: its `app` and `stream` (`/rtc/v1/whip/`). `path`: the whole path is `/{app}/{stream}`.
   * `file`: the path without its last extension (`/live/s.flv`). A request for a file should say so, or `app` and
   * `stream` in its query make the key of one stream and the path asks the origin for another.
   * `srs` keys know no `file`: there the query wins when it has one of the two. @defaultValue `query` when that has
   * `app` or `stream`, else `file`
   */
  readonly names?: 'query' | 'path' | 'file'
}

/** Most characters of an app, and of a stream name. */
const MAX_PART_LENGTH = 512
/** Most characters of any text that is looked at. */
const MAX_INPUT_LENGTH = 8192
/** The instance of an app, which older encoders name; there is only one. */
const INSTANCE = '_definst_'
/** Stands before a vhost in the app, as older clients of SRS write it. */
const LEGACY_VHOST = '...vhost...'

/** The stream key of an HTTP request. @throws BALANCER_BAD_STREAM_KEY */
export function streamKeyOfHttp(request: HttpStreamRequest, rules: KeyRules): StreamKey {
  const host = bounded(request.host ?? '')
  const path = utf8OfHttpText(bounded(request.path))
  const query = utf8OfHttpText(bounded(request.query))
  if (rules.keys === 'srs') {
    if (request.names === 'path') return checked(srsKeyOfUrl(`http://${srsHostOfHeader(host)}${path}`))
    return checked(srsKeyOfUrl(srsUrlOfHttp(host, path, query)))
  }
  const vhost = askedVhost(host, [query], rules)
  const app = queryParameter(query, 'app')
  const stream = queryParameter(query, 'stream')
  const names = request.names ?? (app === undefined && stream === undefined ? 'file' : 'query')
  if (names === 'query') return keyOfParts(vhost, segments(app ?? ''), segments(stream ?? ''))
  const parts = segments(names === 'file' ? withoutExtension(decoded(path)) : decoded(path))
  return keyOfParts(vhost, parts.slice(0, -1), parts.slice(-1))
}

/**
 * The stream key of an RTMP publish or play. `tcUrl` may have no scheme and host (`/live`), for a client that sent only
 * `app`. Both may carry queries. @throws BALANCER_BAD_STREAM_KEY
 */
export function streamKeyOfRtmp(tcUrl: string, streamName: string, rules: KeyRules): StreamKey {
  bounded(tcUrl)
  bounded(streamName)
  if (rules.keys === 'srs') return checked(srsKeyOfUrl(`${tcUrl}/${streamName}`))
  const [url, urlQuery] = splitQuery(tcUrl)
  const [name, nameQuery] = splitQuery(streamName)
  const [, authority = '', path = url] = /^[a-z][a-z0-9+.-]*:\/\/([^/]*)(.*)$/is.exec(url) ?? []
  const host = authority.slice(authority.lastIndexOf('@') + 1)
  const vhost = askedVhost(host, [nameQuery, urlQuery], rules)
  return keyOfParts(vhost, segments(decoded(path)), segments(decoded(name)))
}

/**
 * A key of its three parts, as they are meant (nothing is decoded; the vhost is not looked up). An empty vhost is the
 * default one. @throws BALANCER_BAD_STREAM_KEY
 */
export function streamKeyOf(vhost: string, app: string, stream: string): StreamKey {
  if (vhost.includes('/')) throw badStreamKey('"/" in the vhost')
  return keyOfParts(vhost || DEFAULT_VHOST, segments(app), segments(stream))
}

/** A key that was given as a whole, by an operator or a store. @throws BALANCER_BAD_STREAM_KEY */
export function parseStreamKey(text: string): StreamKey {
  return checked(bounded(text))
}

function keyOfParts(vhost: string, wholeApp: readonly string[], stream: readonly string[]): StreamKey {
  const app = wholeApp.filter((part) => part !== INSTANCE)
  const appText = app.join('/')
  const streamText = stream.join('/')
  if (appText === '') throw badStreamKey('the app is missing')
  if (streamText === '') throw badStreamKey('the stream name is missing')
  if (appText.length > MAX_PART_LENGTH || streamText.length > MAX_PART_LENGTH) {
    throw badStreamKey(`app and stream name have at most ${MAX_PART_LENGTH} characters each`)
  }
  // An origin, or a cache before it, may resolve dots, and would serve another stream than the key says.
  if ([...app, ...stream].some((part) => part === '.' || part === '..'))
    throw badStreamKey('"." or ".." as a part')
  // SRS cuts these out, wherever they are, and serves what the rest names.
  if ([...app, ...stream].some((part) => part.startsWith(INSTANCE) || part.includes(LEGACY_VHOST)))
    throw badStreamKey(`"${INSTANCE}" or "${LEGACY_VHOST}" in a part`)
  return checked(`${vhost}/${appText}/${streamText}`)
}

function checked(key: string): StreamKey {
  if (!isStreamKey(key)) {
    throw badStreamKey(`a key has 1 to ${3 * MAX_PART_LENGTH} characters, none of them a control character`)
  }
  return key
}

function isStreamKey(text: string): text is StreamKey {
  return text !== '' && text.length <= 3 * MAX_PART_LENGTH && !/[\p{Cc}\p{Cs}]/u.test(text)
}

/**
 * The vhost that the first of the queries names, else the host.
 * @throws BALANCER_BAD_STREAM_KEY where SRS would find another one, or would not find it
 */
function askedVhost(host: string, queries: readonly string[], rules: KeyRules): string {
  const naming = queries.find((query) => queryParameter(query, 'vhost'))
  const vhost = normalVhost((naming && queryParameter(naming, 'vhost')) ?? host, rules)
  if (naming !== undefined && normalVhost(host, rules) !== vhost && !isFoundBySrs(naming, 'vhost'))
    throw badStreamKey('the vhost behind something that hides it')
  const others = queries.flatMap((query) => vhostsAsSrsReads(query))
  if (others.some((other) => normalVhost(percentDecode(other) ?? other, rules) !== vhost))
    throw badStreamKey('more than one vhost')
  return vhost
}

function normalVhost(asked: string, rules: KeyRules): string {
  const [, host = asked] = /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(asked) ?? []
  const name = host.toLowerCase().replace(/\.$/, '')
  return rules.vhosts.some((vhost) => vhost.toLowerCase() === name) ? name : DEFAULT_VHOST
}

function segments(path: string): readonly string[] {
  return path.split('/').filter((segment) => segment !== '')
}

function withoutExtension(path: string): string {
  const start = extensionStart(path)
  if (start < path.length && path[start - 1] === '/') throw badStreamKey('the stream name is missing')
  return path.slice(0, start)
}

function decoded(text: string): string {
  const plain = percentDecode(text)
  if (plain === undefined) throw badStreamKey('malformed percent-escape')
  return plain
}

function splitQuery(text: string): [string, string] {
  const at = text.indexOf('?')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function bounded(text: string): string {
  if (text.length > MAX_INPUT_LENGTH) throw badStreamKey(`more than ${MAX_INPUT_LENGTH} characters`)
  return text
}

/** node:http gives each byte as one character; a name that came without escapes is UTF-8 all the same. */
function utf8OfHttpText(text: string): string {
  if (!/[\u0080-\u00ff]/.test(text) || /[^ -\u00ff]/.test(text)) return text
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'latin1'))
  } catch {
    throw badStreamKey('not UTF-8')
  }
}
