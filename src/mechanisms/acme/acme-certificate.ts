import type { Clock, Timer } from '../../foundation/clock.ts'
import { errorCode } from '../../foundation/errors.ts'
import type { Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import { type Certificate, tlsContextOptions } from '../net/index.ts'
import { Counter, type Logger, type Registry } from '../telemetry/index.ts'
import { type AcmeOptions, type CompleteAcmeOptions, completeAcmeOptions } from './acme-options.ts'
import { orderCertificate } from './acme-order.ts'
import { type AcmeFailures, AcmeStore } from './acme-store.ts'
import { ChallengeAnswers } from './challenge-answers.ts'
import { AcmeError } from './errors.ts'
import { renewalTime, retryDelay } from './renewal-time.ts'

/** What an `AcmeCertificate` stands on. */
export interface AcmeCertificateParts {
  readonly clock: Clock
  readonly logger: Logger
  readonly registry: Registry
  /** Told of each certificate that is had while it runs. */
  readonly onChange: () => void
  /** 0 to 1. @defaultValue `Math.random` */
  readonly random?: () => number
  /** Has a certificate. @defaultValue by acme-client, from the authority */
  readonly order?: typeof orderCertificate
}

/** A timer of the machine cannot be set for more than 24 days, and a machine that slept is late. */
const LOOK_MS = 6 * 3_600_000

/**
 * A certificate that is had from an authority by ACME, kept in a folder and renewed in time. Nothing waits for the
 * authority: what is in the folder is there after `start`, all else comes by `onChange`. Failures are tried again,
 * later each time, also over restarts.
 */
export class AcmeCertificate implements Lifecycle {
  /** To be mounted where authorities ask. */
  readonly answers: ChallengeAnswers = new ChallengeAnswers()
  readonly #options: CompleteAcmeOptions
  readonly #parts: AcmeCertificateParts
  readonly #store: AcmeStore
  readonly #log: Logger
  readonly #random: () => number
  readonly #attempts: Counter<'result'>
  #certificate: Certificate | undefined
  #dueAtMs = 0
  #isLooking = false
  #timer: Timer | undefined
  /** Aborted by `close`; undefined while it does not run. */
  #running: AbortController | undefined
  #attempt: Promise<void> | undefined
  /** Where the folder cannot be written, failures count all the same. */
  #failuresUnsaved = 0

  constructor(options: AcmeOptions, parts: AcmeCertificateParts) {
    this.#options = completeAcmeOptions(options)
    this.#parts = parts
    this.#store = new AcmeStore(options.folder, options.directoryUrl)
    this.#log = parts.logger.child({ component: 'acme', domains: options.domains })
    this.#random = parts.random ?? Math.random
    this.#attempts = new Counter({
      name: 'sluice_acme_attempts_total',
      help: 'Attempts to have a certificate from an authority by ACME, by result: done, or the code of the error.',
      labelNames: ['result'],
      registers: [parts.registry],
    })
  }

  /** The last good one; undefined while there has been none. */
  get certificate(): Certificate | undefined {
    return this.#certificate
  }

  /** Reads the folder. @throws ACME_FOLDER */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#running !== undefined) return
    const running = new AbortController()
    this.#running = running
    try {
      this.#certificate = await this.#store.certificate()
      const account = await this.#store.account()
      signal?.throwIfAborted()
      if (this.#certificate !== undefined) this.#dueAtMs = this.#renewalTimeOf(this.#certificate)
      const failed = account?.failed
      // Other names are another matter.
      if (failed !== undefined && String(failed.domains) === String(this.#options.domains)) {
        this.#dueAtMs = Math.max(this.#dueAtMs, failed.retryAtMs)
      }
    } catch (error) {
      this.#running = undefined
      throw error
    }
  }

  /**
   * Asks the authority in the background when it is time, now or later. To be called once its questions can be answered: an
   * attempt that fails keeps the next one waiting for minutes.
   */
  obtain(): void {
    if (this.#running === undefined || this.#isLooking) return
    this.#isLooking = true
    this.#look(this.#running)
  }

  async close(): Promise<void> {
    this.#running?.abort()
    this.#running = undefined
    this.#isLooking = false
    this.#timer?.cancel()
    await this.#attempt
  }

  #look(running: AbortController): void {
    const waitMs = this.#dueAtMs - this.#parts.clock.wallMs()
    if (waitMs > 0) {
      this.#timer = this.#parts.clock.after(Math.min(waitMs, LOOK_MS), () => this.#look(running))
      return
    }
    this.#attempt = this.#try(running).then(() => {
      if (!running.signal.aborted) this.#look(running)
    })
  }

  /** Never rejects; sets when it is due again. */
  async #try({ signal }: AbortController): Promise<void> {
    const { order = orderCertificate, clock } = this.#parts
    this.#log.info({ directory: this.#options.directoryUrl }, 'certificate ordered')
    try {
      const options = this.#options
      await this.#take(
        await order({ options, store: this.#store, answers: this.answers, clock, signal }),
        signal,
      )
    } catch (error) {
      if (!signal.aborted) await this.#failed(error)
    }
  }

  async #take(certificate: Certificate, signal: AbortSignal): Promise<void> {
    const { clock, onChange } = this.#parts
    // Throws for what no listener could use.
    tlsContextOptions(certificate)
    // Never at once, whatever an authority gives.
    const earliestMs = clock.wallMs() + retryDelay(1, this.#random())
    this.#dueAtMs = Math.max(this.#renewalTimeOf(certificate), earliestMs)
    this.#certificate = certificate
    this.#log.info({ renewAt: new Date(this.#dueAtMs).toISOString() }, 'certificate obtained')
    try {
      await this.#store.saveCertificate(certificate)
      await this.#saveFailures(undefined)
    } catch (error) {
      // It serves all the same; ordering another one would end the same way, and in the limits of the authority.
      this.#log.error({ code: errorCode(error), err: error }, 'certificate not saved')
    }
    this.#attempts.inc({ result: 'done' })
    if (!signal.aborted) onChange()
  }

  async #failed(reason: unknown): Promise<void> {
    const { clock } = this.#parts
    const account = await this.#store.account().catch(() => undefined)
    const count = (account?.failed?.count ?? this.#failuresUnsaved) + 1
    this.#failuresUnsaved = count
    const wantedMs = reason instanceof AcmeError ? reason.retryAfterMs : 0
    this.#dueAtMs = clock.wallMs() + Math.max(retryDelay(count, this.#random()), wantedMs)
    const retryAt = new Date(this.#dueAtMs).toISOString()
    this.#log.warn(
      { code: errorCode(reason), err: reason, failures: count, retryAt },
      'certificate not obtained',
    )
    const { domains } = this.#options
    await this.#saveFailures({ domains, count, retryAtMs: this.#dueAtMs }).catch(() => {})
    this.#attempts.inc({ result: errorCode(reason) })
  }

  async #saveFailures(failed: AcmeFailures | undefined): Promise<void> {
    if (failed === undefined) this.#failuresUnsaved = 0
    const account = await this.#store.account()
    if (account !== undefined) await this.#store.saveAccount({ ...account, failed })
  }

  #renewalTimeOf(certificate: Certificate): number {
    return renewalTime(certificate, this.#options.domains, this.#random())
  }
}
