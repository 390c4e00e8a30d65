import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import type { ServerTlsConfig } from '../../../mechanisms/frp-config/index.ts'
import {
  type Certificate,
  CertificateFiles,
  secureServerSide,
  selfMadeCertificate,
  tlsContextOptions,
} from '../../../mechanisms/net/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { TunnelError } from '../errors.ts'

/**
 * The server's TLS: with the certificate of its files, which are followed when they change, otherwise with one that it makes
 * at the first handshake. With `trustedCaFile`, which is read at the start and at each change of the certificate, clients
 * must show a certificate of one of its authorities.
 */
export class ServerTls implements Lifecycle {
  readonly #config: ServerTlsConfig
  readonly #logger: Logger
  readonly #files: CertificateFiles | undefined
  #context: Promise<SecureContext> | undefined

  constructor(config: ServerTlsConfig, parts: { readonly clock: Clock; readonly logger: Logger }) {
    this.#config = config
    this.#logger = parts.logger
    if (config.certFile === '') return
    this.#files = new CertificateFiles({
      certFile: config.certFile,
      keyFile: config.keyFile,
      clock: parts.clock,
      onChange: (certificate) => void this.#change(certificate),
      onError: (error) => this.#logger.warn({ err: error }, 'the new TLS certificate cannot be used'),
    })
  }

  /** Whether a connection without TLS is to be closed. */
  get isForced(): boolean {
    return this.#config.force || this.#requiresCertificate
  }

  /** @throws NetError NET_BAD_CERTIFICATE; TunnelError TUNNEL_BAD_OPTION that names the file of authorities */
  async start(options: StartOptions = {}): Promise<void> {
    await this.#files?.start(options)
    const certificate = this.#files?.certificate
    if (certificate !== undefined) await (this.#context = this.#contextOf(certificate))
    else if (this.#requiresCertificate) await this.#readAuthorities()
  }

  async close(): Promise<void> {
    await this.#files?.close()
  }

  /** Rejects when the handshake fails; the stream is destroyed then. Whoever destroys the stream ends it. */
  async handshake(stream: Duplex): Promise<TLSSocket> {
    this.#context ??= selfMadeCertificate().then((certificate) => this.#contextOf(certificate))
    const context = await this.#context
    return secureServerSide(stream, { context, requiresCertificate: this.#requiresCertificate })
  }

  get #requiresCertificate(): boolean {
    return this.#config.trustedCaFile !== ''
  }

  async #change(certificate: Certificate): Promise<void> {
    try {
      const context = await this.#contextOf(certificate)
      this.#context = Promise.resolve(context)
      this.#logger.info('the TLS certificate has changed')
    } catch (error) {
      this.#logger.warn({ err: error }, 'the new TLS certificate cannot be used')
    }
  }

  async #contextOf(certificate: Certificate): Promise<SecureContext> {
    const options = tlsContextOptions(certificate)
    if (!this.#requiresCertificate) return createSecureContext(options)
    return createSecureContext({ ...options, ca: await this.#readAuthorities() })
  }

  async #readAuthorities(): Promise<Buffer> {
    const { trustedCaFile } = this.#config
    try {
      const ca = await readFile(trustedCaFile)
      createSecureContext({ ca })
      return ca
    } catch (cause) {
      throw new TunnelError(
        'TUNNEL_BAD_OPTION',
        `transport.tls.trustedCaFile ${trustedCaFile}: ${errorMessage(cause)}`,
        { side: 'self', cause },
      )
    }
  }
}
