import type { IncomingMessage } from 'node:http'
import type { HttpClient } from '../../../mechanisms/net/index.ts'
import { type HeaderField, isFieldName, isFieldValue } from '../../../protocols/http/index.ts'
import { endToEndHeaders, fieldsOfRaw } from './end-to-end-headers.ts'
import { authorityOf, type OriginUrl } from './origin-url.ts'

/**
 * Headers that are never passed on as they came: said anew, since a client could name any address as its own, or
 * without meaning for a request without a body.
 */
const REPLACED = new Set([
  'host',
  'content-length',
  'expect',
  'via',
  'x-real-ip',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
])

/** Of no use where the text is to be changed: it is wanted whole and plain. */
const NOT_FOR_TEXT = new Set(['range', 'if-range', 'accept-encoding'])

/** How an origin is asked. */
export interface OriginRequestOptions {
  /** How this gateway names itself in `Via`; unlike any other gateway's, so that a loop shows. */
  readonly pseudonym: string
  /** The connection is kept, and HTTP/1.1 is spoken whatever the client speaks. @defaultValue false */
  readonly isKept?: boolean
  /** The answer is a playlist or manifest, which will be read. @defaultValue false */
  readonly isText?: boolean
}

/**
 * The bytes that ask an origin for what a client asked us: the client's end-to-end headers, `Authorization` among them, and
 * the headers that say who it is. On a connection that is not kept its end is the end of the body, and a client of
 * HTTP/1.0 is asked for by HTTP/1.0, so that no chunked framing comes which it could not read.
 */
export function originRequest(
  request: IncomingMessage,
  url: OriginUrl,
  client: Pick<HttpClient, 'headers'>,
  { pseudonym, isKept = false, isText = false }: OriginRequestOptions,
): Buffer {
  const isHttp10 = request.httpVersionMajor === 1 && request.httpVersionMinor === 0
  const passed = endToEndHeaders(fieldsOfRaw(request.rawHeaders)).filter(({ name }) => {
    const lower = name.toLowerCase()
    return !REPLACED.has(lower) && !(isText && NOT_FOR_TEXT.has(lower))
  })
  const via = request.headers.via
  const headers: HeaderField[] = [
    { name: 'Host', value: (url.isAsAsked ? request.headers.host : undefined) ?? authorityOf(url) },
    ...passed,
    ...(isText ? [{ name: 'Accept-Encoding', value: 'identity' }] : []),
    ...client.headers,
    { name: 'Via', value: `${via === undefined ? '' : `${via}, `}${request.httpVersion} ${pseudonym}` },
    { name: 'Connection', value: isKept ? 'keep-alive' : 'close' },
  ]
  const lines = headers
    .filter(({ name, value }) => isFieldName(name) && isFieldValue(value))
    .map(({ name, value }) => `${name}: ${value}\r\n`)
  const version = isHttp10 && !isKept ? 'HTTP/1.0' : 'HTTP/1.1'
  return Buffer.from(`${request.method} ${url.pathAndQuery} ${version}\r\n${lines.join('')}\r\n`, 'latin1')
}

/** Whether this gateway passed the request on before. */
export function isLoop(request: IncomingMessage, pseudonym: string): boolean {
  return request.headers.via?.split(',').some((hop) => hop.trim().split(/\s+/)[1] === pseudonym) ?? false
}
