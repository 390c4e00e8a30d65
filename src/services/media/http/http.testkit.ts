import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { vi } from 'vitest'
import type {
  Balancer,
  Claim,
  Origin,
  OriginId,
  OriginRegistry,
  PickOptions,
  StreamKey,
} from '../../../mechanisms/balancer/index.ts'
import { createRegistry, type Registry, silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { HttpEdge, type HttpEdgeOptions } from './edge/http-edge.ts'
import type { LiveProxyOptions } from './live/live-options.ts'
import { LiveProxy } from './live/live-proxy.ts'

/** Waits for a condition, at most 15 s unless told otherwise: a busy machine takes its time. */
export async function until(condition: () => boolean, timeout = 15_000): Promise<void> {
  await vi.waitFor(
    () => {
      if (!condition()) throw new Error('not yet')
    },
    { timeout, interval: 5 },
  )
}

/** A server that speaks raw bytes, and what it was sent. */
export class FakeOrigin {
  readonly requests: string[] = []
  readonly sockets = new Set<Socket>()
  accepted = 0
  readonly #server = createServer({ allowHalfOpen: false }, (socket) => this.#accept(socket))
  readonly #answer: (socket: Socket, head: string) => void

  private constructor(answer: (socket: Socket, head: string) => void) {
    this.#answer = answer
  }

  /** `answer` is called with each complete request head. */
  static async start(answer: (socket: Socket, head: string) => void, port = 0): Promise<FakeOrigin> {
    const origin = new FakeOrigin(answer)
    origin.#server.listen(port, '127.0.0.1')
    await once(origin.#server, 'listening')
    return origin
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  #accept(socket: Socket): void {
    this.accepted++
    this.sockets.add(socket)
    socket.on('close', () => this.sockets.delete(socket))
    socket.on('error', () => {})
    let text = ''
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end === -1) return
      const head = text.slice(0, end)
      text = text.slice(end + 4)
      this.requests.push(head)
      this.#answer(socket, head)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** A balancer over fixed origins that takes the first one not avoided, and notes what became of its claims. */
export class FakeBalancer implements Pick<Balancer, 'pick'>, Pick<OriginRegistry, 'list'> {
  readonly keys: StreamKey[] = []
  readonly kept: string[] = []
  readonly released: string[] = []
  readonly failed: string[] = []
  readonly needs: string[] = []
  /** What `keep` was given, for a stream that moves. */
  readonly onMoved: (() => void)[] = []
  holds = 0
  origins: readonly Origin[]

  constructor(origins: readonly (number | Partial<Origin>)[], ip = '127.0.0.1') {
    this.origins = origins.map((origin, index) =>
      typeof origin === 'number'
        ? fakeOrigin(`o${index}` as OriginId, ip, origin)
        : { ...fakeOrigin(`o${index}` as OriginId, ip, 1), ...origin },
    )
  }

  list(): Promise<readonly Origin[]> {
    return Promise.resolve(this.origins)
  }

  async pick(key: StreamKey, need: string, { role, avoid = [] }: PickOptions): Promise<Claim> {
    this.keys.push(key)
    this.needs.push(need)
    const origin = this.origins.find(({ id }) => !avoid.includes(id))
    if (origin === undefined || role !== 'play') {
      throw Object.assign(new Error('no origin'), { code: 'BALANCER_NO_ORIGIN', status: 503 })
    }
    return {
      origin,
      keep: async (onMoved) => {
        this.kept.push(origin.id)
        if (onMoved !== undefined) this.onMoved.push(onMoved)
        this.holds++
        let isOver = false
        return {
          end: () => {
            if (!isOver) this.holds--
            isOver = true
          },
        }
      },
      release: async () => void this.released.push(origin.id),
      failed: async () => void this.failed.push(origin.id),
    }
  }
}

function fakeOrigin(id: OriginId, ip: string, port: number): Origin {
  return {
    id,
    ip,
    server: 'vid-x',
    service: 'svc-x',
    pid: '1',
    rtmp: [],
    http: [port],
    api: [],
    srt: [],
    rtc: [],
    state: 'healthy',
    draining: false,
    lastHeartbeatMs: 0,
    streams: 0,
  }
}

/** An edge with HTTP-FLV before the given origins, on a free port. */
export class Gateway {
  readonly registry: Registry = createRegistry('0.0.0')
  readonly live: LiveProxy
  readonly edge: HttpEdge

  private constructor(
    balancer: Pick<Balancer, 'pick'>,
    live: Partial<LiveProxyOptions>,
    edge: Partial<HttpEdgeOptions>,
  ) {
    const common = { logger: silentLogger(), registry: this.registry }
    const keyRules = { keys: 'normal', vhosts: [] } as const
    this.live = new LiveProxy({ ...common, balancer, keyRules, ...live })
    this.edge = new HttpEdge({
      ...common,
      listen: [{ host: '127.0.0.1', port: 0 }],
      handlers: [this.live],
      version: '1.2.3',
      ...edge,
    })
  }

  static async start(
    balancer: Pick<Balancer, 'pick'>,
    live: Partial<LiveProxyOptions> = {},
    edge: Partial<HttpEdgeOptions> = {},
  ): Promise<Gateway> {
    const gateway = new Gateway(balancer, live, edge)
    await gateway.edge.start()
    return gateway
  }

  get port(): number {
    return this.edge.addresses[0]?.port ?? 0
  }

  /** The value of a metric, by name and, where it has one, code. */
  async metric(name: string, code?: string): Promise<number | undefined> {
    const metric = await this.registry.getSingleMetric(name)?.get()
    return metric?.values.find(({ labels }) => code === undefined || labels['code'] === code)?.value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.edge.close()
  }
}

/** A client that speaks raw bytes. */
export class RawClient {
  readonly socket: Socket
  readonly #chunks: Buffer[] = []
  isEnded = false
  isClosed = false

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('data', (bytes) => this.#chunks.push(bytes))
    this.socket.on('error', () => {})
    this.socket.on('end', () => {
      this.isEnded = true
    })
    this.socket.on('close', () => {
      this.isClosed = true
    })
  }

  static async send(port: number, text: string): Promise<RawClient> {
    const client = new RawClient(port)
    await once(client.socket, 'connect')
    client.socket.write(text, 'latin1')
    return client
  }

  /** All that came so far. */
  get text(): string {
    return Buffer.concat(this.#chunks).toString('latin1')
  }

  get head(): string {
    return this.text.split('\r\n\r\n', 1)[0] ?? ''
  }

  get body(): string {
    return this.text.slice(this.head.length + 4)
  }

  async closed(timeout?: number): Promise<this> {
    await until(() => this.isClosed, timeout)
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    await until(() => this.isClosed)
  }
}

/** The head of a plain GET. */
export function get(path: string, headers = '', version = '1.1'): string {
  return `GET ${path} HTTP/${version}\r\nHost: play.example.com:8080\r\n${headers}\r\n`
}
