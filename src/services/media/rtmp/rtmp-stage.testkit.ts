import { connect, type Socket } from 'node:net'
import { ManualClock } from '../../../foundation/clock.ts'
import {
  MemoryBalancerStore,
  type OriginAnnouncement,
  type OriginId,
  streamKeyOfRtmp,
} from '../../../mechanisms/balancer/index.ts'
import { Registry, silentLogger } from '../../../mechanisms/telemetry/index.ts'
import type { Access, AccessRequest, Admission, BandwidthLimit } from '../access/index.ts'
import type { RtmpServiceOptions } from './options.ts'
import { RtmpService } from './rtmp-service.ts'
import { FakeOrigin, type FakeOriginOptions, TestClient, until } from './rtmp-service.testkit.ts'

type ClientFields = ConstructorParameters<typeof TestClient>[1]

/** A service with origins and clients on real sockets, under a clock that is moved by hand. Disposing closes all. */
export class RtmpStage implements AsyncDisposable {
  readonly clock = new ManualClock()
  readonly store = new MemoryBalancerStore({ clock: this.clock, random: () => 0 })
  readonly registry = new Registry()
  readonly #opened: AsyncDisposable[] = []

  async origin(name: string, options: FakeOriginOptions = {}): Promise<FakeOrigin> {
    const origin = await new FakeOrigin(options).start()
    this.#opened.push(origin)
    await this.announce(name, { rtmp: [origin.port] })
    return origin
  }

  announce(name: string, fields: Partial<OriginAnnouncement>): Promise<OriginId> {
    const lists = { rtmp: [], http: [], api: [], srt: [], rtc: [] }
    return this.store.announce({ ip: '127.0.0.1', server: name, service: 's', pid: '1', ...lists, ...fields })
  }

  async service(options: Partial<RtmpServiceOptions> = {}): Promise<RtmpService> {
    const service = new RtmpService({
      listen: [{ host: '127.0.0.1', port: 0 }],
      balancer: this.store,
      origins: this.store,
      streamKeyOf: ({ tcUrl, app, streamName }) =>
        streamKeyOfRtmp(tcUrl || `/${app}`, streamName, { keys: 'normal', vhosts: [] }),
      logger: silentLogger(),
      registry: this.registry,
      clock: this.clock,
      ...options,
    })
    this.#opened.push(service)
    await service.start()
    return service
  }

  client(service: RtmpService, fields: ClientFields = {}, open?: () => Socket): TestClient {
    const client = new TestClient(service.ports[0] ?? 0, fields, open)
    this.#opened.push(client)
    return client
  }

  /** A connection without a dialogue. */
  socket(port: number): Socket {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.resume()
    this.#opened.push({ [Symbol.asyncDispose]: async () => void socket.destroy() })
    return socket
  }

  /** Closes with the stage. */
  own<T extends AsyncDisposable>(thing: T): T {
    this.#opened.push(thing)
    return thing
  }

  async errorCount(code: string): Promise<number> {
    const metric = await this.registry.getSingleMetric('sluice_rtmp_errors_total')!.get()
    return metric.values.find((value) => value.labels['code'] === code)?.value ?? 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const thing of this.#opened.splice(0).toReversed()) await thing[Symbol.asyncDispose]()
    await until(() => this.clock.pending === 0)
  }
}

/** An access that remembers who asked, and what became of whom it let in. */
export class FakeAccess implements Access {
  readonly requests: AccessRequest[] = []
  readonly endings: AbortController[] = []
  /** Of each admission, how often it was ended. */
  readonly ended: number[] = []
  limits: readonly BandwidthLimit[] = []
  /** Throws to refuse. */
  decide: (request: AccessRequest) => Promise<void> | void = () => {}

  async admit(request: AccessRequest): Promise<Admission> {
    this.requests.push(request)
    await this.decide(request)
    const ending = new AbortController()
    this.endings.push(ending)
    const index = this.ended.push(0) - 1
    return {
      limits: this.limits,
      signal: ending.signal,
      end: () => void (this.ended[index] = (this.ended[index] ?? 0) + 1),
    }
  }
}
