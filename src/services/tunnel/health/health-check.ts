import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { HealthCheckConfig } from '../../../mechanisms/frp-config/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { probeHttp, probeTcp } from './probe.ts'

/** Options of a health check. */
export interface HealthCheckOptions {
  readonly config: HealthCheckConfig
  /** Of the local service. */
  readonly host: string
  readonly port: number
  /** For the log. */
  readonly proxyName: string
  readonly log: Logger
  readonly clock: Clock
  /** The service answers, for the first time or again. */
  readonly onHealthy: () => void
  /** It was healthy, and `maxFailed` checks on end have failed. */
  readonly onUnhealthy: () => void
}

/**
 * Asks a local service every `intervalSeconds` whether it is there. It counts as ill until the first success; a success
 * also forgets the failures before it.
 */
export class HealthCheck {
  readonly #options: HealthCheckOptions
  #isHealthy = false
  /** Failures since the last success. */
  #failures = 0
  #timer: Timer | undefined
  #run: AbortController | undefined

  constructor(options: HealthCheckOptions) {
    this.#options = options
  }

  get isHealthy(): boolean {
    return this.#isHealthy
  }

  /** Makes the first check now. */
  start(): void {
    if (this.#run !== undefined) return
    this.#run = new AbortController()
    void this.#check(this.#run)
  }

  /** Breaks off the check that is under way; nobody is told anything any more. */
  stop(): void {
    this.#timer?.cancel()
    this.#run?.abort()
    this.#run = undefined
  }

  /** Never rejects. */
  async #check(run: AbortController): Promise<void> {
    const failure = await this.#probe(run.signal)
    if (run.signal.aborted) return
    const delayMs = this.#options.config.intervalSeconds * 1000
    this.#timer = this.#options.clock.after(delayMs, () => void this.#check(run))
    // Last: whoever is told may stop the check.
    if (failure === undefined) this.#succeed()
    else this.#fail(failure)
  }

  /** Why the service is not well; undefined: it is. */
  async #probe(stopped: AbortSignal): Promise<string | undefined> {
    const { config, host, port, clock } = this.#options
    const late = new AbortController()
    const timer = clock.after(config.timeoutSeconds * 1000, () => {
      late.abort(new Error(`no answer within ${config.timeoutSeconds} s`))
    })
    const signal = AbortSignal.any([stopped, late.signal])
    try {
      if (config.type === 'tcp') await probeTcp({ host, port }, signal)
      else await probeHttp({ host, port, path: config.path, headers: config.httpHeaders }, signal)
      return undefined
    } catch (error) {
      return errorMessage(error)
    } finally {
      timer.cancel()
    }
  }

  #succeed(): void {
    this.#failures = 0
    if (this.#isHealthy) return
    this.#isHealthy = true
    const { log, proxyName, onHealthy } = this.#options
    log.info({ proxy: proxyName }, 'health check success')
    onHealthy()
  }

  #fail(reason: string): void {
    this.#failures++
    const { log, proxyName, config, onUnhealthy } = this.#options
    const fields = { proxy: proxyName, reason, failures: this.#failures }
    // The first of a row says why; a service that stays away does not fill the log.
    if (this.#failures === 1) log.warn(fields, 'do one health check failed')
    else log.debug(fields, 'do one health check failed')
    if (!this.#isHealthy || this.#failures < config.maxFailed) return
    this.#isHealthy = false
    log.info({ proxy: proxyName }, 'health check failed')
    onUnhealthy()
  }
}
