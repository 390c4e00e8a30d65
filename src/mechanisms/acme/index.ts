/**
 * Certificates for TLS listeners: from files, from an authority by ACME (RFC 8555), or self-made until there is a better one.
 */
export type { AcmeOptions } from './acme-options.ts'
export { TlsCertificates, type TlsCertificatesOptions } from './tls-certificates.ts'
