import type { StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { EndpointId } from '../../../mechanisms/datapath/index.ts'
import type { IceIdentity, Session } from './session.ts'

/** The live sessions of this process, those on standby too, found by the hash of their token, USERNAME and socket towards the origin. */
export class SessionTable {
  readonly #sessions = new Set<Session>()
  readonly #byTokenHash = new Map<string, Session>()
  readonly #byUsername = new Map<string, Session>()
  readonly #byOriginEndpoint = new Map<EndpointId, Session>()
  /** Sessions that are being made: their USERNAME is taken, their place is counted. */
  readonly #reserved = new Set<string>()

  get size(): number {
    return this.#sessions.size
  }

  /** Takes a USERNAME for a session to come. False when a live session, or another one to come, has it. */
  reserve(username: string): boolean {
    if (this.#byUsername.has(username) || this.#reserved.has(username)) return false
    this.#reserved.add(username)
    return true
  }

  unreserve(username: string): void {
    this.#reserved.delete(username)
  }

  add(session: Session): void {
    this.#sessions.add(session)
    if (session.tokenHash !== undefined) this.#byTokenHash.set(session.tokenHash, session)
    this.#byOriginEndpoint.set(session.originEndpoint, session)
    for (const { username } of session.identities) {
      this.#reserved.delete(username)
      this.#byUsername.set(username, session)
    }
  }

  /** Gives a session another set of identities; the USERNAMEs that are new were reserved. */
  reidentify(session: Session, identities: readonly IceIdentity[]): void {
    for (const { username } of session.identities) this.#byUsername.delete(username)
    session.identities = identities
    for (const { username } of identities) {
      this.#reserved.delete(username)
      this.#byUsername.set(username, session)
    }
  }

  delete(session: Session): void {
    this.#sessions.delete(session)
    if (session.tokenHash !== undefined) this.#byTokenHash.delete(session.tokenHash)
    this.#byOriginEndpoint.delete(session.originEndpoint)
    for (const { username } of session.identities) this.#byUsername.delete(username)
  }

  byTokenHash(tokenHash: string): Session | undefined {
    return this.#byTokenHash.get(tokenHash)
  }

  byOriginEndpoint(endpoint: EndpointId): Session | undefined {
    return this.#byOriginEndpoint.get(endpoint)
  }

  byUsername(username: string): Session | undefined {
    return this.#byUsername.get(username)
  }

  /** For operators' requests, which are few. */
  byId(id: string): Session | undefined {
    for (const session of this.serving()) if (session.id === id) return session
    return undefined
  }

  /** How many no other gateway serves. */
  get servingSize(): number {
    let size = 0
    for (const { isStandby } of this.#sessions) if (!isStandby) size++
    return size
  }

  /** The one that was made first. */
  get oldestStandby(): Session | undefined {
    for (const session of this.#sessions) if (session.isStandby) return session
    return undefined
  }

  /** Those that no other gateway serves. */
  *serving(): IterableIterator<Session> {
    for (const session of this.#sessions) if (!session.isStandby) yield session
  }

  /** Whether a publisher of the stream is live here. Looked at when an origin drops a publisher, which is rare. */
  isPublished(key: StreamKey): boolean {
    for (const { role, streamKey } of this.#sessions) {
      if (role === 'publish' && streamKey === key) return true
    }
    return false
  }

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#sessions.values()
  }
}
