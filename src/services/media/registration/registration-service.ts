import type { AddressInfo } from 'node:net'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import { constantTimeEqual } from '../../../foundation/constant-time.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import {
  type Balancer,
  type OriginAnnouncement,
  type OriginId,
  originIdOf,
  type OriginRegistry,
  originView,
  type StreamKey,
} from '../../../mechanisms/balancer/index.ts'
import { type ApiReply, type ApiRequest, type ApiRoute, HttpApi } from '../../../mechanisms/http-api/index.ts'
import type { ListenAddress } from '../../../mechanisms/net/index.ts'
import { Counter, LinePace, type Logger, type Registry } from '../../../mechanisms/telemetry/index.ts'
import { parseAnnouncement } from './announcement.ts'
import { EarlyHooks } from './early-hooks.ts'
import { registrationError } from './errors.ts'
import { parseSrsHook, type SrsHook } from './srs-hook.ts'

/** Options of the registration API. */
export interface RegistrationServiceOptions {
  readonly origins: Pick<OriginRegistry, 'announce' | 'findOrigin' | 'list'> & Pick<Balancer, 'follow'>
  readonly logger: Logger
  readonly registry: Registry
  /** Version of this program, shown at `/api/v1/versions`. */
  readonly version: string
  /** @defaultValue 127.0.0.1:12025 */
  readonly listen?: ListenAddress
  /** The key of a stream that an origin names in a callback. @throws BALANCER_BAD_STREAM_KEY */
  readonly streamKeyOf: (place: Pick<SrsHook, 'vhost' | 'app' | 'stream'>) => StreamKey
  /**
   * Bearer token that origins must send. SRS sends no header, and takes it as the last part of the URL's path.
   * @defaultValue none is asked for
   */
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
  readonly #refusals: LinePace
  readonly #results: Counter<'result'>
  readonly #hooks: Counter<'result'>
  readonly #early = new EarlyHooks()
  readonly #streamKeyOf: RegistrationServiceOptions['streamKeyOf']
  readonly #api: HttpApi
  readonly #pid = String(process.pid)

  /** @throws NET_BAD_RANGE when `allow` holds a text that is no range */
  constructor(options: RegistrationServiceOptions) {
    const { origins, logger, registry, version, listen = DEFAULT_LISTEN, clock = systemClock } = options
    this.#origins = origins
    this.#streamKeyOf = options.streamKeyOf
    this.#log = logger.child({ component: 'registration' })
    this.#clock = clock
    this.#refusals = new LinePace(clock)
    this.#results = new Counter({
      name: 'sluice_registrations_total',
      help: 'Requests to the registration API, by whether they were accepted.',
      labelNames: ['result'],
      registers: [registry],
    })
    this.#hooks = new Counter({
      name: 'sluice_origin_hooks_total',
      help: 'Callbacks of origins about their streams, by what came of them.',
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
        ...routesWithToken('/api/v1/srs/register', options.token, (request) => this.#register(request)),
        ...routesWithToken('/api/v1/srs/hooks', options.token, (request) => this.#hook(request)),
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
        const { code, message: reason } = error
        const due = this.#refusals.due(`${remoteAddress} ${code}`)
        if (due === undefined) return
        this.#log.warn({ from: remoteAddress, code, reason, ...due }, 'registration refused')
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
      this.#logRegistered(id, announcement)
      for (const key of this.#early.take(announcement)) await this.#follow(key, id, true)
    } else if (before.state !== 'healthy') {
      this.#log.info({ origin: id, was: before.state }, 'origin is healthy again')
    }
    return { json: { code: 0, pid: this.#pid } }
  }

  #logRegistered(
    id: OriginId,
    { ip, deviceId, rtmp, http, api, srt, rtc, zone, weight }: OriginAnnouncement,
  ): void {
    this.#log.info({ origin: id, ip, deviceId, rtmp, http, api, srt, rtc, zone, weight }, 'origin registered')
  }

  /** SRS ends a publisher when a callback is answered with anything but 200 and 0, so what is of no use gets that too. */
  async #hook(request: ApiRequest): Promise<ApiReply> {
    const hook = parseSrsHook(await request.readBody())
    const result = hook === undefined ? 'ignored' : await this.#heed(hook)
    this.#hooks.inc({ result })
    return { json: { code: 0 } }
  }

  async #heed(hook: SrsHook): Promise<'ignored' | 'early' | 'followed' | 'elsewhere'> {
    let key: StreamKey
    try {
      key = this.#streamKeyOf(hook)
    } catch (error) {
      this.#log.debug({ server: hook.server, code: errorCode(error) }, 'stream of a callback has no key')
      return 'ignored'
    }
    const origin = (await this.#origins.list()).find(
      ({ server, service }) => server === hook.server && service === hook.service,
    )
    if (origin !== undefined)
      return (await this.#follow(key, origin.id, hook.isLive)) ? 'followed' : 'elsewhere'
    this.#early.note(hook, key, hook.isLive)
    return 'early'
  }

  async #follow(key: StreamKey, origin: OriginId, isLive: boolean): Promise<boolean> {
    try {
      return await this.#origins.follow(key, origin, isLive)
    } catch (error) {
      this.#log.debug({ origin, code: errorCode(error) }, 'stream of a callback not followed')
      return false
    }
  }

  async #list(): Promise<ApiReply> {
    const now = this.#clock.wallMs()
    const origins = (await this.#origins.list()).map((origin) => originView(origin, now))
    return { json: { code: 0, pid: this.#pid, origins } }
  }
}

/** A path, and the same with the token as its last part, for who can send no header. */
function routesWithToken(
  path: string,
  token: string | undefined,
  handle: (request: ApiRequest) => Promise<ApiReply>,
): readonly ApiRoute[] {
  const method = ['POST', 'PUT'] as const
  const plain = { method, path, handle }
  if (token === undefined) return [plain]
  const withToken = {
    method,
    path: `${path}/:token`,
    isOpen: true,
    handle: (request: ApiRequest): Promise<ApiReply> => {
      if (constantTimeEqual(request.params['token'] ?? '', token)) return handle(request)
      throw registrationError('REGISTRATION_UNAUTHORIZED', 'the token in the path is wrong', 401)
    },
  }
  return [plain, withToken]
}
