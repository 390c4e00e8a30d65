import { TurncatError, TurncatErrorCode } from './errors.ts'

/** How the server is reached. */
export type TurnTransport = 'udp' | 'tcp' | 'tls' | 'dtls'

/** Who we are: a user of the server, or whoever holds its shared secret. */
export type TurnIdentity =
  | { readonly username: string; readonly password: string }
  | { readonly secret: string }

/** What a TURN URI says. */
export interface TurnServer {
  /** A name or an address, without brackets. */
  readonly host: string
  readonly port: number
  readonly transport: TurnTransport
  /** Undefined when the URI does not say. */
  readonly identity: TurnIdentity | undefined
}

/**
 * Reads `turn://user:password@host:port?transport=udp|tcp|tls|dtls` as STUNner's tools write it, with a shared secret
 * alone in front of the `@` for time-limited credentials, and the forms of RFC 7065: `turn:host:port?transport=udp`,
 * `turns:host`. User, password and secret may be percent-encoded. Ports are 3478, or 5349 with TLS and DTLS, unless given.
 *
 * @throws TURNCAT_URI_INVALID, TURNCAT_K8S_UNSUPPORTED
 */
export function parseTurnUri(text: string): TurnServer {
  if (/^k8s:/i.test(text)) {
    throw new TurncatError(
      TurncatErrorCode.kubernetesUnsupported,
      `${text} is not supported: no cluster is asked for its gateways; name the address and the credentials instead, as turn://user:password@host:port?transport=udp`,
    )
  }
  // The password may hold an @; a host cannot.
  const match =
    /^(turns?):(?:\/\/)?(?:(.*)@)?(?:\[([^\]]+)\]|([^:/?#@[\]]+))(?::(\d{1,5}))?\/?(?:\?([^#@]*))?$/i.exec(
      text,
    )
  if (match === null) throw invalid(redacted(text), 'it is not turn://user:password@host:port?transport=udp')
  const [, scheme = '', user, ipv6, name, port, query] = match
  const transport = transportOf(scheme.toLowerCase() === 'turns', query, redacted(text))
  return {
    host: ipv6 ?? name ?? '',
    port: portOf(port, transport, redacted(text)),
    transport,
    identity: user === undefined ? undefined : identityOf(user, redacted(text)),
  }
}

/** The text without what is in front of its `@`, for messages. */
function redacted(text: string): string {
  return text.replace(/^([a-z0-9]*:(?:\/\/)?).*@/i, '$1***@')
}

function transportOf(isSecure: boolean, query: string | undefined, shown: string): TurnTransport {
  const parameters = new URLSearchParams(query)
  for (const name of parameters.keys()) {
    if (name !== 'transport') throw invalid(shown, `"${name}" is no parameter; transport is the only one`)
  }
  const asked = parameters.get('transport')?.toLowerCase() ?? (isSecure ? 'tcp' : 'udp')
  switch (asked) {
    case 'udp':
      return isSecure ? 'dtls' : 'udp'
    case 'tcp':
      return isSecure ? 'tls' : 'tcp'
    case 'tls':
    case 'dtls':
      return asked
    default:
      throw invalid(shown, `"${asked}" is no transport; udp, tcp, tls and dtls are`)
  }
}

function portOf(text: string | undefined, transport: TurnTransport, shown: string): number {
  if (text === undefined) return transport === 'tls' || transport === 'dtls' ? 5349 : 3478
  const port = Number(text)
  if (port < 1 || port > 65_535) throw invalid(shown, `${text} is no port; 1 to 65535 are`)
  return port
}

function identityOf(user: string, shown: string): TurnIdentity {
  const colon = user.indexOf(':')
  try {
    const [first, second] =
      colon === -1
        ? [decodeURIComponent(user), undefined]
        : [decodeURIComponent(user.slice(0, colon)), decodeURIComponent(user.slice(colon + 1))]
    if (first === '' || second === '') throw invalid(shown, 'user, password or secret is empty')
    return second === undefined ? { secret: first } : { username: first, password: second }
  } catch (error) {
    if (error instanceof TurncatError) throw error
    throw invalid(shown, 'a % in front of the @ does not begin a byte; write it %25')
  }
}

function invalid(shown: string, why: string): TurncatError {
  return new TurncatError(TurncatErrorCode.uriInvalid, `TURN "${shown}" cannot be used: ${why}`)
}
