/**
 * How a certificate is had from an authority that speaks ACME (RFC 8555). Whoever gives these agrees to its terms of service.
 */
export interface AcmeOptions {
  /** Where account and certificate are kept, by one process; made when it is missing. */
  readonly folder: string
  /** URL of the authority's directory. */
  readonly directoryUrl: string
  /** The names of the one certificate, without wildcards. */
  readonly domains: readonly string[]
  /** Whom the authority may write to. @defaultValue nobody */
  readonly email?: string | undefined
  /** How it is proven that the names are ours. @defaultValue 'http-01' */
  readonly challenge?: AcmeChallenge
  /** Binds the account to one that the authority knows otherwise (RFC 8555 §7.3.4). @defaultValue none */
  readonly externalAccount?: { readonly kid: string; readonly hmacKey: string } | undefined
  /** A file of authorities (PEM) to be believed for the directory besides those that Node knows. @defaultValue none */
  readonly ca?: string | undefined
  /** One request takes at most so many milliseconds. @defaultValue 30,000 */
  readonly requestTimeoutMs?: number
  /** All of an order takes at most so many milliseconds. @defaultValue 300,000 */
  readonly orderTimeoutMs?: number
  /** How often the authority is asked how far it is, in milliseconds. @defaultValue 2000 */
  readonly pollMs?: number
}

/** By a file over HTTP on port 80, or within a TLS handshake on port 443 (RFC 8737). */
export type AcmeChallenge = 'http-01' | 'tls-alpn-01'

export type CompleteAcmeOptions = AcmeOptions &
  Required<Pick<AcmeOptions, 'challenge' | 'requestTimeoutMs' | 'orderTimeoutMs' | 'pollMs'>>

const DEFAULTS = {
  challenge: 'http-01',
  requestTimeoutMs: 30_000,
  orderTimeoutMs: 300_000,
  pollMs: 2000,
} as const

export function completeAcmeOptions(options: AcmeOptions): CompleteAcmeOptions {
  return { ...DEFAULTS, ...options }
}
