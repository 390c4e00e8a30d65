import { isFieldName, isFieldValue } from '../../../protocols/http/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import type { UserAddress } from '../server/backend.ts'
import type { HttpRules } from './contract.ts'
import { endToEnd, hasToken, headerValue, override, type RawHeaders } from './raw-headers.ts'
import type { RequestTarget } from './request-target.ts'

/** Say how the message is framed, or are of the connection, or told by `hostHeaderRewrite`: frp too lets nobody set them. */
const NOT_SETTABLE = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'trailer',
  'connection',
  'upgrade',
  'keep-alive',
])

/** Said anew for the backend; what users say of them could be made up. */
const SAID_ANEW = new Set([
  'host',
  'expect',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
])

/** The rules of one http proxy, checked and ready for use. */
export class HeaderRules {
  readonly #hostHeaderRewrite: string
  readonly #setOnRequests: RawHeaders
  readonly #setOnAnswers: RawHeaders

  /** @throws TunnelError TUNNEL_BAD_PROXY: a name or a value that cannot stand in a header */
  constructor(rules: HttpRules) {
    this.#hostHeaderRewrite = valueOf('hostHeaderRewrite', rules.hostHeaderRewrite)
    this.#setOnRequests = settable('requestHeaders', rules.requestHeaders)
    this.#setOnAnswers = settable('responseHeaders', rules.responseHeaders)
  }

  /** The host that the backend is asked for. */
  hostFor({ host }: RequestTarget): string {
    return this.#hostHeaderRewrite === '' ? host : this.#hostHeaderRewrite
  }

  /** Headers for the backend but `Host` and what is of the connection. `TE: trailers` is passed on. */
  forBackend(headers: RawHeaders, target: RequestTarget, address: UserAddress): string[] {
    const out = endToEnd(headers, SAID_ANEW)
    if (hasToken(headers, 'te', 'trailers')) out.push('TE', 'trailers')
    const forwardedFor = headerValue(headers, 'x-forwarded-for')
    const { remoteAddress } = address
    out.push(
      'X-Forwarded-For',
      forwardedFor === undefined ? remoteAddress : `${forwardedFor}, ${remoteAddress}`,
      'X-Forwarded-Host',
      target.host,
      'X-Forwarded-Proto',
      'http',
    )
    return override(out, this.#setOnRequests)
  }

  /** Headers of a backend's answer for the user, but what is of the connection. */
  forUser(headers: RawHeaders): string[] {
    return override(endToEnd(headers), this.#setOnAnswers)
  }
}

function settable(field: string, headers: Readonly<Record<string, string>>): string[] {
  const raw: string[] = []
  for (const [name, value] of Object.entries(headers)) {
    if (!isFieldName(name)) throw badHeader(field, name)
    if (!NOT_SETTABLE.has(name.toLowerCase())) raw.push(name, valueOf(`${field}: ${name}`, value))
  }
  return raw
}

/** In UTF-8, byte by byte, as frp sends it. */
function valueOf(field: string, value: string): string {
  const raw = Buffer.from(value).toString('latin1')
  if (!isFieldValue(raw)) throw badHeader(field, value)
  return raw
}

function badHeader(field: string, text: string): TunnelError {
  const message = `${field}: ${JSON.stringify(text)} cannot stand in a header`
  return new TunnelError(TunnelErrorCode.badProxy, message, { side: 'client' })
}
