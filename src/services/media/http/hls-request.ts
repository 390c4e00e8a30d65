import type { IncomingMessage } from 'node:http'
import type { HttpClient } from '../../../mechanisms/net/index.ts'
import { type HeaderField, isFieldName, isFieldValue } from '../../../protocols/http/index.ts'
import { endToEndHeaders, fieldsOfRaw } from './end-to-end-headers.ts'
import { authorityOf, type OriginUrl } from './origin-url.ts'

/** Said anew, or without meaning for a request without a body. */
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

/**
 * The bytes that ask an origin for what a client asked us, on a connection that is kept.
 *
 * @param isText the answer is a playlist or manifest, which will be read
 * @param pseudonym how this gateway names itself in `Via`
 */
export function hlsRequest(
  request: IncomingMessage,
  url: OriginUrl,
  client: Pick<HttpClient, 'headers'>,
  isText: boolean,
  pseudonym: string,
): Buffer {
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
    { name: 'Connection', value: 'keep-alive' },
  ]
  const lines = headers
    .filter(({ name, value }) => isFieldName(name) && isFieldValue(value))
    .map(({ name, value }) => `${name}: ${value}\r\n`)
  return Buffer.from(`${request.method} ${url.pathAndQuery} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1')
}
