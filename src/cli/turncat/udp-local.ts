import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { Clock, Timer } from '../../foundation/clock.ts'
import { errorMessage } from '../../foundation/errors.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { TurncatError, TurncatErrorCode } from './errors.ts'
import type { Tunnel, TunnelHandlers } from './tunnel.ts'

/** How local datagrams are taken. */
export interface UdpLocalOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly makeTunnel: (handlers: TunnelHandlers) => Tunnel
  readonly clock: Clock
  readonly logger: Logger
  /** A source is forgotten after so long without a datagram of either side, in milliseconds. @defaultValue 300,000 */
  readonly idleMs?: number
  /** Most sources at a time; datagrams of further ones are dropped. @defaultValue 1,000 */
  readonly maxSources?: number
}

/** A local UDP port where each source gets a tunnel of its own. */
export class UdpLocal {
  readonly #options: UdpLocalOptions
  readonly #idleMs: number
  readonly #maxSources: number
  readonly #sources = new Map<string, Source>()
  #socket: Socket | undefined
  #sweep: Timer | undefined
  #isFull = false

  constructor(options: UdpLocalOptions) {
    this.#options = options
    this.#idleMs = options.idleMs ?? 300_000
    this.#maxSources = options.maxSources ?? 1000
  }

  /** Binds the port. @throws TURNCAT_LISTEN_FAILED */
  async start(): Promise<{ readonly address: string; readonly port: number }> {
    const { host, port } = this.#options
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    try {
      socket.bind(port, host)
      await once(socket, 'listening')
    } catch (error) {
      socket.close()
      throw new TurncatError(
        TurncatErrorCode.listenFailed,
        `udp://${host}:${port} cannot be opened: ${errorMessage(error)}`,
        error,
      )
    }
    this.#socket = socket
    socket.on('message', (bytes, from) => this.#receive(bytes, from))
    // What a local program does to its port is told here for the answers it does not take.
    socket.on('error', (error) => this.#options.logger.debug({ err: error }, 'local socket'))
    this.#sweepLater()
    return socket.address()
  }

  /** Releases every allocation. */
  async close(): Promise<void> {
    this.#sweep?.cancel()
    const sources = [...this.#sources.values()]
    this.#sources.clear()
    this.#socket?.removeAllListeners('message')
    await Promise.all(sources.map(async ({ tunnel, closing }) => await (closing ?? tunnel?.close())))
    this.#socket?.close()
    this.#socket = undefined
  }

  #receive(bytes: Uint8Array, from: RemoteInfo): void {
    const key = `${from.address} ${from.port}`
    const source = this.#sources.get(key) ?? this.#admit(key, from)
    if (source?.tunnel === undefined || source.isOver) return
    source.lastMs = this.#options.clock.nowMs()
    source.tunnel.send(bytes)
  }

  #admit(key: string, from: RemoteInfo): Source | undefined {
    const { clock, logger, makeTunnel } = this.#options
    if (this.#sources.size >= this.#maxSources) {
      if (!this.#isFull) logger.warn({ maxSources: this.#maxSources }, 'too many local sources')
      this.#isFull = true
      return undefined
    }
    const source: Source = { tunnel: undefined, isOver: false, lastMs: clock.nowMs() }
    source.tunnel = makeTunnel({
      onData: (bytes) => {
        source.lastMs = clock.nowMs()
        this.#socket?.send(bytes, from.port, from.address)
      },
      onReady: () => undefined,
      onEnd: (error) => {
        logger.warn({ code: error?.code, reason: error?.message }, 'tunnel failed')
        // Its next datagrams are dropped for a while, so that a server that refuses is not asked for each of them.
        source.isOver = true
        void source.tunnel?.close()
        source.lastMs = clock.nowMs() - this.#idleMs + retryMs
      },
    })
    this.#sources.set(key, source)
    source.tunnel.open()
    return source
  }

  #sweepLater(): void {
    this.#sweep = this.#options.clock.after(sweepMs, () => {
      this.#forgetIdle()
      this.#sweepLater()
    })
  }

  #forgetIdle(): void {
    const beforeMs = this.#options.clock.nowMs() - this.#idleMs
    for (const [key, source] of this.#sources) {
      if (source.lastMs > beforeMs || source.closing !== undefined) continue
      source.closing = this.#forget(key, source)
    }
  }

  /** Until its allocation is gone, the source's datagrams are dropped. */
  async #forget(key: string, source: Source): Promise<void> {
    source.isOver = true
    await source.tunnel?.close()
    this.#sources.delete(key)
    this.#isFull = false
  }
}

interface Source {
  /** Undefined until it is made. */
  tunnel: Tunnel | undefined
  /** It has failed, or is being closed. */
  isOver: boolean
  lastMs: number
  closing?: Promise<void>
}

/** How often it is looked for sources that are idle. */
const sweepMs = 1000
const retryMs = 5000
