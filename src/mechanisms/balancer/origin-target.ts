import type { Need, Origin } from './contract.ts'
import { percentEncodePart, type StreamKeyParts, streamKeyParts } from './stream-key-parts.ts'
import type { StreamKey } from './stream-key.ts'

/** Where an origin takes or gives a stream by one protocol. */
export interface OriginTarget {
  readonly scheme: 'http' | 'https' | 'rtmp' | 'rtmps' | 'srt'
  /** A literal address without brackets, or a host name. */
  readonly host: string
  readonly port: number
  /**
   * What names the stream there: path and query of an HTTP URL, `/app/stream` of an RTMP one, the stream id of SRT.
   * Undefined: what the client itself said, which is how SRS origins are asked.
   */
  readonly name: string | undefined
}

const DEFAULT_PORTS = { http: 80, https: 443, rtmp: 1935, rtmps: 443, srt: 10_080 } as const

/** Where the origin has this stream; undefined when it does not offer what is needed. */
export function originTarget(
  origin: Pick<Origin, 'ip' | 'rtmp' | 'http' | 'api' | 'srt' | 'rtc' | 'urls'>,
  need: Need,
  key: StreamKey,
): OriginTarget | undefined {
  if (origin.urls === undefined) return srsTarget(origin, need)
  const url = origin.urls[need]
  return url === undefined ? undefined : targetOfUrl(filledIn(url, streamKeyParts(key)))
}

/** Whether an origin has what a need calls for. */
export function offers(
  origin: Pick<Origin, 'rtmp' | 'http' | 'api' | 'srt' | 'rtc' | 'urls'>,
  need: Need,
): boolean {
  if (origin.urls !== undefined) return origin.urls[need] !== undefined
  // The session is made over the HTTP API and the media goes to the UDP port: it takes both.
  if (need === 'whip' || need === 'whep' || need === 'json')
    return origin.api.length > 0 && origin.rtc.length > 0
  return origin[need === 'rtmp' || need === 'srt' ? need : 'http'].length > 0
}

/** Why a text cannot be a URL template of an origin; undefined when it can. */
export function originUrlFault(need: Need, template: string): string | undefined {
  const unknown = /\{(?!(?:vhost|app|stream)\})[^}]*\}?/.exec(template)
  if (unknown) return `${unknown[0]} is none of {vhost}, {app} and {stream}`
  const target = targetOfUrl(filledIn(template, { vhost: 'v', app: 'a', stream: 's' }))
  if (target === undefined) return 'it is no URL with a host'
  const wanted = schemesOf(need)
  return wanted.includes(target.scheme) ? undefined : `${need} takes ${wanted.join(' or ')}`
}

function schemesOf(need: Need): readonly OriginTarget['scheme'][] {
  if (need === 'rtmp') return ['rtmp', 'rtmps']
  return need === 'srt' ? ['srt'] : ['http', 'https']
}

function srsTarget(
  { ip, rtmp, http, api, srt }: Pick<Origin, 'ip' | 'rtmp' | 'http' | 'api' | 'srt'>,
  need: Need,
): OriginTarget | undefined {
  const at = (scheme: OriginTarget['scheme'], port: number | undefined): OriginTarget | undefined =>
    port === undefined ? undefined : { scheme, host: ip, port, name: undefined }
  switch (need) {
    case 'rtmp':
      return at('rtmp', rtmp[0])
    case 'srt':
      return at('srt', srt[0])
    case 'whip':
    case 'whep':
    case 'json':
      return at('http', api[0])
    default:
      return at('http', http[0])
  }
}

function filledIn(template: string, parts: StreamKeyParts): string {
  return template.replace(/\{(vhost|app|stream)\}/g, (_, part: keyof StreamKeyParts) =>
    percentEncodePart(parts[part]),
  )
}

function targetOfUrl(text: string): OriginTarget | undefined {
  const match = /^(https?|rtmps?|srt):\/\/(\[[^\]]+\]|[^:/?#[\]]+)(?::(\d{1,5}))?([/?].*)?$/.exec(text)
  if (match === null) return undefined
  const [, scheme, host = '', port, rest = ''] = match as unknown as [string, OriginTarget['scheme'], ...string[]]
  const number = port === undefined ? DEFAULT_PORTS[scheme] : Number(port)
  if (number < 1 || number > 65_535) return undefined
  const name = scheme === 'srt' ? streamIdOf(rest) : rest || '/'
  return { scheme, host: host.replace(/^\[|\]$/g, ''), port: number, name }
}

function streamIdOf(rest: string): string {
  const [, id = ''] = /[?&]streamid=([^&]*)/.exec(rest) ?? []
  return decodeURIComponent(id)
}
