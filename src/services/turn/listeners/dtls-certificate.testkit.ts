import { PemConverter, X509CertificateGenerator } from '@peculiar/x509'
import type { TestCertificate } from '../../../mechanisms/net/certificate.testkit.ts'

/** Keys to make certificates of. */
const keyKinds = {
  p256: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  p384: { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-256' },
  rsa: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    publicExponent: Uint8Array.of(1, 0, 1),
    modulusLength: 2048,
  },
} as const

/** Makes a certificate of a kind of key, that signs itself. */
export async function makeCertificateOf(kind: keyof typeof keyKinds): Promise<TestCertificate> {
  const algorithm = keyKinds[kind]
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${kind}`,
    signingAlgorithm: algorithm,
    keys,
  })
  const key = await crypto.subtle.exportKey('pkcs8', keys.privateKey)
  return { cert: certificate.toString('pem'), key: PemConverter.encode(key, 'PRIVATE KEY') }
}
