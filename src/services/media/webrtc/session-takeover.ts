import { errorCode } from '../../../foundation/errors.ts'
import type { RtcSession, SessionLoss } from '../../../mechanisms/balancer/index.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import { StunMessage, stunUsername, verifyMessageIntegrity } from '../../../protocols/stun/index.ts'
import type { AskedElsewhere, Elsewhere, Sender } from './elsewhere.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { OriginLinks } from './origin-links.ts'
import { resumedAdmission } from './resumed-admission.ts'
import { type IceIdentity, newSession, noHold, type Session, type SessionFacts } from './session.ts'
import type { LookupRefusal, LookupResult, SessionLookups } from './session-lookups.ts'
import { placeOf, type SessionPlace } from './session-place.ts'
import { identityIn, sessionIdOf } from './session-record.ts'
import type { Sessions } from './sessions.ts'
import type { StrangerReason } from './stranger-reason.ts'

/** Longest request that is kept while its session is looked for. An ICE agent's has some hundred bytes. */
const maxRequestBytes = 1500

/** Sessions that are followed from gateway to gateway, by what came of it; the labels of a metric. */
export type TakeoverResult =
  /** Its client proved itself here. */
  | 'taken'
  /** A restart of ICE, made through another gateway, of a session that is served here. */
  | 'restarted'
  /** It could not be proved, and the first address got it. */
  | 'bound'
  /** It could not be served here. */
  | 'failed'

/** What came of a request whose session could not be proved; the labels of a metric. */
export type UnverifiedResult = 'bound' | 'refused'

/** Requests of one USERNAME that are kept: of each sender one, so that nobody keeps out who can prove to belong to it. */
const maxHeld = 4

interface Held {
  readonly request: Buffer
  readonly sender: Sender
  readonly settled: (request: Buffer, outcome: AskedElsewhere) => void
}

const reasonOf = {
  remembered: 'unknown-session',
  joined: 'being-looked-up',
  source: 'too-many-lookups',
  rate: 'too-many-lookups',
  'in-flight': 'too-many-lookups',
} as const satisfies Record<LookupRefusal, StrangerReason>

/**
 * Serves sessions that another gateway began. A STUN request whose USERNAME nobody here knows is looked up at the shared
 * store, within bounds. When its MESSAGE-INTEGRITY was made with the stored password the session goes on here: its origin
 * gets the request, and with it the address of a new socket, which it follows as it follows any client that moves. The
 * gateway that served it before is told. It stands by: it serves it no more, but leads on what its client still sends on
 * the paths that it proved there, until that ends; when the client nominates one of these again, it serves it again.
 *
 * Sessions without a stored password prove nothing, and a USERNAME is readable on the wire. So they are never taken from a
 * living gateway, which can tell their client from others. With `bind-once` one that no living gateway serves goes to the
 * first address that names it, at the one gateway that the store lets have it: no later request moves it, and it ends with
 * that address. Where the SRS proxy serves a session its own word stands beside ours, since it leaves no owner in the store:
 * whoever reads the USERNAME there could lead its media away as well, and by `bind-once` can do so here, once.
 */
export class SessionTakeover implements Elsewhere {
  readonly results: Record<TakeoverResult, number> = { taken: 0, restarted: 0, bound: 0, failed: 0 }
  readonly unverified: Record<UnverifiedResult, number> = { bound: 0, refused: 0 }
  readonly #options: CompleteWebRtcOptions
  readonly #links: OriginLinks
  readonly #sessions: Sessions
  readonly #lookups: SessionLookups
  readonly #faults: LinePace
  /** By USERNAME, while that is looked up. */
  readonly #held = new Map<string, Held[]>()
  #unsubscribe: (() => void) | undefined

  constructor(
    options: CompleteWebRtcOptions,
    links: OriginLinks,
    sessions: Sessions,
    lookups: SessionLookups,
  ) {
    this.#options = options
    this.#links = links
    this.#sessions = sessions
    this.#lookups = lookups
    this.#faults = new LinePace(options.clock)
  }

  start(): void {
    this.#unsubscribe ??= this.#options.sessionStore.onSessionLost((username, how) => {
      const session = this.#sessions.table.byUsername(username)
      if (session !== undefined) this.#lose(session, username, how)
    })
  }

  /** Nothing is taken over from now on; what is under way is given up. */
  stop(): void {
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
  }

  get #isStopped(): boolean {
    return this.#unsubscribe === undefined
  }

  forget(username: string): void {
    this.#lookups.remember(username)
  }

  ask(
    bytes: Uint8Array,
    sender: Sender,
    settled: (request: Buffer, outcome: AskedElsewhere) => void,
  ): StrangerReason | undefined {
    const username = stunUsername(bytes)
    const isPlausible = username !== undefined && /^[^:\s]+:[^:\s]+$/.test(username)
    if (!isPlausible || bytes.length > maxRequestBytes || this.#isStopped) {
      return 'unknown-session'
    }
    const waiting = this.#held.get(username)
    const refusal = this.#lookups.begin(username, sender.address, sender.transport)
    const isJoining = refusal === 'joined' && waiting !== undefined && hasRoom(waiting, sender)
    if (refusal !== undefined && !isJoining) return reasonOf[refusal]
    const held: Held = { request: Buffer.from(bytes), sender, settled }
    if (isJoining) waiting.push(held)
    else void this.#run(username, [held])
    return undefined
  }

  /** Never rejects. */
  async #run(username: string, held: Held[]): Promise<void> {
    this.#held.set(username, held)
    const [result, outcome] = await this.#answer(username, held)
    this.#held.delete(username)
    this.#lookups.end(username, result)
    for (const [i, { request, settled }] of held.entries()) {
      const isLate = outcome.kind === 'bound' && i > 0
      settled(request, isLate ? this.#refused() : outcome)
    }
  }

  #lose(session: Session, username: string, how: SessionLoss): void {
    if (how === 'ended') this.#sessions.drop(session, username)
    else if (session.identities.some(({ password }) => password !== undefined))
      this.#sessions.standBy(session)
    // Whoever has it now is as good as this one; it is not for two.
    else void this.#sessions.end(session, 'taken')
  }

  /** Never rejects. */
  async #answer(username: string, held: readonly Held[]): Promise<readonly [LookupResult, AskedElsewhere]> {
    let record: RtcSession | undefined
    try {
      record = await this.#sessions.store.find(username)
    } catch (error) {
      this.#tell(error, 'a session could not be looked up')
      return ['failed', dropped('lookup-failed')]
    }
    if (record === undefined || record.username !== username) {
      return ['unknown', dropped('unknown-session')]
    }
    try {
      return ['found', await this.#serve(record, held)]
    } catch (error) {
      this.#tell(error, 'a session of another gateway could not be served')
      this.results.failed++
      return ['found', dropped('not-served')]
    }
  }

  async #serve(record: RtcSession, held: readonly Held[]): Promise<AskedElsewhere> {
    const { table } = this.#sessions
    // It was made, or came over, while it was asked for.
    if (table.byUsername(record.username) !== undefined) return here
    const identity = identityIn(record)
    if (identity === undefined) return this.#bind(record, held[0])
    // Whoever could read the USERNAME may have been first.
    const proved = held.find(({ request }) => isSignedBy(identity, request))
    if (proved === undefined) return dropped('integrity')
    const own = this.#own(record)
    if (own !== undefined) {
      if (!this.#sessions.adopt(own, record)) return dropped('bad-record')
      this.results.restarted++
      return here
    }
    const session = await this.#open(record, identity, proved.sender)
    if (session === undefined) return dropped('bad-record')
    this.results.taken++
    if (session.ended === undefined) {
      for (const { username } of session.identities) this.#sessions.take(username)
    }
    return here
  }

  async #bind(record: RtcSession, first: Held | undefined): Promise<AskedElsewhere> {
    const { username } = record
    const isFree = this.#options.unverified === 'bind-once' && record.isServed !== true
    if (!isFree || first === undefined) return this.#refused()
    const identity = { username, password: undefined }
    const session = await this.#open(record, identity, first.sender)
    if (session === undefined) return dropped('bad-record')
    let isTaken = false
    try {
      isTaken = await this.#sessions.store.takeUnserved(username)
    } finally {
      // Not its own to end: somebody else may serve it.
      if (!isTaken) void this.#sessions.end(session, 'taken')
    }
    if (!isTaken || session.ended !== undefined) return this.#refused()
    this.unverified.bound++
    this.results.bound++
    return { kind: 'bound', session }
  }

  /** The session of a record, under whatever USERNAME it is served here. */
  #own({ resource }: RtcSession): Session | undefined {
    return resource && this.#sessions.table.byTokenHash(resource.tokenHash)
  }

  #refused(): AskedElsewhere {
    this.unverified.refused++
    return dropped('unverified')
  }

  /** Makes a session of a record; undefined where that leads to no origin. Rejects when it cannot be served here. */
  async #open(record: RtcSession, identity: IceIdentity, { address }: Sender): Promise<Session | undefined> {
    if (!this.#sessions.enter()) throw new Error('too many sessions')
    const undo: (() => void)[] = [() => this.#sessions.leave()]
    try {
      const { clock, access } = this.#options
      const { media, limits } = this.#sessions
      const place = await placeOf(record, this.#options, this.#links)
      const originMedia = place?.media
      const previous = await this.#previous(record)
      if (place === undefined || originMedia === undefined) return undefined
      const originEndpoint = await media.openOrigin(originMedia)
      undo.push(() => media.closeOrigin(originEndpoint))
      const facts = this.#facts(record, place, originMedia, address)
      // From here on it waits for nothing, so that whatever ends the session meets it in the table.
      if (this.#isStopped) throw new Error('the gateway closes')
      const own = this.#own(record)
      if (own !== undefined) return this.#sessions.adopt(own, record) ? own : undefined
      const admission = resumedAdmission(access, facts, record.resource?.untilMs)
      undo.push(() => admission.handOver())
      const meters = limits.take(admission.limits)
      const identities = previous === undefined ? [identity] : [identity, previous]
      const etag = record.resource?.etag
      const session = newSession(
        { ...facts, etag, hold: noHold, admission, meters, originEndpoint, identities },
        clock.nowMs(),
      )
      this.#sessions.beginTaken(session)
      undo.length = 1
      const { id, originId, role } = session
      this.#options.logger.debug({ session: id, origin: originId, role }, 'session taken over')
      return session
    } finally {
      for (const step of undo.toReversed()) step()
    }
  }

  #facts(
    { streamKey, role, originId, resource }: RtcSession,
    { atOrigin }: SessionPlace,
    originMedia: Session['originMedia'],
    address: string,
  ): SessionFacts {
    const { clock, random } = this.#options
    return {
      id: resource?.id ?? sessionIdOf(random),
      tokenHash: resource?.tokenHash,
      streamKey,
      role,
      originId,
      atOrigin,
      originMedia,
      clientAddress: resource?.clientAddress ?? address,
      sinceMs: resource?.sinceMs ?? clock.wallMs(),
      hasTcp: resource?.hasTcp ?? false,
    }
  }

  /** What the client used before a restart of ICE, so that whoever serves that is told too. */
  async #previous({ resource, username }: RtcSession): Promise<IceIdentity | undefined> {
    const previous = resource?.previous
    if (previous === undefined || previous === username) return undefined
    if (this.#sessions.table.byUsername(previous) !== undefined) return undefined
    const record = await this.#sessions.store.find(previous)
    const isSame = record?.username === previous && record.resource?.tokenHash === resource?.tokenHash
    return isSame ? record && identityIn(record) : undefined
  }

  /** While the store is away it fails for each. */
  #tell(error: unknown, message: string): void {
    const code = errorCode(error)
    const due = this.#faults.due(`${message} ${code}`)
    if (due !== undefined) this.#options.logger.warn({ code, err: error, ...due }, message)
  }
}

const here: AskedElsewhere = { kind: 'here' }

function hasRoom(held: readonly Held[], { transport, address }: Sender): boolean {
  if (held.length >= maxHeld) return false
  return held.every(({ sender }) => sender.transport !== transport || sender.address !== address)
}

function dropped(reason: StrangerReason): AskedElsewhere {
  return { kind: 'dropped', reason }
}

function isSignedBy({ password }: IceIdentity, request: Buffer): boolean {
  const message = StunMessage.decode(request)
  return typeof message !== 'string' && password !== undefined && verifyMessageIntegrity(message, password)
}
