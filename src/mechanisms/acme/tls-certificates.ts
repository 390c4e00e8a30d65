import { X509Certificate } from 'node:crypto'
import { type Clock, systemClock } from '../../foundation/clock.ts'
import { errorCode } from '../../foundation/errors.ts'
import { type Lifecycle, LifecycleStack, type StartOptions } from '../../foundation/lifecycle.ts'
import {
  type Certificate,
  CertificateFiles,
  certificateNames,
  type CertificateSource,
  type LeastTlsVersion,
  selfMadeCertificate,
} from '../net/index.ts'
import { Gauge, type Logger, type Registry } from '../telemetry/index.ts'
import { AcmeCertificate, type AcmeCertificateParts } from './acme-certificate.ts'
import type { AcmeOptions } from './acme-options.ts'

/** Which certificates there are. */
export interface TlsCertificatesOptions {
  /** Read again when they change. @defaultValue [] */
  readonly files?: readonly { readonly certFile: string; readonly keyFile: string }[]
  /** One that is had from an authority. @defaultValue none */
  readonly acme?: AcmeOptions | undefined
  /** @defaultValue 'TLSv1.2' */
  readonly minVersion?: LeastTlsVersion
  readonly logger: Logger
  readonly registry: Registry
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
  /** Has certificates. @defaultValue by acme-client */
  readonly order?: AcmeCertificateParts['order']
}

/** Something that answers requests, as the HTTP edge takes it. */
export interface ChallengeHandler {
  matches(pathname: string, method: string): boolean
  handle: AcmeCertificate['answers']['handle']
}

/**
 * The certificates of all TLS listeners: those of files first, then the one of the authority. While there is none of these,
 * one that signs itself stands in, so that listeners can start.
 */
export class TlsCertificates implements Lifecycle, CertificateSource {
  readonly minVersion: LeastTlsVersion
  readonly #files: readonly CertificateFiles[]
  readonly #acme: AcmeCertificate | undefined
  readonly #stack = new LifecycleStack()
  readonly #log: Logger
  readonly #listeners = new Set<() => void>()
  #selfMade: Certificate | undefined
  #certificates: readonly Certificate[] = []

  constructor(options: TlsCertificatesOptions) {
    const { files = [], acme, registry, order, clock = systemClock, minVersion = 'TLSv1.2' } = options
    this.minVersion = minVersion
    this.#log = options.logger.child({ component: 'tls' })
    const onChange = (): void => this.#gather()
    this.#files = files.map(({ certFile, keyFile }) =>
      this.#stack.add(
        new CertificateFiles({
          certFile,
          keyFile,
          clock,
          onChange: () => {
            this.#log.info({ certFile }, 'certificate replaced')
            this.#gather()
          },
          onError: (error) =>
            this.#log.warn({ certFile, code: errorCode(error), err: error }, 'certificate not replaced'),
        }),
      ),
    )
    if (acme !== undefined) {
      const { logger } = options
      const parts = { clock, logger, registry, onChange, ...(order !== undefined && { order }) }
      this.#acme = this.#stack.add(new AcmeCertificate(acme, parts))
    }
    this.#registerMetrics(registry)
  }

  get certificates(): readonly Certificate[] {
    return this.#certificates
  }

  get challenges(): ReadonlyMap<string, Certificate> {
    return this.#acme?.answers.certificates ?? noChallenges
  }

  /** Answers an authority's questions over plain HTTP; to be mounted ahead of pages. */
  get handlers(): readonly ChallengeHandler[] {
    return this.#acme === undefined ? [] : [this.#acme.answers]
  }

  onChange(listener: () => void): () => void {
    // Its own, so that one who listens twice is told until both have ended.
    const told = (): void => listener()
    this.#listeners.add(told)
    return () => this.#listeners.delete(told)
  }

  /** Asks no authority yet. @throws NET_BAD_CERTIFICATE, ACME_FOLDER; the message names the file */
  async start(options: StartOptions = {}): Promise<void> {
    await this.#stack.start(options)
    if (this.#real.length === 0 && this.#selfMade === undefined) {
      this.#selfMade = await selfMadeCertificate()
      this.#log.warn('no certificate yet; one that signs itself stands in')
    }
    this.#gather()
  }

  /** Has certificates of an authority in the background. To be called when the listeners that it asks stand. */
  obtain(): void {
    this.#acme?.obtain()
  }

  async close(): Promise<void> {
    await this.#stack.close()
  }

  get #real(): readonly Certificate[] {
    return [...this.#files, this.#acme].flatMap((source) => source?.certificate ?? [])
  }

  #gather(): void {
    const real = this.#real
    if (real.length > 0) this.#selfMade = undefined
    this.#certificates = this.#selfMade === undefined ? real : [this.#selfMade]
    for (const listener of this.#listeners) {
      try {
        listener()
      } catch (error) {
        this.#log.error({ code: errorCode(error), err: error }, 'certificate not taken by a listener')
      }
    }
  }

  #registerMetrics(registry: Registry): void {
    const certificates = (): readonly Certificate[] => this.#certificates
    registry.registerMetric(
      new Gauge({
        name: 'sluice_tls_certificate_expiry_seconds',
        help: 'When each certificate in use runs out, in seconds since 1970, by its first name; empty for one without.',
        labelNames: ['name'],
        registers: [],
        collect() {
          this.reset()
          for (const certificate of certificates()) {
            const [name = ''] = certificateNames(certificate)
            this.set({ name }, Date.parse(new X509Certificate(certificate.cert).validTo) / 1000)
          }
        },
      }),
    )
  }
}

const noChallenges: ReadonlyMap<string, Certificate> = new Map()
