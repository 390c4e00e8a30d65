import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls'
import { errorMessage } from '../../foundation/errors.ts'
import type { DialOptions } from './dial.ts'
import { NetError, NetErrorCode } from './errors.ts'

/** How certificates of origins are verified. */
export interface OriginTls {
  /** A file of authorities (PEM) to be believed besides those that Node knows. @defaultValue none */
  readonly ca?: string | undefined
  /** Takes any certificate, and so anybody in between. @defaultValue false */
  readonly insecure?: boolean | undefined
}

/** Where an origin is asked; an `OriginTarget` of the balancer is one. */
export interface DialTarget {
  readonly scheme: string
  /** A literal address without brackets, or a host name. */
  readonly host: string
  readonly port: number
}

/** Says how an origin is dialled: plain, or by TLS for `https` and `rtmps`. */
export type DialOptionsOf = (target: DialTarget) => DialOptions

/**
 * Reads the file of authorities once.
 * @throws NetError `NET_BAD_CERTIFICATE` that names the file
 */
export function originDial({ ca, insecure = false }: OriginTls = {}): DialOptionsOf {
  const secureContext = ca === undefined ? undefined : contextOf(ca)
  return ({ scheme, host, port }) => {
    if (scheme !== 'https' && scheme !== 'rtmps') return { host, port }
    const tls: NonNullable<DialOptions['tls']> = {
      rejectUnauthorized: !insecure,
      // RFC 6066 §3 has no addresses there; the certificate is checked against `host` all the same.
      ...(isIP(host) === 0 && { servername: host }),
      ...(scheme === 'https' && { ALPNProtocols: ['http/1.1'] }),
      ...(secureContext !== undefined && { secureContext }),
    }
    return { host, port, tls }
  }
}

/** The dial of origins that are verified as usual. */
export const dialOptionsOf: DialOptionsOf = originDial()

function contextOf(file: string): SecureContext {
  try {
    const authorities = readFileSync(file, 'utf8')
    // Without a certificate Node would take the text for none at all.
    if (!authorities.includes('-----BEGIN CERTIFICATE-----')) throw new Error('there is no certificate in it')
    return createSecureContext({ ca: [...rootCertificates, authorities] })
  } catch (cause) {
    throw new NetError(NetErrorCode.badCertificate, `${file}: ${errorMessage(cause)}`, cause)
  }
}
