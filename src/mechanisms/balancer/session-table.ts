import type { Clock } from '../../foundation/clock.ts'
import type { RtcSession } from './contract.ts'
import { balancerError } from './errors.ts'

/** Bounds and times of the session table, all set. */
export interface SessionTableOptions {
  readonly sessionTtlMs: number
  readonly maxSessions: number
}

interface Entry {
  readonly session: RtcSession
  readonly expiresMs: number
}

/** WebRTC sessions by USERNAME and by the hash of their token. */
export class SessionTable {
  /** In the order of expiry: an entry that is renewed moves to the end. */
  readonly #entries = new Map<string, Entry>()
  /** The newest USERNAME. */
  readonly #byToken = new Map<string, string>()
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
    if (session.resource !== undefined) this.#byToken.set(session.resource.tokenHash, session.username)
  }

  /** The session, which is renewed by this. */
  find(username: string): RtcSession | undefined {
    this.#expire()
    const session = this.#entries.get(username)?.session
    if (session !== undefined) this.#put(session)
    return session
  }

  /** The session, which is not renewed by this. */
  get(username: string): RtcSession | undefined {
    this.#expire()
    return this.#entries.get(username)?.session
  }

  all(): readonly RtcSession[] {
    this.#expire()
    return [...this.#entries.values()].map(({ session }) => session)
  }

  /** The newest USERNAME of the session with this token; it may have expired. */
  usernameOf(tokenHash: string): string | undefined {
    return this.#byToken.get(tokenHash)
  }

  /** The session with the hash of its token, which is renewed by this. */
  ofToken(tokenHash: string): RtcSession | undefined {
    const username = this.usernameOf(tokenHash)
    return username === undefined ? undefined : this.find(username)
  }

  remove(username: string): void {
    const entry = this.#entries.get(username)
    if (entry === undefined) return
    this.#entries.delete(username)
    const tokenHash = entry.session.resource?.tokenHash
    if (tokenHash !== undefined && this.#byToken.get(tokenHash) === username) this.#byToken.delete(tokenHash)
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
