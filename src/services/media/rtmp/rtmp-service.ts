import type { Socket } from 'node:net'
import { errorCode } from '../../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import type { SessionDirectory, SessionInfo } from '../../../foundation/session-info.ts'
import { ConnectionCap, TcpListener } from '../../../mechanisms/net/index.ts'
import type { Counter, Logger } from '../../../mechanisms/telemetry/index.ts'
import { registerRtmpMetrics, type RtmpCounts } from './metrics.ts'
import { type CompleteRtmpOptions, rtmpDefaults, type RtmpServiceOptions } from './options.ts'
import { RtmpSession } from './rtmp-session.ts'

/** How much longer the listeners wait before they cut what the service should have cut. */
const CUT_MS = 1000

/**
 * RTMP at the edge: publishers and players are led to the origin that carries their stream, and joined to it.
 */
export class RtmpService implements Lifecycle, SessionDirectory {
  readonly #options: CompleteRtmpOptions
  readonly #log: Logger
  readonly #errors: Counter<'code'>
  readonly #sessions = new Map<string, RtmpSession>()
  /** Resolves as its session is over. */
  readonly #running = new Set<Promise<void>>()
  readonly #listeners: readonly TcpListener[]
  readonly #cap: ConnectionCap
  /** Bytes of sessions that are over. */
  #endedBytesIn = 0
  #endedBytesOut = 0

  constructor(options: RtmpServiceOptions) {
    this.#options = { ...rtmpDefaults, ...options }
    this.#log = options.logger.child({ component: 'rtmp' })
    this.#errors = registerRtmpMetrics(options.registry, () => this.#counts())
    const { clock, maxConnections, maxConnectionsPerAddress } = this.#options
    this.#cap = new ConnectionCap({ maxConnections, maxConnectionsPerAddress })
    this.#listeners = options.listen.map(
      (listen) =>
        new TcpListener({
          listen,
          clock,
          cap: this.#cap,
          onConnection: (socket) => this.#serve(socket),
          onAcceptError: (error) => this.#count(errorCode(error)),
        }),
    )
  }

  /** The ports in use, in the order of `listen`; empty while not listening. */
  get ports(): readonly number[] {
    return this.#listeners.flatMap((listener) => listener.port ?? [])
  }

  /** @throws NetError when a port cannot be bound; those that were are closed again */
  async start(options: StartOptions = {}): Promise<void> {
    try {
      for (const listener of this.#listeners) await listener.start(options)
    } catch (error) {
      await this.close()
      throw error
    }
    this.#log.info({ ports: this.ports }, 'RTMP listening')
  }

  /** Clients whose stream has not begun are cut at once; the others may go on for `graceMs`. */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    const closed = this.#listeners.map((listener) => listener.close({ graceMs: graceMs + CUT_MS }))
    for (const session of this.#sessions.values()) {
      if (session.info === undefined || graceMs <= 0) session.cut('RTMP_CLOSED')
    }
    const timer = this.#options.clock.after(graceMs, () => {
      for (const session of this.#sessions.values()) session.cut('RTMP_CLOSED')
    })
    await Promise.all(closed)
    await Promise.all(this.#running)
    timer.cancel()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  listSessions(): readonly SessionInfo[] {
    return [...this.#sessions.values()].flatMap((session) => session.info ?? [])
  }

  kickSession(id: string): boolean {
    const session = this.#sessions.get(id)
    if (session?.info === undefined) return false
    session.cut('RTMP_SESSION_KICKED')
    return true
  }

  #serve(socket: Socket): void {
    const id = Buffer.from(this.#options.random(8)).toString('hex')
    const session = new RtmpSession(id, socket, this.#options, this.#log, {
      onError: (code) => this.#count(code),
      isPublished: (key) =>
        this.listSessions().some(({ role, streamKey }) => role === 'publish' && streamKey === key),
    })
    this.#sessions.set(id, session)
    const over = session.run().finally(() => {
      const { bytesIn = 0, bytesOut = 0 } = session.info ?? {}
      this.#endedBytesIn += bytesIn
      this.#endedBytesOut += bytesOut
      this.#sessions.delete(id)
      this.#running.delete(over)
    })
    this.#running.add(over)
  }

  #count(code: string): void {
    this.#errors.inc({ code })
  }

  #counts(): RtmpCounts {
    const sessions = this.listSessions()
    const publishers = sessions.filter(({ role }) => role === 'publish').length
    return {
      connections: this.#sessions.size,
      refused: this.#cap.refused,
      publishers,
      players: sessions.length - publishers,
      bytesIn: sessions.reduce((sum, session) => sum + session.bytesIn, this.#endedBytesIn),
      bytesOut: sessions.reduce((sum, session) => sum + session.bytesOut, this.#endedBytesOut),
    }
  }
}
