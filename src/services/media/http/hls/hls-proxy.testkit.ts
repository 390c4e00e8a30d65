import { once } from 'node:events'
import {
  Agent,
  createServer,
  type IncomingMessage,
  request as httpRequest,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, vi } from 'vitest'
import { SluiceError } from '../../../../foundation/errors.ts'
import type { HlsSession, HlsSessionStore, StreamKey } from '../../../../mechanisms/balancer/index.ts'
import { createRegistry, type Registry, silentLogger } from '../../../../mechanisms/telemetry/index.ts'
import type { Access, AccessRequest, Admission, BandwidthLimit } from '../../access/index.ts'
import { HlsProxy } from './hls-proxy.ts'
import type { HlsProxyOptions } from './hls-options.ts'
import { FakeBalancer } from '../http.testkit.ts'
import { HttpEdge, type HttpEdgeOptions } from '../edge/http-edge.ts'

/** A balancer over fixed origins that also keeps HLS sessions: the first of a stream has `0000001`. */
export class HlsFakeBalancer extends FakeBalancer implements HlsSessionStore {
  readonly sessions: HlsSession[] = []
  opened = 0

  async openHls(streamKey: StreamKey, fullUrl: string): Promise<HlsSession> {
    this.opened++
    const known = this.sessions.find((session) => session.streamKey === streamKey)
    if (known !== undefined) return known
    const session = { id: String(this.sessions.length + 1).padStart(7, '0'), streamKey, fullUrl }
    this.sessions.push(session)
    return session
  }

  async findHls(id: string): Promise<HlsSession | undefined> {
    return this.sessions.find((session) => session.id === id)
  }
}

/** An edge with HLS before the given origins, on a free port. */
export class HlsGateway {
  readonly registry: Registry = createRegistry('0.0.0')
  readonly hls: HlsProxy
  readonly edge: HttpEdge
  readonly #agent = new Agent({ keepAlive: true })

  private constructor(
    balancer: HlsProxyOptions['balancer'],
    hls: Partial<HlsProxyOptions>,
    edge: Partial<HttpEdgeOptions>,
  ) {
    const common = { logger: silentLogger(), registry: this.registry }
    const keyRules = { keys: 'normal', vhosts: [] } as const
    this.hls = new HlsProxy({ ...common, balancer, keyRules, ...hls })
    this.edge = new HttpEdge({
      ...common,
      listen: [{ host: '127.0.0.1', port: 0 }],
      handlers: [this.hls, ...(edge.handlers ?? [])],
      version: '1.2.3',
    })
  }

  static async start(
    balancer: HlsProxyOptions['balancer'],
    hls: Partial<HlsProxyOptions> = {},
    edge: Partial<HttpEdgeOptions> = {},
  ): Promise<HlsGateway> {
    const gateway = new HlsGateway(balancer, hls, edge)
    await gateway.edge.start()
    return gateway
  }

  get port(): number {
    return this.edge.addresses[0]?.port ?? 0
  }

  /** The value of a metric. */
  async metric(name: string): Promise<number | undefined> {
    const metric = await this.registry.getSingleMetric(name)?.get()
    return metric?.values[0]?.value
  }

  /** Waits until a metric has a value. */
  async untilMetric(name: string, value: number): Promise<void> {
    await vi.waitFor(async () => expect(await this.metric(name)).toBe(value), {
      timeout: 15_000,
      interval: 5,
    })
  }

  /** Asks by connections that are kept. */
  get(path: string, options: AskOptions = {}): Promise<Reply> {
    return ask(this.port, path, { agent: this.#agent, ...options })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy()
    await this.edge.close()
    await this.hls.close()
  }
}

export interface AskOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly agent?: Agent
  readonly signal?: AbortSignal
}

export interface Reply {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  /** Whether the body came to its end. */
  readonly isComplete: boolean
}

/** An access that lets in, or throws, and notes what became of its admissions. */
export class FakeAccess implements Access {
  readonly asked: AccessRequest[] = []
  readonly running = new Set<AbortController>()
  ended = 0
  refusal: Error | undefined
  /** Nobody may play it. */
  secret: string | undefined
  limits: readonly BandwidthLimit[] = []

  async admit(request: AccessRequest): Promise<Admission> {
    this.asked.push(request)
    if (this.refusal !== undefined) throw this.refusal
    if (request.key === this.secret) {
      throw new SluiceError('ACCESS_DENIED', 'no', { side: 'client', retryable: false, status: 403 })
    }
    const controller = new AbortController()
    this.running.add(controller)
    return {
      limits: this.limits,
      signal: controller.signal,
      end: () => {
        if (this.running.delete(controller)) this.ended++
      },
    }
  }
}

/** One request, and all of its answer. */
export async function ask(port: number, path: string, options: AskOptions = {}): Promise<Reply> {
  const headers = { Host: 'play.example.com:8080', ...options.headers }
  const request = httpRequest({ host: '127.0.0.1', port, path, ...options, headers })
  request.end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.setEncoding('latin1')
  let text = ''
  response.on('data', (part: string) => {
    text += part
  })
  response.on('error', () => {})
  await new Promise((resolve) => response.once('close', resolve))
  return { status: response.statusCode ?? 0, headers: response.headers, text, isComplete: response.complete }
}

/** An origin whose answers are made by a function. */
export class TestOrigin {
  readonly requests: { readonly url: string; readonly headers: IncomingMessage['headers'] }[] = []
  connections = 0
  readonly #server

  private constructor(answer: (request: IncomingMessage, response: ServerResponse) => void) {
    this.#server = createServer((request, response) => {
      this.requests.push({ url: request.url ?? '', headers: request.headers })
      answer(request, response)
    })
    this.#server.on('connection', () => this.connections++)
  }

  static async start(
    answer: (request: IncomingMessage, response: ServerResponse) => void,
    port = 0,
  ): Promise<TestOrigin> {
    const origin = new TestOrigin(answer)
    origin.#server.listen(port, '127.0.0.1')
    await once(origin.#server, 'listening')
    return origin
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get urls(): string[] {
    return this.requests.map(({ url }) => url)
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** Answers from a table of texts by path; what is not there is 404. */
export function files(
  texts: Readonly<Record<string, string>>,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const text = texts[(request.url ?? '').split('?', 1)[0] ?? '']
    if (text === undefined) {
      response.writeHead(404, { 'Content-Type': 'text/plain' }).end('no file at 10.0.0.5:8080')
      return
    }
    response.writeHead(200, {
      'Content-Length': Buffer.byteLength(text),
      ETag: '"e"',
      'Accept-Ranges': 'bytes',
    })
    response.end(text)
  }
}

/** A playlist of lines. */
export function playlist(...lines: readonly string[]): string {
  return ['#EXTM3U', ...lines, ''].join('\n')
}
