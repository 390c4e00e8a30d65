/**
 * Stream keys as the SRS proxy makes them, byte for byte, so that both can share one Redis (reference: stream
 * URL). It parses with Go's net/url, whose rules are followed here; WHATWG URL would lower-case, re-encode and
 * resolve dots.
 */
import { isIPv4, isIPv6 } from 'node:net'
import { badStreamKey } from './errors.ts'
import { percentDecode, queryParameter } from './percent-decode.ts'

/** The vhost of everything that names none. */
export const DEFAULT_VHOST = '__defaultVhost__'

/** `vhost` plus the decoded path of a URL. @throws BALANCER_BAD_STREAM_KEY when Go could not parse it */
export function srsKeyOfUrl(url: string): string {
  const { host, path } = parseGoUrl(url)
  const isDefault = !host.includes('.') || isIPv4(host) || isMappedIPv4(host)
  return (isDefault ? DEFAULT_VHOST : host) + path
}

/** The URL that the SRS proxy makes of an HTTP request. `path` is still percent-encoded, `query` has no `?`. */
export function srsUrlOfHttp(host: string, path: string, query: string): string {
  const app = queryParameter(query, 'app')
  const stream = queryParameter(query, 'stream')
  let appStream = (app ? `/${app}` : '') + (stream ? `/${stream}` : '')
  if (appStream === '') {
    // The path is decoded here and once more when the URL is parsed.
    const decoded = decode(path)
    appStream = decoded.slice(0, extensionStart(decoded))
  }
  return `http://${srsHostOfHeader(host)}${appStream}`
}

/** The host that the SRS proxy takes from a Host header: only a host with a port counts. */
export function srsHostOfHeader(host: string): string {
  const match = /^(?:\[([^[\]]*)\]|([^:[\]]*)):[^:[\]]*$/.exec(host)
  return match === null ? DEFAULT_VHOST : (match[1] ?? match[2] ?? '')
}

/** Where the extension of a path begins, its dot included; the length of the path when it has none. */
export function extensionStart(path: string): number {
  const dot = path.lastIndexOf('.')
  return dot > path.lastIndexOf('/') ? dot : path.length
}

function parseGoUrl(text: string): { readonly host: string; readonly path: string } {
  if (hasAsciiControl(text)) throw badStreamKey('control character in the URL')
  const [beforeFragment, fragment] = cut(text, '#')
  decode(fragment)
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(beforeFragment)?.[0] ?? ''
  if (beforeFragment.startsWith(':')) throw badStreamKey('URL without a scheme before ":"')
  let [rest] = cut(beforeFragment.slice(scheme.length), '?')
  if (!rest.startsWith('/')) {
    if (scheme !== '') return { host: '', path: '' }
    if (cut(rest, '/')[0].includes(':')) throw badStreamKey('":" in the first part of the path')
  }
  let authority = ''
  if (rest.startsWith('//') && (scheme !== '' || !rest.startsWith('///'))) {
    const end = rest.indexOf('/', 2)
    authority = rest.slice(2, end < 0 ? undefined : end)
    rest = end < 0 ? '' : rest.slice(end)
  }
  return { host: hostOfAuthority(authority), path: decode(rest) }
}

function hostOfAuthority(authority: string): string {
  const at = authority.lastIndexOf('@')
  if (at >= 0 && !/^[\w\-.:~!$&'()*+,;=%@]*$/.test(authority.slice(0, at)))
    throw badStreamKey('bad user in the URL')
  const text = authority.slice(at + 1)
  // A port is optional and of digits only; a host in brackets ends at its last bracket.
  const match = /^(\[.*\]|.*?)(?::\d*)?$/s.exec(text)
  const host = match?.[1] ?? ''
  if (host.startsWith('[')) {
    if (!host.endsWith(']')) throw badStreamKey('bad host in the URL')
    return decode(host.slice(1, -1))
  }
  // Without brackets one colon with a port that is no number is an error; `::1` passes, as in Go.
  const colon = text.lastIndexOf(':')
  if (colon >= 0 && !/^:\d*$/.test(text.slice(colon))) throw badStreamKey('bad port in the URL')
  for (const character of host) {
    if (character < '\u0080' && !/[\w\-.~!$&'()*+,;=:[\]<>"%]/.test(character))
      throw badStreamKey('bad host in the URL')
  }
  return decode(host)
}

function decode(text: string): string {
  const decoded = percentDecode(text)
  if (decoded === undefined) throw badStreamKey('malformed percent-escape')
  return decoded
}

function cut(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function isMappedIPv4(host: string): boolean {
  return isIPv6(host) && /^[0:]*:ffff:[\d.]+$/i.test(host)
}

function hasAsciiControl(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}
