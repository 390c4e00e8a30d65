import { createServer as createHttpServer } from 'node:http'
import type { Server as HttpServer } from 'node:http'
import { createServer } from 'node:net'
import type { Server } from 'node:net'
import type { Clock } from '../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { HttpApi } from './http-api.ts'
import { LiveStreams } from './live/live-streams.ts'
import { RtmpSession } from './live/rtmp-session.ts'
import { Registration } from './registration.ts'
import { WebRtcStreams } from './webrtc/webrtc-streams.ts'

export interface DemoOriginOptions {
  readonly log: Logger
  readonly clock: Clock
  /** Where to register, as `http://127.0.0.1:12025/api/v1/srs/register`. */
  readonly registerUrl: string
  /** Bearer token of the registration API, where it wants one. */
  readonly registerToken?: string
  /** RTMP port on 127.0.0.1; 0 takes a free one. @defaultValue 0 */
  readonly rtmpPort?: number
  /** Port of WHIP, WHEP and HTTP-FLV on 127.0.0.1; 0 takes a free one. @defaultValue 0 */
  readonly httpPort?: number
  /** Milliseconds between heartbeats. @defaultValue 5000 */
  readonly heartbeatMs?: number
  /**
   * A connection in which nothing happens for so long is cut, in milliseconds: no STUN check of a WebRTC peer, no byte
   * of an RTMP or FLV connection. @defaultValue 20000
   */
  readonly idleTimeoutMs?: number
  /** How long an RTMP player waits for a stream that is not published, in milliseconds. @defaultValue 15000 */
  readonly playWaitMs?: number
  /** Most WebRTC peers; one more gets 503. @defaultValue 200 */
  readonly maxPeers?: number
  /** Most TCP connections of each server; further ones are closed at once. @defaultValue 1000 */
  readonly maxConnections?: number
}

const defaults = {
  rtmpPort: 0,
  httpPort: 0,
  heartbeatMs: 5_000,
  idleTimeoutMs: 20_000,
  playWaitMs: 15_000,
  maxPeers: 200,
  maxConnections: 1_000,
}

/** Payload bytes and tags that a new player is given at most, and the queue of a slow one. */
const LIVE_STREAM_LIMITS = { maxBytes: 4 << 20, maxTags: 4_096, maxQueuedBytes: 4 << 20 }
const DIALOGUE_TIMEOUT_MS = 10_000
const LOOPBACK = '127.0.0.1'

/**
 * A small media origin for trying the gateway out: WHIP to WHEP, and RTMP to RTMP and HTTP-FLV; the two worlds are
 * apart, since nothing is transcoded. It runs in the gateway's process but is met only over its sockets on loopback,
 * and announces itself over HTTP, as a foreign origin would.
 */
export class DemoOrigin implements Lifecycle {
  readonly #options: DemoOriginOptions & typeof defaults
  readonly #webrtc: WebRtcStreams
  readonly #live: LiveStreams
  readonly #rtmpSessions = new Set<RtmpSession>()
  #http: HttpServer | undefined
  #rtmp: Server | undefined
  #registration: Registration | undefined

  constructor(options: DemoOriginOptions) {
    const complete = { ...defaults, ...options }
    const { clock, idleTimeoutMs, log, maxPeers } = complete
    this.#options = complete
    this.#webrtc = new WebRtcStreams({ log, clock, idleTimeoutMs, maxPeers })
    this.#live = new LiveStreams(clock, LIVE_STREAM_LIMITS)
  }

  /** Bound ports, once started. */
  get ports(): { readonly rtmp: number; readonly http: number } {
    return { rtmp: portOf(this.#rtmp), http: portOf(this.#http) }
  }

  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#http !== undefined) return
    signal?.throwIfAborted()
    try {
      this.#http = await this.#listenHttp()
      this.#rtmp = await this.#listenRtmp()
      const { clock, heartbeatMs, log, registerToken, registerUrl } = this.#options
      this.#registration = new Registration({
        log,
        clock,
        registerUrl,
        intervalMs: heartbeatMs,
        ...(registerToken === undefined ? {} : { registerToken }),
      })
      await this.#registration.start(this.ports)
      signal?.throwIfAborted()
    } catch (error) {
      await this.close()
      throw error
    }
    this.#options.log.info(this.ports, 'demo origin runs')
  }

  /** Cuts everything: the gateway in front drains, the origin behind it has nothing to wait for. */
  async close(_options: CloseOptions = {}): Promise<void> {
    const [http, rtmp, registration] = [this.#http, this.#rtmp, this.#registration]
    this.#http = this.#rtmp = this.#registration = undefined
    await registration?.close()
    for (const session of this.#rtmpSessions) session.destroy()
    http?.closeAllConnections()
    await Promise.all([closed(http), closed(rtmp), this.#webrtc.close()])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #listenHttp(): Promise<HttpServer> {
    const { httpPort, idleTimeoutMs, log, maxConnections } = this.#options
    const api = new HttpApi({ log, webrtc: this.#webrtc, live: this.#live, idleTimeoutMs })
    const server = createHttpServer(
      { headersTimeout: 10_000, requestTimeout: 10_000 },
      (request, response) => {
        // handle catches its own errors.
        void api.handle(request, response)
      },
    )
    server.maxConnections = maxConnections
    await listening(server, httpPort)
    return server
  }

  async #listenRtmp(): Promise<Server> {
    const { clock, idleTimeoutMs, log, maxConnections, playWaitMs, rtmpPort } = this.#options
    const server = createServer((socket) => {
      const session = new RtmpSession(socket, {
        clock,
        log,
        streams: this.#live,
        dialogueTimeoutMs: DIALOGUE_TIMEOUT_MS,
        idleTimeoutMs,
        playWaitMs,
      })
      this.#rtmpSessions.add(session)
      session.start(() => this.#rtmpSessions.delete(session))
    })
    server.maxConnections = maxConnections
    await listening(server, rtmpPort)
    return server
  }
}

async function listening(server: Server, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, LOOPBACK, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function closed(server: Server | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    if (server === undefined) resolve()
    else server.close(() => resolve())
  })
}

function portOf(server: Server | undefined): number {
  const address = server?.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
