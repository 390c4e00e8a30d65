import { type ClientHttp2Session, connect } from 'node:http2'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { StreamDuplex } from '../../../mechanisms/streams/index.ts'
import type { Backend, UserAddress } from '../server/backend.ts'
import { WINDOW_BYTES } from './http2-windows.ts'

/** A backend that does not answer in HTTP/2 within this time does not speak it. */
const PROBE_MS = 2000
/** How long that is remembered, for all users. */
const REMEMBERED_MS = 300_000
/** The same when it closed without a word: it may just not be there at the moment. */
const CLOSED_REMEMBERED_MS = 10_000
/** A connection without requests is ended after it. */
const IDLE_MS = 60_000

/** Which backends do not speak HTTP/2, as far as is known; of one vhost. */
export class Http1Backends {
  readonly #untilMs = new WeakMap<Backend, number>()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  has(backend: Backend): boolean {
    return (this.#untilMs.get(backend) ?? -Infinity) > this.#clock.nowMs()
  }

  add(backend: Backend, forMs: number): void {
    this.#untilMs.set(backend, this.#clock.nowMs() + forMs)
  }
}

interface Connection {
  streams: number
  idleTimer: Timer | undefined
}

/**
 * Connections to backends on behalf of one user connection, in cleartext HTTP/2. Whether a backend speaks it is found out with
 * the first connection, which ends when it does not: the service is then asked in HTTP/1.1, as frp does always.
 */
export class Http2Backends {
  readonly #address: UserAddress
  readonly #clock: Clock
  readonly #http1: Http1Backends
  readonly #connections = new Map<Backend, Promise<ClientHttp2Session | undefined>>()
  readonly #open = new Map<ClientHttp2Session, Connection>()
  #isDestroyed = false

  constructor(address: UserAddress, http1: Http1Backends, clock: Clock) {
    this.#address = address
    this.#http1 = http1
    this.#clock = clock
  }

  /**
   * A connection that is open. Undefined: the backend does not speak HTTP/2.
   * @throws what `Backend.connect` throws
   */
  async session(backend: Backend): Promise<ClientHttp2Session | undefined> {
    if (this.#http1.has(backend)) return undefined
    let connecting = this.#connections.get(backend)
    if (connecting === undefined) {
      connecting = this.#connect(backend)
      this.#connections.set(backend, connecting)
    }
    try {
      const session = await connecting
      if (session !== undefined && isOpen(session)) return session
      this.#forget(backend, connecting)
      return session === undefined || this.#isDestroyed ? undefined : await this.session(backend)
    } catch (error) {
      this.#forget(backend, connecting)
      throw error
    }
  }

  /** Counts a request until `end`, so that the connection does not count as idle. */
  use(session: ClientHttp2Session): { end: () => void } {
    const connection = this.#open.get(session)
    if (connection === undefined) return { end: () => undefined }
    connection.streams++
    connection.idleTimer?.cancel()
    return {
      end: () => {
        if (--connection.streams === 0) this.#awaitIdle(session, connection)
      },
    }
  }

  destroy(): void {
    this.#isDestroyed = true
    for (const session of this.#open.keys()) session.destroy()
  }

  #forget(backend: Backend, connecting: Promise<ClientHttp2Session | undefined>): void {
    if (this.#connections.get(backend) === connecting) this.#connections.delete(backend)
  }

  async #connect(backend: Backend): Promise<ClientHttp2Session | undefined> {
    const stream = await backend.connect(this.#address)
    const duplex = new StreamDuplex(stream)
    if (this.#isDestroyed) {
      duplex.destroy()
      return undefined
    }
    const session = connect('http://backend', {
      createConnection: () => duplex,
      settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
    })
    let hasSpoken = false
    duplex.once('data', () => {
      hasSpoken = true
    })
    const connection: Connection = { streams: 0, idleTimer: undefined }
    this.#open.set(session, connection)
    session.on('error', () => undefined)
    session.once('close', () => {
      connection.idleTimer?.cancel()
      this.#open.delete(session)
      duplex.destroy()
    })
    const speaksHttp2 = await this.#isAnswered(session)
    if (!speaksHttp2) {
      const isClosed = session.destroyed && !hasSpoken
      if (!this.#isDestroyed) this.#http1.add(backend, isClosed ? CLOSED_REMEMBERED_MS : REMEMBERED_MS)
      session.destroy()
      return undefined
    }
    session.setLocalWindowSize(WINDOW_BYTES)
    this.#awaitIdle(session, connection)
    return session
  }

  #isAnswered(session: ClientHttp2Session): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(PROBE_MS, () => resolve(false))
      session.once('close', () => {
        timer.cancel()
        resolve(false)
      })
      session.once('remoteSettings', () => {
        timer.cancel()
        resolve(true)
      })
    })
  }

  #awaitIdle(session: ClientHttp2Session, connection: Connection): void {
    connection.idleTimer?.cancel()
    connection.idleTimer = this.#clock.after(IDLE_MS, () => session.destroy())
  }
}

/** Whether requests can still begin on it. */
export function isOpen(session: ClientHttp2Session): boolean {
  return !session.closed && !session.destroyed
}
