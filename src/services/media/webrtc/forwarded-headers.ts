import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { HttpClient } from '../../../mechanisms/net/index.ts'

/** Headers of a client's request that the origin gets as they are. */
const passedOn = ['accept', 'authorization', 'if-match', 'user-agent'] as const

/** The headers of a request towards the origin, but for Host: what matters of the client's, and who the client is. */
export function requestHeaders(
  request: IncomingMessage,
  client: HttpClient,
  contentType?: string,
): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of passedOn) {
    const value = request.headers[name]
    if (value !== undefined) headers[name] = value
  }
  for (const { name, value } of client.headers) {
    const before = headers[name.toLowerCase()]
    headers[name.toLowerCase()] = before === undefined ? value : `${before}, ${value}`
  }
  if (contentType !== undefined) headers['content-type'] = contentType
  return headers
}

/** Headers that end at a hop (RFC 9110 §7.6.1), and those that the gateway gives itself. */
const notPassedBack: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'alt-svc',
  'content-length',
  'content-location',
  'date',
  'location',
])

/** Headers of a refusal that a client can act on. */
const ofRefusal = ['allow', 'etag', 'retry-after', 'www-authenticate'] as const

/** Gives the client what it needs to know of a refusal; the rest may tell of the origin's inside. */
export function passRefusalBack(headers: IncomingHttpHeaders, response: ServerResponse): void {
  for (const name of ofRefusal) {
    const value = headers[name]
    if (value !== undefined && !response.hasHeader(name) && isSendable(value)) response.setHeader(name, value)
  }
}

/**
 * Gives the client the origin's end-to-end headers, without those that would name the origin, and those that the
 * response has already.
 */
export function passHeadersBack(headers: IncomingHttpHeaders, response: ServerResponse): void {
  const named = new Set(headers.connection?.split(',').map((name) => name.trim().toLowerCase()))
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || notPassedBack.has(name) || named.has(name)) continue
    if (name.startsWith('proxy-') || name.startsWith('access-control-')) continue
    const passed = name === 'link' ? publicLinks(value) : value
    if (passed.length > 0 && !response.hasHeader(name) && isSendable(passed)) response.setHeader(name, passed)
  }
}

/**
 * The links to ICE servers and to whatever else has an address of its own. Those over HTTP and the relative ones lead
 * to the origin, where clients do not reach.
 */
function publicLinks(value: string | string[]): string[] {
  const links = [value]
    .flat()
    .join(', ')
    .matchAll(/<([^<>]*)>(?:[^,"<]|"[^"]*")*/g)
  return [...links].flatMap(([link, target = '']) =>
    /^(?!https?:)[a-z][a-z\d+.-]*:/i.test(target) ? [link.trim()] : [],
  )
}

/** An origin may write what node:http refuses to send; that is no reason to refuse the client. */
function isSendable(value: string | string[]): boolean {
  return [value].flat().every((text) => /^[\t -~\u0080-\u00ff]*$/.test(text))
}

/** What pages of other sites may do: everything that WHIP and WHEP need. */
export function allowCrossOrigin(response: ServerResponse): void {
  response.setHeader('Access-Control-Allow-Origin', '*')
  response.setHeader('Access-Control-Expose-Headers', 'Location, Link, ETag, Retry-After')
}
