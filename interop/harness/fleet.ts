import { type Gateway, type GatewayOptions, type GatewayPorts, startGateway } from './gateway.ts'
import { Rotation } from './rotation.ts'
import { TcpBalancer } from './tcp-balancer.ts'
import { UdpBalancer } from './udp-balancer.ts'
import { until } from './until.ts'

type Sections = NonNullable<GatewayOptions['config']>

export interface FleetOptions {
  /** Their `[redis]`. */
  readonly redis: Sections
  /** @defaultValue 3 */
  readonly gateways?: number
  /** Further keys of their configuration. */
  readonly config?: Sections
}

/** That of `openStore`, so that tests can read what is sealed. */
const FLEET_SECRET = 'the secret of all gateways'

/** How long a gateway is missed before it is gone, in seconds: the shortest that may be configured. */
const LEASE_SECONDS = 3

/** A gateway as `/api/v1/fleet` shows it, in part. */
export interface ShownGateway {
  readonly id: string
  readonly draining: boolean
  readonly addresses: { readonly webrtc: readonly string[]; readonly admin: readonly string[] }
}

/** `/readyz`. */
export interface ShownReadiness {
  readonly status: number
  readonly degraded: boolean
}

/** Gateways as processes that share a Redis, behind balancers; the address of these is all that clients and origins know. */
export class GatewayFleet implements AsyncDisposable {
  readonly #options: FleetOptions
  readonly #gateways: Gateway[] = []
  readonly rotation: Rotation
  readonly web: TcpBalancer
  readonly rtmp: TcpBalancer
  /** Origins may come to a gateway that is not ready: it is so because none has come. */
  readonly registration: TcpBalancer
  readonly media: UdpBalancer

  private constructor(options: FleetOptions, rotation: Rotation, balancers: Balancers) {
    this.#options = options
    this.rotation = rotation
    this.web = balancers.web
    this.rtmp = balancers.rtmp
    this.registration = balancers.registration
    this.media = balancers.media
    rotation.onLook(() => this.media.moveStranded())
  }

  /** Starts all of them. Resolves when each knows the others. */
  static async start(options: FleetOptions): Promise<GatewayFleet> {
    const rotation = new Rotation()
    const ready = (which: keyof GatewayPorts) => (): readonly number[] =>
      rotation.ready.map(({ ports }) => ports[which])
    const fleet = new GatewayFleet(options, rotation, {
      web: await TcpBalancer.start({ targets: ready('http') }),
      rtmp: await TcpBalancer.start({ targets: ready('rtmp') }),
      registration: await TcpBalancer.start({
        targets: () => rotation.alive.map(({ ports }) => ports.registration),
      }),
      media: await UdpBalancer.start({ targets: ready('webrtc') }),
    })
    try {
      const starting = Array.from({ length: options.gateways ?? 3 }, () => fleet.#startOne())
      const failed = (await Promise.allSettled(starting)).find(({ status }) => status === 'rejected')
      if (failed?.status === 'rejected') throw failed.reason
      await fleet.untilKnown()
    } catch (error) {
      await fleet[Symbol.asyncDispose]()
      throw error
    }
    return fleet
  }

  /** Those that have not been killed. */
  get gateways(): readonly Gateway[] {
    return [...this.#gateways]
  }

  /** Where clients speak HTTP. */
  get url(): string {
    return `http://127.0.0.1:${this.web.port}`
  }

  get rtmpUrl(): string {
    return `rtmp://127.0.0.1:${this.rtmp.port}`
  }

  get registrationUrl(): string {
    return `http://127.0.0.1:${this.registration.port}/api/v1/srs/register`
  }

  /** Starts another gateway. Resolves when all know one another. */
  async add(): Promise<Gateway> {
    const gateway = await this.#startOne()
    await this.untilKnown()
    return gateway
  }

  /** Ends one without a farewell, as a crash does. Balancers find out by themselves, others when its lease is over. */
  async kill(gateway: Gateway): Promise<void> {
    gateway.program.kill('SIGKILL')
    await gateway.program.ended
    this.forget(gateway)
  }

  /** For one that has ended. */
  forget(gateway: Gateway): void {
    this.#gateways.splice(this.#gateways.indexOf(gateway), 1)
  }

  /** Resolves when every gateway shows exactly those that run. */
  async untilKnown(): Promise<void> {
    for (const gateway of this.#gateways) {
      await until(
        'gateways that know one another',
        async () => (await membersOf(gateway)).length === this.#gateways.length,
        { deadlineMs: 30_000 },
      )
    }
  }

  /** Resolves when origins have come, so that all gateways get clients. */
  async untilReady(): Promise<void> {
    await this.rotation.untilReady(this.#gateways)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rotation[Symbol.asyncDispose]()
    await Promise.all(this.#gateways.map((gateway) => gateway.stop()))
    for (const balancer of [this.web, this.rtmp, this.registration, this.media]) {
      await balancer[Symbol.asyncDispose]()
    }
  }

  async #startOne(): Promise<Gateway> {
    const { redis, config = {} } = this.#options
    const media = config['media'] as { readonly webrtc?: Sections } | undefined
    const publicAddresses = [{ address: '127.0.0.1', port: this.media.port }]
    const gateway = await startGateway({
      config: {
        redis,
        fleet: { secret: FLEET_SECRET, leaseSeconds: LEASE_SECONDS },
        ...config,
        media: { ...media, webrtc: { ...media?.webrtc, publicAddresses } },
      },
    })
    this.#gateways.push(gateway)
    await this.rotation.add(gateway)
    return gateway
  }
}

type Balancers = Pick<GatewayFleet, 'web' | 'rtmp' | 'registration' | 'media'>

/** The gateways that one of them knows. */
export async function membersOf(gateway: Gateway): Promise<readonly ShownGateway[]> {
  const { gateways } = await askAdmin<{ readonly gateways: readonly ShownGateway[] }>(
    gateway,
    '/api/v1/fleet',
  )
  return gateways
}

/** What a gateway says to those who ask whether it is to get clients. */
export async function readinessOf(gateway: Gateway): Promise<ShownReadiness> {
  const response = await fetch(`http://127.0.0.1:${gateway.ports.admin}/readyz`)
  const { degraded = false } = (await response.json()) as { readonly degraded?: boolean }
  return { status: response.status, degraded }
}

/** Asks the admin API of a gateway. @throws Error unless it answers with 200 */
export async function askAdmin<T>(gateway: Gateway, path: string): Promise<T> {
  const response = await fetch(`http://127.0.0.1:${gateway.ports.admin}${path}`)
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
  return (await response.json()) as T
}
