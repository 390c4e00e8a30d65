/**
 * Certificates for TLS listeners: from files, from an authority by ACME (RFC 8555), or self-made until there is a better one.
 */
export type { AcmeChallenge, AcmeOptions } from './acme-options.ts'
export { AcmeError, AcmeErrorCode } from './errors.ts'
export { type ChallengeHandler, TlsCertificates, type TlsCertificatesOptions } from './tls-certificates.ts'
