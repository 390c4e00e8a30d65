import type { Timer } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { OriginId, StreamKey } from '../../../mechanisms/balancer/index.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import { LimitMeters } from '../access/index.ts'
import { clientError, type WebRtcError } from './errors.ts'
import { IceTcp } from './ice-tcp.ts'
import { MediaPlane } from './media-plane.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { OriginDialogue } from './origin-dialogue.ts'
import type { OriginResource } from './origin-links.ts'
import type { EndReason, IceIdentity, Session } from './session.ts'
import { SessionTable } from './session-table.ts'

/** How often a store is told that a session is still alive; stores forget after minutes. */
const renewEveryMs = 30_000

/**
 * An origin that takes no connection and whose media has stopped for so long is gone: a working one sends feedback all
 * the time.
 */
const stoppedAfterMs = 3000

/** Reasons for which the origin does not know yet that the session ended. */
const untold: ReadonlySet<EndReason> = new Set<EndReason>([
  'idle',
  'kicked',
  'drained',
  'failed',
  'moved',
  'access',
])

/** The sessions from their first packet to their end, whatever ends them. One timer looks after all of them. */
export class Sessions {
  readonly table: SessionTable = new SessionTable()
  readonly media: MediaPlane
  readonly tcp: IceTcp
  readonly limits: LimitMeters
  readonly ended: Partial<Record<EndReason, number>> = {}
  readonly #options: CompleteWebRtcOptions
  readonly #dialogue: OriginDialogue
  readonly #storeFaults: LinePace
  /** What ends a session when it may not go on. */
  readonly #onDenied = new Map<Session, () => void>()
  #timer: Timer | undefined
  #pending = 0
  #onEmpty: (() => void) | undefined

  constructor(options: CompleteWebRtcOptions, dialogue: OriginDialogue) {
    this.#options = options
    this.#dialogue = dialogue
    this.#storeFaults = new LinePace(options.clock)
    this.media = new MediaPlane(options, this.table, (session) => void this.end(session, 'origin-gone'))
    this.tcp = new IceTcp(options, this.table, this.media)
    this.limits = new LimitMeters(options.datapath)
  }

  async start(): Promise<void> {
    await this.media.start()
    await this.tcp.start()
    if (this.#timer === undefined) this.#schedule()
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.media.close()
    await this.tcp.close()
  }

  /** Takes a session that has been made, whose USERNAME is claimed. */
  begin(session: Session): void {
    const { signal } = session.admission
    const onDenied = (): void => void this.end(session, 'access')
    this.table.add(session)
    this.#onDenied.set(session, onDenied)
    signal.addEventListener('abort', onDenied)
  }

  /** Takes a place for a session to come; false when there is none. Each is given back by `leave`. */
  enter(): boolean {
    if (this.table.size + this.#pending >= this.#options.maxSessions) return false
    this.#pending++
    return true
  }

  leave(): void {
    this.#pending--
    this.#checkEmpty()
  }

  /** Resolves when no session is left and none is being made, or after `graceMs`. */
  async drained(graceMs: number): Promise<void> {
    if (graceMs <= 0 || this.#isEmpty()) return
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(graceMs, resolve)
      this.#onEmpty = () => {
        timer.cancel()
        resolve()
      }
    })
    this.#onEmpty = undefined
  }

  /** Ends a session; the promise, which never rejects, waits until its origin was told. May be called twice. */
  async end(session: Session, reason: EndReason): Promise<void> {
    if (session.ended !== undefined) return
    session.ended = reason
    this.ended[reason] = (this.ended[reason] ?? 0) + 1
    this.media.dismiss(session)
    this.table.delete(session)
    session.hold.end()
    session.meters.end()
    const onDenied = this.#onDenied.get(session)
    if (onDenied !== undefined) session.admission.signal.removeEventListener('abort', onDenied)
    this.#onDenied.delete(session)
    session.admission.end()
    this.#options.logger.debug({ session: session.id, origin: session.originId, reason }, 'session ended')
    for (const { username } of session.identities) this.#removeFromStore(username)
    this.#checkEmpty()
    if (untold.has(reason)) await this.tellOrigin(session.atOrigin, session.streamKey)
  }

  /**
   * Ends the sessions of a stream at an origin that cannot be reached, if their media has stopped too: a publisher who
   * comes back must not find the stream taken by what is left of him, until that is idle.
   */
  endStopped(streamKey: StreamKey, originId: OriginId): void {
    this.media.count()
    const stoppedSinceMs = this.#options.clock.nowMs() - stoppedAfterMs
    for (const session of this.table) {
      const isThere = session.streamKey === streamKey && session.originId === originId
      if (isThere && session.originSeenAtMs <= stoppedSinceMs) void this.end(session, 'origin-gone')
    }
  }

  /** Ends every session, and waits for their origins at most `waitMs`. */
  async endAll(reason: EndReason, waitMs: number): Promise<void> {
    const told = Promise.all(Array.from(this.table, (session) => this.end(session, reason)))
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(waitMs, resolve)
      void told.then(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  /** Deletes the session at its origin, which may be gone; never rejects. */
  async tellOrigin(atOrigin: OriginResource | undefined, key: StreamKey): Promise<void> {
    if (atOrigin === undefined) return
    const { result } = await this.#dialogue.ask(atOrigin, key, { method: 'DELETE', headers: {} })
    if (result.ok) return
    const { failure } = result
    this.#options.logger.debug({ origin: atOrigin.origin.id, failure }, 'origin not told')
  }

  /**
   * Takes a USERNAME for a session, here and in the store.
   *
   * @throws WEBRTC_SESSION_EXISTS when it belongs to a live session, or to one that is being made
   */
  async claimIdentity(
    { username, password }: IceIdentity,
    {
      streamKey,
      role,
      originId,
      originMedia,
    }: Pick<Session, 'streamKey' | 'role' | 'originId' | 'originMedia'>,
  ): Promise<void> {
    if (!this.table.reserve(username)) throw sessionExists()
    try {
      await this.#options.sessionStore.addSession({
        streamKey,
        role,
        username,
        originId,
        originAddress: originMedia.address,
        originPort: originMedia.port,
        icePassword: password.toString(),
      })
    } catch (error) {
      this.table.unreserve(username)
      throw errorCode(error) === 'BALANCER_SESSION_EXISTS' ? sessionExists() : error
    }
  }

  /** Gives a USERNAME back that no session came to use, or whose session has another one. */
  disclaimIdentity({ username }: IceIdentity): void {
    this.table.unreserve(username)
    this.#removeFromStore(username)
  }

  /** The store may be away. */
  #removeFromStore(username: string): void {
    this.#options.sessionStore.removeSession(username).catch((error: unknown) => {
      this.#storeFailed(error, 'session not removed from the store')
    })
  }

  /** While the store is away it fails for each session. */
  #storeFailed(error: unknown, message: string): void {
    const code = errorCode(error)
    const due = this.#storeFaults.due(`${message} ${code}`)
    if (due !== undefined) this.#options.logger.warn({ code, ...due }, message)
  }

  #schedule(): void {
    const { clock, idleTimeoutMs } = this.#options
    const everyMs = Math.min(1000, Math.max(10, idleTimeoutMs / 4))
    this.#timer = clock.after(everyMs, () => {
      this.#tick()
      this.#schedule()
    })
  }

  #tick(): void {
    this.media.count()
    const { clock, idleTimeoutMs, sessionStore } = this.#options
    const nowMs = clock.nowMs()
    for (const session of this.table) {
      if (nowMs - Math.min(session.clientSeenAtMs, session.originSeenAtMs) >= idleTimeoutMs) {
        void this.end(session, 'idle')
      } else if (nowMs - session.renewedAtMs >= renewEveryMs) {
        session.renewedAtMs = nowMs
        for (const { username } of session.identities) {
          sessionStore.renewSession(username).catch((error: unknown) => {
            this.#storeFailed(error, 'session not renewed in the store')
          })
        }
      }
    }
  }

  #isEmpty(): boolean {
    return this.table.size === 0 && this.#pending === 0
  }

  #checkEmpty(): void {
    if (this.#isEmpty()) this.#onEmpty?.()
  }
}

function sessionExists(): WebRtcError {
  return clientError(
    'WEBRTC_SESSION_EXISTS',
    409,
    'this pair of ICE user fragments belongs to a live session',
  )
}
