import { errorCode } from '../../../foundation/errors.ts'
import type { RtcSession } from '../../../mechanisms/balancer/index.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import { clientError, type WebRtcError } from './errors.ts'
import { inTime } from './in-time.ts'
import type { CompleteWebRtcOptions } from './options.ts'

/** The store as sessions use it: every question has its time, and what is only told never fails whoever tells it. */
export class SessionStoreClient {
  readonly #options: CompleteWebRtcOptions
  readonly #faults: LinePace

  constructor(options: CompleteWebRtcOptions) {
    this.#options = options
    this.#faults = new LinePace(options.clock)
  }

  /** Whether others have sessions too. */
  get isShared(): boolean {
    return this.#options.sessionStore.isShared
  }

  /** @throws WEBRTC_SESSION_EXISTS, and what the store throws */
  async add(record: RtcSession): Promise<void> {
    try {
      await this.#options.sessionStore.addSession(record)
    } catch (error) {
      throw errorCode(error) === 'BALANCER_SESSION_EXISTS' ? sessionExists() : error
    }
  }

  /** Rejects as the store does, and when that takes too long. */
  find(username: string): Promise<RtcSession | undefined> {
    return this.#inTime(this.#options.sessionStore.findSession(username))
  }

  /** As `find`, by the hash of the token. */
  async findOfToken(tokenHash: string): Promise<RtcSession | undefined> {
    const record = await this.#inTime(this.#options.sessionStore.findSessionOfToken(tokenHash))
    return record?.resource?.tokenHash === tokenHash ? record : undefined
  }

  /** Takes a session that no living gateway serves; false when one does. Rejects as `find`. */
  takeUnserved(username: string): Promise<boolean> {
    return this.#inTime(this.#options.sessionStore.takeSession(username, 'unserved'))
  }

  /** This gateway serves the session. `onOver` is called when there is no such session any more. */
  take(username: string, onOver: () => void): void {
    this.#options.sessionStore.takeSession(username).then(
      (isTaken) => {
        if (!isTaken) onOver()
      },
      (error: unknown) => this.#failed(error, 'session not taken over in the store'),
    )
  }

  /** Whether this gateway serves a session, as far as others know; undefined when the store does not answer. */
  async serves(username: string): Promise<boolean | undefined> {
    try {
      return await this.#inTime(this.#options.sessionStore.servesSession(username))
    } catch (error) {
      this.#failed(error, 'session not found in the store')
      return undefined
    }
  }

  renew(username: string): void {
    this.#options.sessionStore.renewSession(username).catch((error: unknown) => {
      this.#failed(error, 'session not renewed in the store')
    })
  }

  remove(username: string): void {
    this.#options.sessionStore.removeSession(username).catch((error: unknown) => {
      this.#failed(error, 'session not removed from the store')
    })
  }

  #inTime<T>(promise: Promise<T>): Promise<T> {
    return inTime(promise, this.#options.clock, this.#options.lookupTimeoutMs)
  }

  /** While the store is away it fails for each session. */
  #failed(error: unknown, message: string): void {
    const code = errorCode(error)
    const due = this.#faults.due(`${message} ${code}`)
    if (due !== undefined) this.#options.logger.warn({ code, ...due }, message)
  }
}

export function sessionExists(): WebRtcError {
  return clientError(
    'WEBRTC_SESSION_EXISTS',
    409,
    'this pair of ICE user fragments belongs to a live session',
  )
}
