import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { errorMessage } from '../../../foundation/errors.ts'
import type { Certificate } from '../../../mechanisms/net/index.ts'
import { TurnError } from '../errors.ts'

/** A certificate in the form that werift takes. */
export interface DtlsCertificate {
  /** The server's own alone, in PEM. */
  readonly cert: string
  /** PKCS #8, in PEM. */
  readonly key: string
  /** The numbers of RFC 5246 §7.4.1.4.1: 4 is SHA-256, 1 RSA and 3 ECDSA. */
  readonly signatureHash: { readonly hash: 4; readonly signature: 1 | 3 }
  /** Whether it came with those of authorities, which clients are not shown. */
  readonly hasChain: boolean
}

/**
 * Checks that werift can serve with a certificate.
 *
 * @throws TURN_BAD_OPTION when certificate or key cannot be read, or do not belong together; TURN_UNSUPPORTED for keys other
 * than RSA and P-256, and for a certificate of more than 1234 bytes. Nothing of the key is in the message.
 */
export function dtlsCertificate({ cert, key }: Certificate): DtlsCertificate {
  const own = attempt('the certificate cannot be read', () => new X509Certificate(cert))
  const privateKey = attempt('the key cannot be read', () => createPrivateKey(key))
  if (!own.checkPrivateKey(privateKey)) throw badCertificate('the key is not that of the certificate')
  if (own.raw.length > maxCertificateBytes) {
    throw new TurnError(
      'TURN_UNSUPPORTED',
      `the certificate has ${own.raw.length} bytes: dtls takes ${maxCertificateBytes} at most; one of an ECDSA key is shorter`,
    )
  }
  return {
    cert: own.toString(),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    signatureHash: { hash: 4, signature: signatureOf(privateKey) },
    hasChain: cert.toString().split('-----BEGIN CERTIFICATE-----').length > 2,
  }
}

/** Over this werift fragments the message, and hashes the fragments instead of it (against RFC 6347 §4.2.6). */
const maxCertificateBytes = 1234

function signatureOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): 1 | 3 {
  if (asymmetricKeyType === 'rsa') return 1
  const curve = asymmetricKeyDetails?.namedCurve
  if (asymmetricKeyType === 'ec' && curve === 'prime256v1') return 3
  throw new TurnError(
    'TURN_UNSUPPORTED',
    `the key is ${curve ?? asymmetricKeyType}: dtls takes RSA, and ECDSA with P-256`,
  )
}

function attempt<T>(what: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    throw badCertificate(`${what}: ${errorMessage(error)}`, error)
  }
}

function badCertificate(message: string, cause?: unknown): TurnError {
  return new TurnError('TURN_BAD_OPTION', `certificate: ${message}`, cause)
}
