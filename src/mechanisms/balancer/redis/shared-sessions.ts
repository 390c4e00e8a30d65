import { z } from 'zod'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import { type Fleet, isGatewayId } from '../../fleet/index.ts'
import type { Redis } from '../../redis/index.ts'
import { LinePace, type Logger, type Registry, registerReadCounter } from '../../telemetry/index.ts'
import type { RtcSession, SessionLoss, SessionStore } from '../contract.ts'
import { SessionTable } from '../session-table.ts'
import { inBatches } from './in-batches.ts'
import { SessionCodec } from './session-codec.ts'
import { SessionKeys } from './session-keys.ts'
import { type Found, SessionLookup, type SessionLookupOptions } from './session-lookup.ts'
import { readRtcValue, tokenMark, usernameMark } from './srs-rtc-value.ts'

/** Options of the shared sessions, all bounds and times set. */
export interface SharedSessionsOptions {
  readonly redis: Redis
  readonly fleet: Pick<Fleet, 'id' | 'gone' | 'send' | 'on' | 'onReturn'>
  readonly clock: Clock
  /** What all gateways have; seals what is secret of a session. @defaultValue nothing secret is stored */
  readonly secret?: string
  /** A session not looked up or renewed for so long is dropped, here and in Redis, in milliseconds. */
  readonly sessionTtlMs: number
  /** Most sessions that this gateway serves; further ones are refused. */
  readonly maxSessions: number
  readonly originOf: SessionLookupOptions['originOf']
  readonly logger: Logger
  readonly registry: Registry
}

const TOPIC = 'session'

/** How a session of this gateway stands in Redis. */
interface Share {
  /** Monotonic time at which it was written or renewed; undefined when that failed. */
  writtenMs: number | undefined
  /** Whether this gateway has put its mark on it. Until then whatever stands there gives way, later no more. */
  isMarked: boolean
  /** It is to become the newest of its token and of its stream. */
  readonly isNew: boolean
}

const messageSchema = z.object({ username: z.string(), how: z.enum(['taken', 'ended']) })

/**
 * WebRTC sessions that all gateways know, in a Redis that Go proxies may share. What this gateway serves is in a table of
 * its own, and Redis is asked only for what is not. Writes go out in the background; one that failed is made up for when the
 * session is renewed, or when Redis is back. While a session is in use, its keys are renewed well before they expire.
 */
export class SharedSessions implements SessionStore {
  readonly isShared = true
  readonly #options: SharedSessionsOptions
  readonly #table: SessionTable
  readonly #codec: SessionCodec
  readonly #keys: SessionKeys
  readonly #shares = new WeakMap<RtcSession, Share>()
  readonly #others: SessionLookup
  /** What is being written, by USERNAME. A script may be sent a second time, and would then be done after what came later. */
  readonly #turns = new Map<string, Promise<void>>()
  readonly #listeners = new Set<(username: string, how: SessionLoss) => void>()
  readonly #pace: LinePace
  readonly #events = { taken: 0, taken_away: 0, write_failed: 0 }
  /** Counts the times that all was said again; a newer one ends those before. */
  #round = 0
  #ends: readonly (() => void)[] = []

  constructor(options: SharedSessionsOptions) {
    const { redis, clock, fleet, secret, sessionTtlMs } = options
    this.#options = options
    this.#table = new SessionTable(clock, options)
    this.#codec = new SessionCodec(secret)
    this.#keys = new SessionKeys({ redis, clock, gateway: fleet.id, ttlMs: sessionTtlMs })
    this.#others = new SessionLookup({
      ...options,
      keys: this.#keys,
      codec: this.#codec,
      complain: (message) => this.#complain(message),
    })
    this.#pace = new LinePace(clock)
    registerReadCounter(
      options.registry,
      'sluice_shared_sessions_total',
      'WebRTC sessions of other gateways that were looked up (found, unknown, unusable), sessions that changed over (taken, taken_away), and writes of sessions that are made up for later (write_failed).',
      'event',
      () => ({ ...this.#others.counts, ...this.#events }),
    )
  }

  /** Hears other gateways, until `close`. */
  start(): void {
    if (this.#ends.length > 0) return
    const { fleet } = this.#options
    this.#ends = [fleet.on(TOPIC, (data) => this.#hear(data)), fleet.onReturn(() => void this.#sayAll())]
  }

  /** What is in Redis stays: others may serve it. */
  close(): void {
    this.#round++
    for (const end of this.#ends) end()
    this.#ends = []
  }

  /** Sessions that this gateway serves. */
  get size(): number {
    return this.#table.size
  }

  async addSession(given: RtcSession): Promise<void> {
    const { isServed: _, ...session } = given
    this.#table.add(session)
    this.#others.forget(session.username)
    this.#shares.set(session, { writtenMs: undefined, isMarked: false, isNew: true })
    this.#write(session)
  }

  /** Fails as a command of Redis does, for a session that this gateway does not serve. */
  async findSession(username: string): Promise<RtcSession | undefined> {
    const own = this.#table.find(username)
    if (own === undefined) return sessionIn(await this.#look(username))
    this.#renew(own)
    return own
  }

  /** Fails as a command of Redis does, for a session that this gateway does not serve. */
  async findSessionOfToken(tokenHash: string): Promise<RtcSession | undefined> {
    const own = this.#table.ofToken(tokenHash)
    if (own !== undefined) {
      this.#renew(own)
      return own
    }
    const username = await this.#keys.usernameOf(tokenHash)
    const session = username === undefined ? undefined : await this.findSession(username)
    // The USERNAME may be that of another session by now.
    return session?.resource?.tokenHash === tokenHash ? session : undefined
  }

  async renewSession(username: string): Promise<void> {
    const own = this.#table.find(username)
    if (own !== undefined) this.#renew(own)
  }

  /**
   * What was found a moment ago is served without waiting for Redis, but for `unserved`.
   * @throws BALANCER_TOO_MANY_SESSIONS when the table is full, and what a command of Redis fails with
   */
  async takeSession(username: string, unserved?: 'unserved'): Promise<boolean> {
    // Whoever served it a moment ago may have gone meanwhile.
    const recalled = unserved === undefined ? this.#others.recall(username) : undefined
    const found = this.#isHere(username) ? undefined : (recalled ?? (await this.#look(username)))
    if (this.#isHere(username)) {
      await this.renewSession(username)
      return true
    }
    if (found === undefined || (unserved !== undefined && found.isServed)) return false
    const { session, gateway } = found
    this.#table.add(session)
    this.#others.forget(username)
    const share: Share = { writtenMs: undefined, isMarked: false, isNew: false }
    this.#shares.set(session, share)
    if (unserved !== undefined && !(await this.#takeUnserved(session, share, gateway))) return false
    this.#events.taken++
    if (unserved === undefined) this.#write(session, gateway)
    return true
  }

  async servesSession(username: string): Promise<boolean> {
    await this.#turns.get(username)
    const word = await this.#keys.keep(username)
    if (word === 'other' && this.#isHere(username)) this.#lose(username, 'taken')
    return word !== 'other'
  }

  async removeSession(username: string): Promise<void> {
    const own = this.#table.get(username)
    const session = own ?? this.#others.recall(username)?.session
    this.#table.remove(username)
    this.#others.forget(username)
    if (session !== undefined) this.#inTurn(username, () => this.#erase(session, own !== undefined))
  }

  onSessionLost(listener: (username: string, how: SessionLoss) => void): () => void {
    const entry = (username: string, how: SessionLoss): void => listener(username, how)
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  #isHere(username: string): boolean {
    return this.#table.get(username) !== undefined
  }

  #isServedHere(session: RtcSession): boolean {
    return this.#table.get(session.username) === session
  }

  /** Asks Redis for a session that this gateway does not serve. */
  async #look(username: string): Promise<Found | undefined> {
    await this.#turns.get(username)
    return await this.#others.look(username)
  }

  /** Renews the keys when two thirds of their time have passed, or writes them when that failed before. */
  #renew(session: RtcSession): void {
    const { clock, redis } = this.#options
    const share = this.#shares.get(session)
    if (share === undefined || !redis.isUp) return
    if (share.writtenMs === undefined) this.#write(session)
    else if (clock.nowMs() - share.writtenMs >= this.#keys.renewAfterMs) {
      this.#inBackground(session, share, async () => {
        const word = await this.#keep(session)
        if (word === 'gone' && this.#isServedHere(session)) await this.#keep(session, this.#valueOf(session))
      })
    }
  }

  /** Writes all keys. `former` is the gateway that is known to have served it. */
  #write(session: RtcSession, former?: string): void {
    const share = this.#shares.get(session)
    if (share === undefined) return
    this.#inBackground(session, share, async () => {
      const value = this.#valueOf(session)
      if (share.isMarked) {
        await this.#keep(session, value)
        return
      }
      const [taken] = await Promise.all([
        this.#keys.take(session.username, value),
        share.isNew ? this.#keys.setBesides(session) : this.#keepBesides(session),
      ])
      share.isMarked = true
      this.#tell(gatewayOf(taken.former) ?? former, session.username, 'taken')
    })
  }

  /** Rejects as a command does. */
  async #takeUnserved(session: RtcSession, share: Share, gateway: string | undefined): Promise<boolean> {
    try {
      const { isTaken } = await this.#keys.take(session.username, this.#valueOf(session), { gateway })
      share.isMarked = isTaken
    } finally {
      if (!share.isMarked && this.#isServedHere(session)) this.#table.remove(session.username)
    }
    if (!share.isMarked) return false
    this.#inBackground(session, share, () => this.#keepBesides(session))
    return true
  }

  /** Renews what is there, or with a value writes it. */
  async #keep(session: RtcSession, value?: string): Promise<'kept' | 'gone' | 'other'> {
    const { username } = session
    const [word] = await Promise.all([this.#keys.keep(username, value), this.#keepBesides(session)])
    // The message that said so was lost.
    if (word === 'other' && this.#isServedHere(session)) this.#lose(username, 'taken')
    return word
  }

  #keepBesides(session: RtcSession): Promise<void> {
    return this.#keys.keepBesides(session, () => {
      const { resource, username } = session
      const isNewest = resource === undefined || this.#table.usernameOf(resource.tokenHash) === username
      return isNewest && this.#isServedHere(session)
    })
  }

  #inBackground({ username }: RtcSession, share: Share, act: () => Promise<void>): void {
    share.writtenMs = this.#options.clock.nowMs()
    this.#inTurn(username, async () => {
      try {
        await act()
      } catch (error) {
        share.writtenMs = undefined
        this.#events.write_failed++
        this.#complain('session not written to Redis', error)
      }
    })
  }

  /** One thing after another is done for a USERNAME, the first at once. `act` never rejects. */
  #inTurn(username: string, act: () => Promise<void>): void {
    const turn = this.#turns.get(username)?.then(act) ?? act()
    this.#turns.set(username, turn)
    void turn.then(() => {
      if (this.#turns.get(username) === turn) this.#turns.delete(username)
    })
  }

  /** Never rejects. What another gateway has taken from this one is left alone. */
  async #erase(session: RtcSession, wasServedHere: boolean): Promise<void> {
    const { username, resource } = session
    // A USERNAME may be that of another session by now.
    const part = resource === undefined ? usernameMark(username) : tokenMark(resource.tokenHash)
    try {
      const value = await this.#keys.erase(session, wasServedHere ? undefined : part)
      this.#tell(gatewayOf(value), username, 'ended')
    } catch (error) {
      this.#events.write_failed++
      this.#complain('session not removed from Redis', error)
    }
  }

  /** Redis is back, or has lost what it had. */
  async #sayAll(): Promise<void> {
    const round = ++this.#round
    this.#keys.forgetTimes()
    await inBatches(
      this.#table.all(),
      async (session) => {
        if (!this.#isServedHere(session)) return
        this.#write(session)
        await this.#turns.get(session.username)
      },
      () => round === this.#round && this.#options.redis.isUp,
    )
  }

  #tell(gateway: string | undefined, username: string, how: SessionLoss): void {
    const { fleet } = this.#options
    if (gateway === undefined || gateway === fleet.id || !isGatewayId(gateway)) return
    fleet.send(gateway, TOPIC, { username, how })
  }

  #hear(data: unknown): void {
    const { data: message } = messageSchema.safeParse(data)
    if (message === undefined) return
    this.#others.forget(message.username)
    if (this.#isHere(message.username)) this.#lose(message.username, message.how)
  }

  #lose(username: string, how: SessionLoss): void {
    this.#table.remove(username)
    if (how === 'taken') this.#events.taken_away++
    for (const listener of [...this.#listeners]) listener(username, how)
  }

  #valueOf(session: RtcSession): string {
    return this.#codec.write(session, this.#options.fleet.id)
  }

  #complain(message: string, error?: unknown): void {
    const due = this.#pace.due(message)
    if (due === undefined) return
    this.#options.logger.warn({ ...(error !== undefined && { code: errorCode(error) }), ...due }, message)
  }
}

function sessionIn(found: Found | undefined): RtcSession | undefined {
  if (found === undefined) return undefined
  return found.isServed ? { ...found.session, isServed: true } : found.session
}

/** The gateway that a value names; undefined for one of a Go proxy, and for what is none. */
function gatewayOf(text: string | undefined): string | undefined {
  return text === undefined ? undefined : readRtcValue(text)?.ours?.gateway
}
