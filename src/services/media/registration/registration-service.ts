import type { AddressInfo } from 'node:net'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import { originIdOf, type OriginRegistry, originView } from '../../../mechanisms/balancer/index.ts'
import { type ApiReply, type ApiRequest, HttpApi } from '../../../mechanisms/http-api/index.ts'
import type { ListenAddress } from '../../../mechanisms/net/index.ts'
import { Counter, type Logger, type Registry } from '../../../mechanisms/telemetry/index.ts'
import { parseAnnouncement } from './announcement.ts'
import { RefusalLog } from './refusal-log.ts'

/** Options of the registration API. */
export interface RegistrationServiceOptions {
  readonly origins: Pick<OriginRegistry, 'announce' | 'findOrigin' | 'list'>
  readonly logger: Logger
  readonly registry: Registry
  /** Version of this program, shown at `/api/v1/versions`. */
  readonly version: string
  /** @defaultValue 127.0.0.1:12025 */
  readonly listen?: ListenAddress
  /** Bearer token that origins must send. @defaultValue none is asked for */
  readonly token?: string
  /** Addresses and CIDR ranges that may register. Empty: every address. @defaultValue [] */
  readonly allow?: readonly string[]
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

const DEFAULT_LISTEN: ListenAddress = { host: '127.0.0.1', port: 12025 }
/** With `summaries on` an SRS sends a large object. */
const MAX_BODY_BYTES = 1024 * 1024

/**
 * The HTTP API where origins announce themselves, as SRS does every few seconds. Reference: origin registration.
 */
export class RegistrationService implements Lifecycle {
  readonly #origins: RegistrationServiceOptions['origins']
  readonly #log: Logger
  readonly #clock: Clock
  readonly #refusals: RefusalLog
  readonly #results: Counter<'result'>
  readonly #api: HttpApi
  readonly #pid = String(process.pid)

  /** @throws NET_BAD_RANGE when `allow` holds a text that is no range */
  constructor(options: RegistrationServiceOptions) {
    const { origins, logger, registry, version, listen = DEFAULT_LISTEN, clock = systemClock } = options
    this.#origins = origins
    this.#log = logger.child({ component: 'registration' })
    this.#clock = clock
    this.#refusals = new RefusalLog(clock)
    this.#results = new Counter({
      name: 'sluice_registrations_total',
      help: 'Requests to the registration API, by whether they were accepted.',
      labelNames: ['result'],
      registers: [registry],
    })
    this.#api = new HttpApi({
      listen,
      log: this.#log,
      serverHeader: `Sluice/${version}`,
      maxBodyBytes: MAX_BODY_BYTES,
      ...(options.token !== undefined && { token: options.token }),
      ...(options.allow !== undefined && { allow: options.allow }),
      routes: [
        {
          method: ['POST', 'PUT'],
          path: '/api/v1/srs/register',
          handle: (request) => this.#register(request),
        },
        { method: 'GET', path: '/api/v1/origins', handle: () => this.#list() },
        {
          method: 'GET',
          path: '/api/v1/versions',
          isOpen: true,
          handle: () => ({ json: { signature: 'Sluice', version } }),
        },
      ],
      // Origins look at `code` alone, if at anything: 0 is success.
      errorFields: (status) => ({ code: status, pid: this.#pid }),
      onError: (error, { remoteAddress }) => {
        // Somebody who looks around is no origin.
        if (error.code === 'API_NOT_FOUND') return
        this.#results.inc({ result: 'refused' })
        if (!this.#refusals.isDue(remoteAddress, error.code)) return
        this.#log.warn(
          { from: remoteAddress, code: error.code, reason: error.message },
          'registration refused',
        )
      },
    })
  }

  /** Where it listens; undefined before `start` and after `close`. */
  get address(): AddressInfo | undefined {
    return this.#api.address
  }

  /** @throws NET_PORT_TAKEN and what else `listenTcp` throws */
  start(options?: StartOptions): Promise<void> {
    return this.#api.start(options)
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#api.close(options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #register(request: ApiRequest): Promise<ApiReply> {
    const announcement = parseAnnouncement(await request.readBody())
    const before = await this.#origins.findOrigin(originIdOf(announcement))
    const id = await this.#origins.announce(announcement)
    this.#results.inc({ result: 'accepted' })
    if (before === undefined) {
      const { ip, deviceId, rtmp, http, api, srt, rtc } = announcement
      this.#log.info({ origin: id, ip, deviceId, rtmp, http, api, srt, rtc }, 'origin registered')
    } else if (before.state !== 'healthy') {
      this.#log.info({ origin: id, was: before.state }, 'origin is healthy again')
    }
    return { json: { code: 0, pid: this.#pid } }
  }

  async #list(): Promise<ApiReply> {
    const now = this.#clock.wallMs()
    const origins = (await this.#origins.list()).map((origin) => originView(origin, now))
    return { json: { code: 0, pid: this.#pid, origins } }
  }
}
