import type { SecureVersion } from 'node:tls'
import type { Certificate } from './certificate.ts'

/** The least version of TLS that a server speaks. */
export type LeastTlsVersion = Extract<SecureVersion, 'TLSv1.2' | 'TLSv1.3'>

/** Certificates of TLS servers that may become others at any time. Several listeners may share one. */
export interface CertificateSource {
  /**
   * Those in force. The first is shown to clients that ask for no name (SNI), or for one that none of them has. At least one
   * when a listener starts.
   */
  readonly certificates: readonly Certificate[]
  /** @defaultValue 'TLSv1.2' */
  readonly minVersion?: LeastTlsVersion
  /**
   * Certificates that answer an authority's question (TLS-ALPN-01, RFC 8737), by the name asked for; there is one only while
   * the question is open.
   */
  readonly challenges?: ReadonlyMap<string, Certificate>
  /** Tells when `certificates` are others; the function that it gives ends that. */
  onChange(listener: () => void): () => void
}

/** A source of certificates that stay. */
export function fixedCertificates(certificates: readonly Certificate[]): CertificateSource {
  return { certificates, onChange: () => () => {} }
}
