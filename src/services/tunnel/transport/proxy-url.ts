import { TunnelError } from '../errors.ts'
import { type Endpoint, withoutBrackets } from './endpoint.ts'

/** The proxy that `transport.proxyURL` names. */
export interface ProxyServer extends Endpoint {
  readonly kind: 'http' | 'https' | 'socks5'
  /** Undefined where the URL has neither of both. */
  readonly credentials: { readonly user: string; readonly password: string } | undefined
}

const defaultPorts = { http: 80, https: 443, socks5: 1080 } as const

/** @throws TunnelError TUNNEL_BAD_OPTION; TUNNEL_UNSUPPORTED for `ntlm://`. Their messages leave the password out. */
export function parseProxyUrl(text: string): ProxyServer {
  if (!URL.canParse(text)) throw badOption('is no URL')
  const { protocol, hostname, port, username, password } = new URL(text)
  const kind = protocol.slice(0, -1)
  if (kind === 'ntlm') {
    throw new TunnelError(
      'TUNNEL_UNSUPPORTED',
      'transport.proxyURL: NTLM proxies are not supported; use an http, https or socks5 proxy',
      { side: 'self' },
    )
  }
  if (kind !== 'http' && kind !== 'https' && kind !== 'socks5') {
    throw badOption(`begins with ${protocol}// and not with http://, https:// or socks5://`)
  }
  if (hostname === '') throw badOption('names no proxy')
  const hasCredentials = username !== '' || password !== ''
  return {
    kind,
    host: withoutBrackets(hostname),
    port: port === '' ? defaultPorts[kind] : Number(port),
    credentials: hasCredentials ? { user: decode(username), password: decode(password) } : undefined,
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw badOption('has a % in user or password that is not an escape; write %25')
  }
}

function badOption(what: string): TunnelError {
  return new TunnelError('TUNNEL_BAD_OPTION', `transport.proxyURL ${what}`, { side: 'self' })
}
