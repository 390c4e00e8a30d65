import { constants, createPrivateKey, X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContextOptions, type SecureVersion } from 'node:tls'
import { errorMessage } from '../../foundation/errors.ts'
import { NetError, NetErrorCode } from './errors.ts'

/** What a TLS server shows and proves, in PEM. */
export interface Certificate {
  /** The certificate of the server first, then those of the authorities between it and a root. */
  readonly cert: string | Buffer
  readonly key: string | Buffer
}

/**
 * The options of a TLS server that has this certificate: TLS 1.2 or 1.3 unless told otherwise, no renegotiation.
 * @throws NetError `NET_BAD_CERTIFICATE` that says which of both is wrong; its text has nothing of the key
 */
export function tlsContextOptions(
  { cert, key }: Certificate,
  minVersion: SecureVersion = 'TLSv1.2',
): SecureContextOptions {
  const own = attempt('the certificate cannot be read', () => new X509Certificate(cert))
  const privateKey = attempt('the key cannot be read', () => createPrivateKey(key))
  if (!own.checkPrivateKey(privateKey)) {
    throw badCertificate(`the key is another one than that of the certificate (${subjectOf(own)})`)
  }
  const options: SecureContextOptions = {
    cert,
    key,
    minVersion,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  }
  attempt('certificate and key cannot be used', () => createSecureContext(options))
  return options
}

function attempt<T>(what: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    throw badCertificate(`${what}: ${errorMessage(error)}`, error)
  }
}

function badCertificate(message: string, cause?: unknown): NetError {
  return new NetError(NetErrorCode.badCertificate, message, cause)
}

function subjectOf(certificate: X509Certificate): string {
  return (certificate.subjectAltName ?? certificate.subject).replaceAll('\n', ', ')
}
