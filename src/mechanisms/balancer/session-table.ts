import type { Clock } from '../../foundation/clock.ts'
import type { RtcSession } from './contract.ts'
import { balancerError } from './errors.ts'
import type { StreamKey } from './stream-key.ts'

/** Bounds and times of the session table, all set. */
export interface SessionTableOptions {
  readonly sessionTtlMs: number
  readonly maxSessions: number
}

interface Entry {
  readonly session: RtcSession
  readonly expiresMs: number
}

/** WebRTC sessions by USERNAME and by stream. */
export class SessionTable {
  /** In the order of expiry: an entry that is renewed moves to the end. */
  readonly #entries = new Map<string, Entry>()
  readonly #byStream = new Map<StreamKey, Set<string>>()
  readonly #clock: Clock
  readonly #options: SessionTableOptions

  constructor(clock: Clock, options: SessionTableOptions) {
    this.#clock = clock
    this.#options = options
  }

  get size(): number {
    this.#expire()
    return this.#entries.size
  }

  /** @throws BALANCER_SESSION_EXISTS, BALANCER_TOO_MANY_SESSIONS */
  add(session: RtcSession): void {
    this.#expire()
    if (this.#entries.has(session.username)) {
      throw balancerError(
        'BALANCER_SESSION_EXISTS',
        'the ICE user name fragments are those of a live session',
        {
          side: 'client',
          retryable: true,
          status: 409,
        },
      )
    }
    if (this.#entries.size >= this.#options.maxSessions) {
      throw balancerError(
        'BALANCER_TOO_MANY_SESSIONS',
        `${this.#entries.size} sessions are live, which is the limit`,
        {
          side: 'self',
          retryable: true,
          status: 503,
        },
      )
    }
    this.#put(session)
    const names = this.#byStream.get(session.streamKey)
    if (names === undefined) this.#byStream.set(session.streamKey, new Set([session.username]))
    else names.add(session.username)
  }

  /** The session, which is renewed by this. */
  find(username: string): RtcSession | undefined {
    this.#expire()
    const session = this.#entries.get(username)?.session
    if (session !== undefined) this.#put(session)
    return session
  }

  ofStream(key: StreamKey): readonly RtcSession[] {
    this.#expire()
    return [...(this.#byStream.get(key) ?? [])].flatMap(
      (username) => this.#entries.get(username)?.session ?? [],
    )
  }

  remove(username: string): void {
    const entry = this.#entries.get(username)
    if (entry === undefined) return
    this.#entries.delete(username)
    const { streamKey } = entry.session
    const names = this.#byStream.get(streamKey)
    names?.delete(username)
    if (names?.size === 0) this.#byStream.delete(streamKey)
  }

  #put(session: RtcSession): void {
    this.#entries.delete(session.username)
    this.#entries.set(session.username, {
      session,
      expiresMs: this.#clock.nowMs() + this.#options.sessionTtlMs,
    })
  }

  #expire(): void {
    const now = this.#clock.nowMs()
    for (const [username, { expiresMs }] of this.#entries) {
      if (expiresMs > now) return
      this.remove(username)
    }
  }
}
