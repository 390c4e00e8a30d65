import type { ListenerProtocol } from './config.ts'
import { StunnerdError } from './errors.ts'

/** A self-signed certificate, for TLS that is started by hand. */
export type CertificateMaker = () => Promise<{ readonly cert: string; readonly key: string }>

/**
 * The configuration text that `turn://user:pass@address:port?transport=udp` stands for: one listener through which every
 * peer is reached. `turns:` with `tcp` is TLS and with `udp` DTLS; so are the transports `tls` and `dtls`.
 *
 * @throws STUNNERD_BAD_OPTION that says what is wrong, without the password
 */
export async function configTextOfTurnUri(text: string, makeCertificate: CertificateMaker): Promise<string> {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const protocol = url === undefined ? undefined : protocolOf(url)
  if (url === undefined || protocol === undefined || url.hostname === '') {
    throw new StunnerdError(
      'STUNNERD_BAD_OPTION',
      'the URI must be turn://user:password@address:port?transport=udp|tcp|tls|dtls',
    )
  }
  if (url.username === '' || url.password === '') {
    throw new StunnerdError('STUNNERD_BAD_OPTION', 'the URI must have a user and a password')
  }
  const isTls = protocol === 'TURN-TLS' || protocol === 'TURN-DTLS'
  const certificate = isTls ? await makeCertificate() : undefined
  return JSON.stringify({
    version: 'v1',
    auth: {
      type: 'static',
      credentials: { username: decoded(url.username), password: decoded(url.password) },
    },
    listeners: [
      {
        name: 'default-listener',
        protocol,
        address: url.hostname.replaceAll(/^\[|\]$/g, ''),
        port: url.port === '' ? (isTls ? 443 : 3478) : Number(url.port),
        routes: ['allow-any'],
        ...(certificate !== undefined && {
          cert: Buffer.from(certificate.cert).toString('base64'),
          key: Buffer.from(certificate.key).toString('base64'),
        }),
      },
    ],
    clusters: [{ name: 'allow-any', type: 'STATIC', endpoints: ['0.0.0.0/0'] }],
  })
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch (error) {
    const message = 'user and password of the URI must be percent-encoded: "%" is written "%25"'
    throw new StunnerdError('STUNNERD_BAD_OPTION', message, error)
  }
}

function protocolOf(url: URL): ListenerProtocol | undefined {
  const transport = (url.searchParams.get('transport') ?? 'udp').toLowerCase()
  if (url.protocol !== 'turn:' && url.protocol !== 'turns:') return undefined
  const isSecure = url.protocol === 'turns:'
  switch (transport) {
    case 'udp':
      return isSecure ? 'TURN-DTLS' : 'TURN-UDP'
    case 'tcp':
      return isSecure ? 'TURN-TLS' : 'TURN-TCP'
    case 'tls':
      return 'TURN-TLS'
    case 'dtls':
      return 'TURN-DTLS'
    default:
      return undefined
  }
}
