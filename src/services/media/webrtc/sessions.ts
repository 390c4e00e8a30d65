import type { Timer } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { OriginId, RtcSession, StreamKey } from '../../../mechanisms/balancer/index.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import { LimitMeters } from '../access/index.ts'
import { type Elsewhere, nowhere } from './elsewhere.ts'
import { IceTcp } from './ice-tcp.ts'
import { MediaPlane } from './media-plane.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { OriginDialogue } from './origin-dialogue.ts'
import type { OriginResource } from './origin-links.ts'
import { resumedAdmission } from './resumed-admission.ts'
import type { EndReason, IceIdentity, Session } from './session.ts'
import { identityIn, recordOf } from './session-record.ts'
import { sessionExists, SessionStoreClient } from './session-store-client.ts'
import { SessionTable } from './session-table.ts'

/** How often a store is told that a session is still alive; stores forget after minutes. */
const renewEveryMs = 20_000

/**
 * An origin that takes no connection and whose media has stopped for so long is gone: a working one sends feedback all
 * the time.
 */
const stoppedAfterMs = 3000

/** A client with paths through two gateways moves its session from one to the other no more often than this. */
const standbyAtLeastMs = 1000

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
  readonly store: SessionStoreClient
  /** Where sessions are looked for that are not here. */
  elsewhere: Elsewhere = nowhere
  readonly ended: Partial<Record<EndReason, number>> = {}
  readonly #options: CompleteWebRtcOptions
  readonly #dialogue: OriginDialogue
  readonly #faults: LinePace
  /** Ends the listening to what ends a session. */
  readonly #unwatch = new Map<Session, () => void>()
  /** Idle sessions that another gateway may have. */
  readonly #asked = new Set<Session>()
  #timer: Timer | undefined
  #pending = 0
  #onEmpty: (() => void) | undefined

  constructor(options: CompleteWebRtcOptions, dialogue: OriginDialogue) {
    this.#options = options
    this.#dialogue = dialogue
    this.#faults = new LinePace(options.clock)
    this.store = new SessionStoreClient(options)
    const ask: Elsewhere['ask'] = (...request) => this.elsewhere.ask(...request)
    this.media = new MediaPlane(options, this.table, {
      ask,
      originGone: (session) => void this.end(session, 'origin-gone'),
      cameBack: (session) => this.serve(session),
    })
    this.tcp = new IceTcp(options, this.table, this.media, ask)
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

  /**
   * Takes a session that has been made, whose USERNAME is claimed.
   *
   * @param moved aborted when its stream goes on at another origin
   */
  begin(session: Session, moved: AbortSignal): void {
    this.table.add(session)
    this.#watch(session, moved)
  }

  /** Another gateway serves it: what its end calls for is no more up to this one. Its paths stay while they are used. */
  standBy(session: Session): void {
    if (session.isStandby || session.ended !== undefined) return
    session.isStandby = true
    session.standbySinceMs = this.#options.clock.nowMs()
    this.#count('taken')
    this.#letGo(session)
    session.admission.handOver()
    this.#options.logger.debug({ session: session.id, origin: session.originId }, 'session taken over')
    this.#checkEmpty()
  }

  /** Its client uses a path through this gateway again. */
  serve(session: Session): void {
    const sinceMs = this.#options.clock.nowMs() - session.standbySinceMs
    if (!session.isStandby || session.ended !== undefined || sinceMs < standbyAtLeastMs) return
    try {
      const { endsAtMs } = session.admission
      session.admission = resumedAdmission(this.#options.access, session, endsAtMs)
    } catch {
      // Its time is over, or this gateway's.
      void this.end(session, 'taken')
      return
    }
    session.isStandby = false
    this.#adoptStream(session)
    for (const { username } of session.identities) this.take(username)
  }

  /** What another gateway began goes on here. */
  beginTaken(session: Session): void {
    this.table.add(session)
    this.#adoptStream(session)
  }

  #adoptStream(session: Session): void {
    const moved = new AbortController()
    this.#watch(session, moved.signal)
    void this.#hold(session, moved)
  }

  /** Says that its stream is in use here; without a word from the balancer it goes on all the same. */
  async #hold(session: Session, moved: AbortController): Promise<void> {
    const { streamKey, originId, role } = session
    try {
      const onMoved = role === 'play' ? () => moved.abort() : undefined
      const hold = await this.#options.balancer.hold(streamKey, originId, role, onMoved)
      if (session.isStandby || session.ended !== undefined) hold?.end()
      else if (hold !== undefined) {
        session.hold.end()
        session.hold = hold
      }
    } catch (error) {
      const code = errorCode(error)
      const due = this.#faults.due(code)
      if (due !== undefined) this.#options.logger.warn({ code, ...due }, 'a session has no hold')
    }
  }

  #watch(session: Session, moved: AbortSignal): void {
    const { signal } = session.admission
    const onDenied = (): void => void this.end(session, 'access')
    const onMoved = (): void => void this.end(session, 'moved')
    signal.addEventListener('abort', onDenied)
    moved.addEventListener('abort', onMoved)
    this.#unwatch.set(session, () => {
      signal.removeEventListener('abort', onDenied)
      moved.removeEventListener('abort', onMoved)
    })
    if (moved.aborted) onMoved()
  }

  #letGo(session: Session): void {
    this.#unwatch.get(session)?.()
    this.#unwatch.delete(session)
    session.hold.end()
  }

  #count(reason: EndReason): void {
    this.ended[reason] = (this.ended[reason] ?? 0) + 1
  }

  /**
   * Takes a place for a session to come; false when there is none. Each is given back by `leave`. What stands by gives way:
   * as many may come from another gateway as have just gone there.
   */
  enter(): boolean {
    if (this.table.size + this.#pending >= this.#options.maxSessions) {
      const standby = this.table.oldestStandby
      if (standby === undefined) return false
      void this.end(standby, 'taken')
    }
    this.#pending++
    return true
  }

  leave(): void {
    this.#pending--
    this.#checkEmpty()
  }

  /** Resolves when no session is served here and none is being made, or after `graceMs`. */
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

  /**
   * Ends a session; the promise, which never rejects, waits until its origin was told. May be called twice.
   *
   * @param isTold whether its origin is told where the reason calls for it
   */
  async end(session: Session, reason: EndReason, isTold = true): Promise<void> {
    if (session.ended !== undefined) return
    session.ended = reason
    if (!session.isStandby) this.#count(reason)
    this.media.dismiss(session)
    this.table.delete(session)
    this.#letGo(session)
    session.meters.end()
    const goesOn = this.#goesOn(session, reason)
    if (goesOn) session.admission.handOver()
    else session.admission.end()
    this.#options.logger.debug({ session: session.id, origin: session.originId, reason }, 'session ended')
    if (!goesOn) {
      for (const { username } of session.identities) this.remove(username)
    }
    this.#checkEmpty()
    if (!goesOn && isTold && untold.has(reason)) await this.tellOrigin(session.atOrigin, session.streamKey)
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
   * @throws WEBRTC_SESSION_EXISTS when it belongs to a live session, or to one that is being made; what the store throws
   */
  async claim(record: RtcSession): Promise<void> {
    const { username } = record
    if (!this.table.reserve(username)) throw sessionExists()
    try {
      await this.store.add(record)
    } catch (error) {
      this.table.unreserve(username)
      throw error
    }
  }

  /** Gives a USERNAME back that no session came to use, or whose session has another one. */
  disclaim(username: string): void {
    this.table.unreserve(username)
    this.store.remove(username)
  }

  /** Asks for an ICE restart's identity besides the one in use. @throws WEBRTC_SESSION_EXISTS, and what the store throws */
  async restart(session: Session, identity: IceIdentity, etag: string | undefined): Promise<void> {
    const { identities, admission } = session
    if (identities.some(({ username }) => username === identity.username)) return
    const state = { etag, untilMs: admission.endsAtMs, previous: identities[0]?.username }
    await this.claim(recordOf(session, identity, state))
    if (session.ended === undefined) this.#addIdentity(session, identity, etag)
    else this.disclaim(identity.username)
  }

  /** A session got another identity through another gateway. False for what is no such thing. */
  adopt(session: Session, record: RtcSession): boolean {
    const identity = identityIn(record)
    if (identity === undefined || record.originId !== session.originId) return false
    if (session.identities.some(({ username }) => username === identity.username)) return true
    this.#addIdentity(session, identity, record.resource?.etag)
    // On standby it waits for the client to nominate its path.
    if (!session.isStandby) this.take(identity.username)
    return true
  }

  /** A USERNAME of a session is over, by another gateway's word; with the newest the session is. */
  drop(session: Session, username: string): void {
    const [newest, ...older] = session.identities
    if (newest === undefined || newest.username === username) void this.end(session, 'client')
    else this.table.reidentify(session, [newest, ...older.filter((one) => one.username !== username)])
  }

  /** Says in the background that this gateway serves the session; drops it when that is over already. */
  take(username: string): void {
    this.store.take(username, () => {
      const session = this.table.byUsername(username)
      // One from before a restart of ICE is not missed.
      if (session?.identities[0]?.username === username) void this.end(session, 'taken')
    })
  }

  /** The one before holds while the client changes over. */
  #addIdentity(session: Session, identity: IceIdentity, etag: string | undefined): void {
    const [current, ...older] = session.identities
    this.table.reidentify(session, current === undefined ? [identity] : [identity, current])
    session.etag = etag ?? session.etag
    for (const { username } of older) this.disclaim(username)
  }

  /** Whether another gateway serves it, or may. */
  #goesOn({ identities, isStandby }: Session, reason: EndReason): boolean {
    if (reason === 'taken' || isStandby) return true
    if (reason !== 'drained' || !this.store.isShared || !this.#options.leaveOnClose) return false
    return identities.every(({ password }) => password !== undefined)
  }

  /** The session of a USERNAME is over, here or at another gateway. */
  remove(username: string): void {
    this.elsewhere.forget(username)
    this.store.remove(username)
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
    const nowMs = this.#options.clock.nowMs()
    for (const session of this.table) {
      if (this.#isIdle(session, nowMs)) {
        if (this.store.isShared && !session.isStandby) void this.#endIdle(session)
        else void this.end(session, 'idle')
      } else if (nowMs - session.renewedAtMs >= renewEveryMs) {
        session.renewedAtMs = nowMs
        if (session.isStandby) void this.#review(session)
        else for (const { username } of session.identities) this.store.renew(username)
      }
    }
  }

  #isIdle({ clientSeenAtMs, originSeenAtMs }: Session, nowMs: number): boolean {
    return nowMs - Math.min(clientSeenAtMs, originSeenAtMs) >= this.#options.idleTimeoutMs
  }

  /** A client still sends here: whoever serves its session may have gone, or have ended it. */
  async #review(session: Session): Promise<void> {
    const username = session.identities[0]?.username ?? ''
    // The next time comes.
    const record = await this.store.find(username).catch(() => 'unknown' as const)
    if (record === undefined) await this.end(session, 'taken')
    else if (record !== 'unknown' && record.isServed !== true) this.serve(session)
  }

  /**
   * That another gateway has taken a session is a message that may be lost; then it is idle here and lives there. While the
   * store does not answer the origin is not told either: it ends what nobody uses.
   */
  async #endIdle(session: Session): Promise<void> {
    const username = session.identities[0]?.username ?? ''
    // Those of a whole origin become idle together. The next time comes.
    if (this.#asked.has(session) || this.#asked.size >= this.#options.maxLookups) return
    this.#asked.add(session)
    const isServedHere = await this.store.serves(username)
    this.#asked.delete(session)
    if (!this.#isIdle(session, this.#options.clock.nowMs())) return
    await this.end(session, isServedHere === false ? 'taken' : 'idle', isServedHere === true)
  }

  #isEmpty(): boolean {
    return this.#pending === 0 && this.table.serving().next().done === true
  }

  #checkEmpty(): void {
    if (this.#isEmpty()) this.#onEmpty?.()
  }
}
