import type { Certificate } from './certificate.ts'

const YEAR_MS = 365 * 86_400_000
const VALID_YEARS = 10

/**
 * A certificate that signs itself (ECDSA P-256, no names, ten years), for TLS with clients that do not verify. Makes another one at
 * each call, which takes some hundred milliseconds at the first.
 */
export async function selfMadeCertificate(): Promise<Certificate> {
  // Loaded only where it is wanted: it takes longer than all the rest of a start.
  const { PemConverter, X509CertificateGenerator } = await import('@peculiar/x509')
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const nowMs = Date.now()
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=sluice',
    // Clocks that are behind take it too.
    notBefore: new Date(nowMs - YEAR_MS),
    notAfter: new Date(nowMs + VALID_YEARS * YEAR_MS),
    signingAlgorithm: algorithm,
    keys,
  })
  const key = await crypto.subtle.exportKey('pkcs8', keys.privateKey)
  return { cert: certificate.toString('pem'), key: PemConverter.encode(key, 'PRIVATE KEY') }
}
