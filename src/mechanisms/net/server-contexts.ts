import { X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { type Certificate, tlsContextOptions } from './certificate.ts'
import type { LeastTlsVersion } from './certificate-source.ts'

/** Several certificates of one TLS server, told apart by the name that a client asks for (SNI, RFC 6066 §3). */
export class ServerContexts {
  /** Of the first certificate. */
  readonly defaultOptions: SecureContextOptions
  readonly #byName = new Map<string, SecureContext>()

  /**
   * @throws NET_BAD_CERTIFICATE
   * @throws TypeError when there is none (misuse)
   */
  constructor(certificates: readonly Certificate[], minVersion?: LeastTlsVersion) {
    const [first, ...others] = certificates
    if (first === undefined) throw new TypeError('a TLS server needs a certificate')
    this.defaultOptions = tlsContextOptions(first, minVersion)
    if (others.length === 0) return
    this.#add(first, this.defaultOptions)
    for (const certificate of others) this.#add(certificate, tlsContextOptions(certificate, minVersion))
  }

  /** The context of the first certificate that has the name, itself or by `*.` in place of its first label. */
  contextFor(servername: string): SecureContext | undefined {
    const name = servername.toLowerCase()
    const dot = name.indexOf('.')
    return this.#byName.get(name) ?? (dot === -1 ? undefined : this.#byName.get(`*${name.slice(dot)}`))
  }

  #add(certificate: Certificate, options: SecureContextOptions): void {
    const context = createSecureContext(options)
    for (const name of certificateNames(certificate))
      if (!this.#byName.has(name)) this.#byName.set(name, context)
  }
}

/** The DNS names of a certificate in PEM, in lower case. */
export function certificateNames({ cert }: Pick<Certificate, 'cert'>): readonly string[] {
  const names = new X509Certificate(cert).subjectAltName ?? ''
  return [...names.matchAll(/(?:^|, )DNS:([^,"]+)/g)].map(([, name = '']) => name.toLowerCase())
}
