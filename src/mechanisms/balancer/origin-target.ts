import { isIPv6 } from 'node:net'
import type { Need, Origin, OriginUrlName, OriginUrls, Role } from './contract.ts'
import { percentDecode } from './percent-decode.ts'
import { percentEncodePart, type StreamKeyParts, streamKeyParts } from './stream-key-parts.ts'
import type { StreamKey } from './stream-key.ts'

/** Where an origin takes or gives a stream by one protocol. */
export interface OriginTarget {
  readonly scheme: 'http' | 'https' | 'rtmp' | 'rtmps' | 'srt'
  /** A literal address without brackets, or a host name. */
  readonly host: string
  readonly port: number
  /**
   * What names the stream there: path and query of an HTTP URL, percent-encoded; `/app/stream` of an RTMP one and the
   * stream id of SRT, decoded. Undefined: what the client itself said, which is how SRS origins are asked.
   */
  readonly name: string | undefined
}

const DEFAULT_PORTS = { http: 80, https: 443, rtmp: 1935, rtmps: 443, srt: 10_080 } as const

/**
 * Where the origin has this stream; undefined when it does not offer what is needed, or has no name for a stream like it
 * (`..` as a part). Without `role`, where it is played, or else published.
 */
export function originTarget(
  origin: Pick<Origin, 'ip' | 'rtmp' | 'http' | 'api' | 'srt' | 'rtc' | 'urls'>,
  need: Need,
  key: StreamKey,
  role?: Role,
): OriginTarget | undefined {
  if (origin.urls === undefined) return srsTarget(origin, need)
  const template = templateOf(origin.urls, need, role)
  return template === undefined ? undefined : targetOf(template, streamKeyParts(key))
}

/** Whether an origin has what a need calls for. Without `role`: for one of both. */
export function offers(
  origin: Pick<Origin, 'rtmp' | 'http' | 'api' | 'srt' | 'rtc' | 'urls'>,
  need: Need,
  role?: Role,
): boolean {
  if (origin.urls !== undefined) return templateOf(origin.urls, need, role) !== undefined
  // The session is made over the HTTP API and the media goes to the UDP port: it takes both.
  if (isSignalling(need)) return origin.api.length > 0 && origin.rtc.length > 0
  return origin[need === 'rtmp' || need === 'srt' ? need : 'http'].length > 0
}

/** Whether an origin has what a need calls for, and a name for this stream. */
export function canServe(
  origin: Pick<Origin, 'ip' | 'rtmp' | 'http' | 'api' | 'srt' | 'rtc' | 'urls'>,
  need: Need,
  key: StreamKey,
  role: Role,
): boolean {
  return offers(origin, need, role) && originTarget(origin, need, key, role) !== undefined
}

/** Why a text cannot be a URL template of an origin; undefined when it can. */
export function originUrlFault(name: OriginUrlName, template: string): string | undefined {
  const parsed = parseTemplate(template)
  if (parsed === undefined) return 'it is no URL with a host'
  const wanted = schemesOf(name)
  if (!wanted.includes(parsed.scheme)) return `${name} takes ${wanted.join(' or ')}`
  const unknown = /\{(?!(?:vhost|app|stream)\})[^}]*\}?/.exec(parsed.rest)
  if (unknown !== null) return `${unknown[0]} is none of {vhost}, {app} and {stream}`
  const target = targetOf(template, { vhost: 'v', app: 'a', stream: 's' })
  if (target === undefined) return 'it holds what no URL of its kind can hold'
  return parsed.scheme === 'srt' && target.name === '' ? 'it has no streamid' : undefined
}

/** Scheme, host and port of a template. */
export function originUrlPlace(template: string): string {
  const parsed = parseTemplate(template)
  if (parsed === undefined) return ''
  const { scheme, host, port } = parsed
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function templateOf(urls: OriginUrls, need: Need, role: Role | undefined): string | undefined {
  if (need !== 'rtmp' && need !== 'srt') return urls[need]
  const published = urls[`${need}Publish`]
  if (role === 'publish') return published ?? urls[need]
  return urls[need] ?? (role === undefined ? published : undefined)
}

function schemesOf(name: OriginUrlName): readonly OriginTarget['scheme'][] {
  if (name === 'rtmp' || name === 'rtmpPublish') return ['rtmp', 'rtmps']
  return name === 'srt' || name === 'srtPublish' ? ['srt'] : ['http', 'https']
}

function srsTarget(
  { ip, rtmp, http, api, srt }: Pick<Origin, 'ip' | 'rtmp' | 'http' | 'api' | 'srt'>,
  need: Need,
): OriginTarget | undefined {
  const at = (scheme: OriginTarget['scheme'], port: number | undefined): OriginTarget | undefined =>
    port === undefined ? undefined : { scheme, host: ip, port, name: undefined }
  if (need === 'rtmp') return at('rtmp', rtmp[0])
  if (need === 'srt') return at('srt', srt[0])
  return at('http', isSignalling(need) ? api[0] : http[0])
}

function isSignalling(need: Need): boolean {
  return need === 'whip' || need === 'whep' || need === 'json'
}

interface Template {
  readonly scheme: OriginTarget['scheme']
  readonly host: string
  readonly port: number
  /** Path and query, not filled in. Host and port hold no placeholder: a client must not choose whom we dial. */
  readonly rest: string
}

function parseTemplate(text: string): Template | undefined {
  const match =
    /^(https?|rtmps?|srt):\/\/(?:\[([^\]]+)\]|([\w-]+(?:\.[\w-]+)*\.?))(?::(\d{1,5}))?([/?][!-~]*)?$/.exec(
      text,
    )
  const [, scheme, ipv6, name, port, rest = ''] = match ?? []
  const host = ipv6 ?? name
  if (!isScheme(scheme) || host === undefined || (ipv6 !== undefined && !isIPv6(ipv6))) return undefined
  const number = port === undefined ? DEFAULT_PORTS[scheme] : Number(port)
  return number < 1 || number > 65_535 ? undefined : { scheme, host, port: number, rest }
}

function isScheme(text: string | undefined): text is OriginTarget['scheme'] {
  return text !== undefined && text in DEFAULT_PORTS
}

function targetOf(template: string, parts: StreamKeyParts): OriginTarget | undefined {
  const parsed = parseTemplate(template)
  if (parsed === undefined || !areNames(parts)) return undefined
  const { scheme, host, port, rest } = parsed
  const name = nameOf(scheme, rest, parts)
  return name === undefined ? undefined : { scheme, host, port, name }
}

/** Keys of the SRS proxy may hold dots and double slashes, which another server, or a cache before it, would resolve. */
function areNames({ app, stream }: StreamKeyParts): boolean {
  const isName = (part: string): boolean => part !== '' && part !== '.' && part !== '..'
  return isName(stream) && (app === '' || app.split('/').every(isName))
}

function nameOf(scheme: OriginTarget['scheme'], rest: string, parts: StreamKeyParts): string | undefined {
  // Where nothing is escaped it would end the name, and another stream would be asked for.
  if (/^(?:srt|rtmp)/.test(scheme) && `${parts.app}${parts.stream}`.includes('?')) return undefined
  if (scheme === 'srt') return streamIdOf(rest, parts)
  const filled = filledIn(rest, parts)
  if (scheme === 'http' || scheme === 'https') return filled.startsWith('/') ? filled : `/${filled}`
  const [path = '', ...query] = filled.split('?')
  const decoded = percentDecode(path)
  return decoded === undefined ? undefined : [decoded || '/', ...query].join('?')
}

function streamIdOf(rest: string, parts: StreamKeyParts): string | undefined {
  const [, template = ''] = /[?&]streamid=([^&]*)/.exec(rest) ?? []
  // In a structured id these would end the name and begin a field that nobody was asked for.
  const isStructured = template.startsWith('#!::')
  if (isStructured && /[,=]/.test(`${parts.vhost}${parts.app}${parts.stream}`)) return undefined
  return percentDecode(filledIn(template, parts))
}

/** Where a stream has no app, its slash goes with it. */
function filledIn(template: string, parts: StreamKeyParts): string {
  const text = parts.app === '' ? template.replaceAll('{app}/', '') : template
  return text.replace(/\{(vhost|app|stream)\}/g, (_, part: keyof StreamKeyParts) =>
    percentEncodePart(parts[part]),
  )
}
