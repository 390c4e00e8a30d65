import type { CertificateMaker } from './turn-uri.ts'

/** A self-signed certificate of a fresh key. The library that makes it is large and loaded only here. */
export const selfSigned: CertificateMaker = async () => {
  const { createSelfSignedCertificate } = await import('werift')
  // SHA-256, ECDSA and P-256 in the numbers of TLS.
  const { certPem: cert, keyPem: key } = await createSelfSignedCertificate({ hash: 4, signature: 3 }, 23)
  return { cert, key }
}
