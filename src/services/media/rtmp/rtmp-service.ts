import type { Socket } from 'node:net'
import { errorCode } from '../../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import type { SessionDirectory, SessionInfo } from '../../../foundation/session-info.ts'
import {
  ConnectionCap,
  type ConnectionInfo,
  type ListenAddress,
  type ListenerCounts,
  TcpListener,
  type TcpListenerOptions,
} from '../../../mechanisms/net/index.ts'
import { type Counter, LinePace, type Logger } from '../../../mechanisms/telemetry/index.ts'
import { registerRtmpMetrics, type RtmpCounts } from './metrics.ts'
import { type CompleteRtmpOptions, rtmpDefaults, type RtmpServiceOptions } from './options.ts'
import { RtmpSession } from './rtmp-session.ts'

/** Encoders come back every few seconds, and their users look into the log. */
const LINE_INTERVAL_MS = 10_000
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
  readonly #secureListeners: readonly TcpListener[]
  readonly #pace: LinePace
  readonly #cap: ConnectionCap
  /** Bytes of sessions that are over. */
  #endedBytesIn = 0
  #endedBytesOut = 0
  #isOpen = false

  /** @throws NetError: `NET_BAD_RANGE`, `NET_BAD_CERTIFICATE` */
  constructor(options: RtmpServiceOptions) {
    this.#options = { ...rtmpDefaults, ...options }
    this.#log = options.logger.child({ component: 'rtmp' })
    this.#errors = registerRtmpMetrics(options.registry, () => this.#counts())
    const { clock, maxConnections, maxConnectionsPerAddress, listen, secureListen } = this.#options
    this.#pace = new LinePace(clock, { intervalMs: LINE_INTERVAL_MS })
    this.#cap = new ConnectionCap({ maxConnections, maxConnectionsPerAddress })
    this.#listeners = listen.map((address) => this.#listener(address, {}))
    this.#secureListeners = secureListen.map((address) =>
      this.#listener(address, secureOptions(this.#options)),
    )
  }

  /** The ports in use, in the order of `listen`; empty while not listening. */
  get ports(): readonly number[] {
    return this.#listeners.flatMap((listener) => listener.port ?? [])
  }

  /** Those of `secureListen`. */
  get securePorts(): readonly number[] {
    return this.#secureListeners.flatMap((listener) => listener.port ?? [])
  }

  /**
   * Takes a connection that was accepted elsewhere, as on a port that several protocols share: plain or TLS whose handshake
   * is over, without listeners for its data. It counts like any other, and belongs to the service.
   */
  adopt(socket: Socket, from: ConnectionInfo): void {
    socket.on('error', ignore)
    if (this.#isOpen && this.#cap.admit(socket, from.remoteAddress)) this.#serve(socket, from)
    else socket.destroy()
  }

  /** @throws NetError when a port cannot be bound; those that were are closed again */
  async start(options: StartOptions = {}): Promise<void> {
    try {
      for (const listener of this.#allListeners) await listener.start(options)
      this.#isOpen = true
    } catch (error) {
      await this.close()
      throw error
    }
    this.#log.info({ ports: this.ports, securePorts: this.securePorts }, 'RTMP listening')
  }

  /** Clients whose stream has not begun are cut at once; the others may go on for `graceMs`. */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    this.#isOpen = false
    const closed = this.#allListeners.map((listener) => listener.close({ graceMs: graceMs + CUT_MS }))
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

  get sessionCount(): number {
    return this.#sessions.size
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

  get #allListeners(): readonly TcpListener[] {
    return [...this.#listeners, ...this.#secureListeners]
  }

  #listener(listen: ListenAddress, secure: Pick<TcpListenerOptions, 'tls'>): TcpListener {
    return new TcpListener({
      listen,
      ...secure,
      clock: this.#options.clock,
      cap: this.#cap,
      proxyProtocolFrom: this.#options.proxyProtocolFrom,
      onConnection: (socket, from) => this.#serve(socket, from),
      onAcceptError: (error) => this.#count(errorCode(error)),
    })
  }

  #serve(socket: Socket, from: ConnectionInfo): void {
    const id = Buffer.from(this.#options.random(8)).toString('hex')
    const session = new RtmpSession(id, socket, from, this.#options, {
      log: this.#log,
      pace: this.#pace,
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

  #unfinishedCounts(): RtmpCounts['unfinished'] {
    const counts = this.#allListeners.map((listener) => listener.counts)
    const sum = (name: keyof ListenerCounts): number =>
      counts.reduce((total, { [name]: count }) => total + count, 0)
    return {
      proxy_header: sum('badProxyHeaders'),
      handshake: sum('failedHandshakes'),
      overdue: sum('overdue'),
      displaced: sum('displaced'),
    }
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
      unfinished: this.#unfinishedCounts(),
      publishers,
      players: sessions.length - publishers,
      bytesIn: sessions.reduce((sum, session) => sum + session.bytesIn, this.#endedBytesIn),
      bytesOut: sessions.reduce((sum, session) => sum + session.bytesOut, this.#endedBytesOut),
    }
  }
}

function secureOptions({ tls }: CompleteRtmpOptions): Pick<TcpListenerOptions, 'tls'> {
  if (tls === undefined) throw new TypeError('secureListen without tls')
  return { tls }
}

/** Errors of a connection show as its `close`. */
function ignore(): void {}
