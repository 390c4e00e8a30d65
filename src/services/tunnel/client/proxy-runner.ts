import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Timer } from '../../../foundation/clock.ts'
import type { ProxyConfig } from '../../../mechanisms/frp-config/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { NewProxy, NewProxyResp, StartWorkConn } from '../../../protocols/frp/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import { HealthCheck } from '../health/health-check.ts'
import type { ProxyPhase, ProxyStatus } from './contract.ts'
import { newProxyMessage } from './new-proxy.ts'
import type { Agreed, ProxyService, ServiceParts } from './proxy-service.ts'
import { StreamService } from './stream-service.ts'
import { UdpService } from './udp-service.ts'
import { wireName } from './wire-name.ts'

/** A login as a proxy needs it. */
export interface Registrar extends Agreed {
  readonly log: Logger
  /** `onAnswer` is called at most once, never within the call. */
  registerProxy(
    message: Partial<NewProxy> & { readonly proxy_name: string },
    onAnswer: (answer: NewProxyResp) => void,
  ): void
  closeProxy(name: string): void
}

/** Registered again when no answer came for so long, in milliseconds (reference §9). */
const answerMs = 20_000
/** Registered again so long after the server refused it. */
const retryMs = 30_000

/** One proxy: registered with whichever login there is, while its service is well (reference §9). */
export class ProxyRunner {
  readonly config: ProxyConfig
  readonly #parts: ServiceParts
  readonly #wireName: string
  readonly #service: ProxyService
  readonly #health: HealthCheck | undefined
  #session: Registrar | undefined
  #phase: ProxyPhase = 'new'
  #error = ''
  #remoteAddr = ''
  #timer: Timer | undefined
  #registration = 0
  /** Answers to those before were made void. */
  #firstValid = 0

  constructor(config: ProxyConfig, user: string, parts: ServiceParts) {
    this.config = config
    this.#parts = parts
    this.#wireName = wireName(user, config.name)
    const own = { ...parts, log: parts.log.child({ proxy: config.name }) }
    const isDatagrams = config.type === 'udp' || config.type === 'sudp'
    this.#service = isDatagrams ? new UdpService(config, own) : new StreamService(config, own)
    this.#health = this.#healthCheck()
  }

  get status(): ProxyStatus {
    const { name, type } = this.config
    return {
      name,
      type,
      phase: this.#phase,
      error: this.#error,
      remoteAddr: this.#remoteAddr,
      config: this.config,
    }
  }

  start(): void {
    this.#health?.start()
  }

  /** A login is there: the proxy is registered with it as soon as its service is well. */
  attach(session: Registrar): void {
    this.#session = session
    this.#consider()
  }

  /** The login is gone; what runs goes on. */
  detach(): void {
    this.#session = undefined
    this.#forget()
    if (this.#phase !== 'closed') this.#phase = 'new'
  }

  /** Takes a work connection; closes it when the proxy does not run. */
  serve(work: ByteStream, start: StartWorkConn, agreed: Agreed): void {
    // The answer to the registration may come behind the first work connection: they are different connections.
    if (this.#phase === 'running' || this.#phase === 'wait start') this.#service.serve(work, start, agreed)
    else work.destroy(notRunning(start.proxy_name))
  }

  /** Takes the proxy back from the server. User connections run on; datagrams end. */
  close(): void {
    if (this.#phase === 'closed') return
    this.#health?.stop()
    this.#withdraw()
    this.#forget()
    this.#phase = 'closed'
    this.#service.close()
  }

  #healthCheck(): HealthCheck | undefined {
    const { healthCheck, localIP, localPort, name } = this.config
    if (healthCheck === undefined || localPort <= 0) return undefined
    const { log, clock } = this.#parts
    return new HealthCheck({
      config: healthCheck,
      host: localIP,
      port: localPort,
      proxyName: name,
      log,
      clock,
      onHealthy: () => this.#consider(),
      onUnhealthy: () => this.#consider(),
    })
  }

  /** Does what health and login ask for. */
  #consider(): void {
    if (this.#session === undefined || this.#phase === 'closed') return
    const isWell = this.#health?.isHealthy ?? true
    if (isWell) {
      if (this.#phase === 'new' || this.#phase === 'check failed') this.#register()
    } else if (this.#phase !== 'new' && this.#phase !== 'check failed') {
      this.#withdraw()
      this.#forget()
      this.#phase = 'check failed'
    }
  }

  #register(): void {
    const session = this.#session
    if (session === undefined) return
    this.#phase = 'wait start'
    this.#again(answerMs)
    const registration = ++this.#registration
    const message = { ...newProxyMessage(this.config, this.#wireName), proxy_name: this.#wireName }
    session.registerProxy(message, (answer) => {
      // The answer to one that was withdrawn says nothing about the next.
      if (this.#session !== session || registration < this.#firstValid) return
      if (this.#phase === 'wait start') this.#answered(answer, session)
    })
  }

  #answered({ error, remote_addr }: NewProxyResp, session: Registrar): void {
    const log = session.log.child({ proxy: this.config.name })
    this.#timer?.cancel()
    this.#error = error
    this.#remoteAddr = remote_addr
    if (error !== '') {
      this.#phase = 'start error'
      log.warn({ error }, 'start error')
      this.#again(retryMs)
      return
    }
    this.#phase = 'running'
    log.info('start proxy success')
  }

  #again(delayMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#parts.clock.after(delayMs, () => this.#register())
  }

  /** Tells the server, if it may have the proxy. */
  #withdraw(): void {
    this.#firstValid = this.#registration + 1
    if (this.#phase === 'running' || this.#phase === 'wait start') this.#session?.closeProxy(this.#wireName)
  }

  #forget(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#error = ''
    this.#remoteAddr = ''
  }
}

/** Why a work connection is not taken; the server sees a reset. */
export function notRunning(proxyName: string): TunnelError {
  return new TunnelError(TunnelErrorCode.noBackend, `proxy "${proxyName}" does not run here`, {
    side: 'self',
    retryable: true,
  })
}
