import type { AddressInfo } from 'node:net'
import { z } from 'zod'
import { type Clock, systemClock } from '../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import type { SessionDirectory } from '../../foundation/session-info.ts'
import {
  type Balancer,
  isOriginId,
  type OriginId,
  type OriginRegistry,
  originView,
  parseStreamKey,
} from '../../mechanisms/balancer/index.ts'
import { type Fleet, gatewayId, LoneFleet, ProcessLoad } from '../../mechanisms/fleet/index.ts'
import { type ApiReply, type ApiRequest, type ApiRoute, HttpApi } from '../../mechanisms/http-api/index.ts'
import { formatListenAddress, type ListenAddress } from '../../mechanisms/net/index.ts'
import type { Redis } from '../../mechanisms/redis/index.ts'
import type { Logger, Registry } from '../../mechanisms/telemetry/index.ts'
import { type DrainControl, drainRoutes } from './drain-routes.ts'
import { badBody, notFound } from './errors.ts'
import { isoTime } from './gateway-view.ts'
import { type ReadinessCheck, readinessView } from './readiness.ts'
import { statusRoutes } from './status-routes.ts'

/** Options of the admin API. */
export interface AdminServiceOptions {
  readonly balancer: Pick<OriginRegistry, 'list' | 'drain' | 'remove'> &
    Pick<Balancer, 'streams' | 'clearPick' | 'pin'>
  /** Whoever has sessions. */
  readonly sessions: readonly SessionDirectory[]
  readonly readiness: readonly ReadinessCheck[]
  /** Who the gateways are. @defaultValue this one alone */
  readonly fleet?: Pick<Fleet, 'id' | 'members'>
  /** What gateways share; its state is shown. @defaultValue they share nothing */
  readonly redis?: Pick<Redis, 'isUp'>
  /** Takes this gateway out of rotation. @defaultValue that is refused */
  readonly drain?: DrainControl
  /** Routes of other services, under the same token. @defaultValue none */
  readonly routes?: readonly ApiRoute[]
  /** What `/metrics` shows. */
  readonly registry: Registry
  readonly logger: Logger
  readonly version: string
  /** @defaultValue 127.0.0.1:9190 */
  readonly listen?: ListenAddress
  /** Bearer token for everything but `/healthz` and `/readyz`. @defaultValue none is asked for */
  readonly token?: string
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

const DEFAULT_LISTEN: ListenAddress = { host: '127.0.0.1', port: 9190 }

/** The HTTP API of operators: health, metrics, origins, streams and sessions. */
export class AdminService implements Lifecycle {
  readonly #options: AdminServiceOptions
  readonly #log: Logger
  readonly #clock: Clock
  readonly #load: ProcessLoad
  readonly #api: HttpApi

  constructor(options: AdminServiceOptions) {
    const { listen = DEFAULT_LISTEN, clock = systemClock, logger, token, version } = options
    this.#options = options
    this.#clock = clock
    this.#log = logger.child({ component: 'admin' })
    this.#load = new ProcessLoad(clock)
    this.#api = new HttpApi({
      listen,
      log: this.#log,
      serverHeader: `Sluice/${version}`,
      ...(token !== undefined && { token }),
      routes: this.#routes(),
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

  #routes(): readonly ApiRoute[] {
    const { fleet = this.#loneFleet(), redis, balancer, sessions, readiness, drain } = this.#options
    return [
      { method: 'GET', path: '/healthz', isOpen: true, handle: () => ({ text: 'ok\n' }) },
      { method: 'GET', path: '/readyz', isOpen: true, handle: () => this.#readiness() },
      { method: 'GET', path: '/metrics', handle: () => this.#metrics() },
      { method: 'GET', path: '/api/v1/origins', handle: () => this.#origins() },
      {
        method: ['POST'],
        path: '/api/v1/origins/:id/drain',
        handle: (request) => this.#drainOrigin(request, true),
      },
      {
        method: ['POST'],
        path: '/api/v1/origins/:id/undrain',
        handle: (request) => this.#drainOrigin(request, false),
      },
      { method: 'DELETE', path: '/api/v1/origins/:id', handle: (request) => this.#removeOrigin(request) },
      ...statusRoutes({ fleet, redis, balancer, sessions, readiness, clock: this.#clock }),
      ...drainRoutes(drain, this.#log),
      { method: ['PUT'], path: '/api/v1/picks/:key', handle: (request) => this.#pin(request) },
      { method: 'DELETE', path: '/api/v1/picks/:key', handle: (request) => this.#clearPick(request) },
      { method: 'GET', path: '/api/v1/sessions', handle: () => this.#sessions() },
      { method: 'DELETE', path: '/api/v1/sessions/:id', handle: (request) => this.#kick(request) },
      ...(this.#options.routes ?? []),
    ]
  }

  #readiness(): ApiReply {
    const view = readinessView(this.#options.readiness)
    return { status: view.ready ? 200 : 503, json: view }
  }

  async #metrics(): Promise<ApiReply> {
    const { registry } = this.#options
    return { text: await registry.metrics(), contentType: registry.contentType }
  }

  async #origins(): Promise<ApiReply> {
    const now = this.#clock.wallMs()
    const origins = await this.#options.balancer.list()
    return { json: { origins: origins.map((origin) => originView(origin, now)) } }
  }

  async #drainOrigin({ params }: ApiRequest, draining: boolean): Promise<ApiReply> {
    const id = originIdParam(params)
    if (!(await this.#options.balancer.drain(id, draining))) throw noSuchOrigin(id)
    this.#log.info({ origin: id }, draining ? 'origin drains' : 'origin drains no more')
    return { json: { id, draining } }
  }

  async #removeOrigin({ params }: ApiRequest): Promise<ApiReply> {
    const id = originIdParam(params)
    if (!(await this.#options.balancer.remove(id))) throw noSuchOrigin(id)
    this.#log.info({ origin: id }, 'origin removed')
    return { json: { id } }
  }

  async #clearPick({ params }: ApiRequest): Promise<ApiReply> {
    const key = parseStreamKey(params['key'] ?? '')
    if (!(await this.#options.balancer.clearPick(key))) {
      throw notFound('ADMIN_NO_SUCH_PICK', `${key} is not kept at an origin`)
    }
    this.#log.info({ stream: key }, 'pick cleared')
    return { json: { key } }
  }

  /** `{"origin": "<id>"}`: whoever comes for the stream goes there. */
  async #pin({ params, readBody }: ApiRequest): Promise<ApiReply> {
    const key = parseStreamKey(params['key'] ?? '')
    const id = pinnedOrigin(await readBody())
    if (!(await this.#options.balancer.pin(key, id))) throw noSuchOrigin(id)
    this.#log.info({ stream: key, origin: id }, 'stream pinned')
    return { json: { key, origin: id } }
  }

  #sessions(): ApiReply {
    const sessions = this.#options.sessions.flatMap((directory) => directory.listSessions())
    return {
      json: { sessions: sessions.map(({ sinceMs, ...shown }) => ({ ...shown, since: isoTime(sinceMs) })) },
    }
  }

  /** For a gateway that was made without one. */
  #loneFleet(): LoneFleet {
    const { sessions, drain, version } = this.#options
    return new LoneFleet({
      id: gatewayId('gateway'),
      version,
      clock: this.#clock,
      describe: () => ({
        addresses: { admin: this.address === undefined ? [] : [addressText(this.address)] },
        isDraining: drain?.state().isDraining ?? false,
        load: {
          sessions: sessions.reduce((sum, directory) => sum + directory.sessionCount, 0),
          allocations: 0,
          tunnelClients: 0,
          ...this.#load.read(),
        },
      }),
    })
  }

  #kick({ params }: ApiRequest): ApiReply {
    const id = params['id'] ?? ''
    if (!this.#options.sessions.some((directory) => directory.kickSession(id))) {
      throw notFound('ADMIN_NO_SUCH_SESSION', `no session ${id}`)
    }
    this.#log.info({ session: id }, 'session kicked')
    return { json: { id } }
  }
}

function originIdParam({ id = '' }: ApiRequest['params']): OriginId {
  if (isOriginId(id)) return id
  throw noSuchOrigin(id)
}

function pinnedOrigin(body: Buffer): OriginId {
  try {
    const { success, data } = pinSchema.safeParse(JSON.parse(body.toString()))
    if (success && isOriginId(data.origin)) return data.origin
  } catch {
    // Told below, without the parser's words, which may repeat the body.
  }
  throw badBody('the body must be {"origin": "<id of an origin>"}')
}

const pinSchema = z.object({ origin: z.string() })

function noSuchOrigin(id: string): Error {
  return notFound('ADMIN_NO_SUCH_ORIGIN', `no origin ${id}`)
}

function addressText({ address, port }: AddressInfo): string {
  return formatListenAddress({ host: address, port })
}
