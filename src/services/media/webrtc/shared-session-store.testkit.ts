import type { RtcSession, SessionLoss, SessionStore } from '../../../mechanisms/balancer/index.ts'
import { SluiceError } from '../../../foundation/errors.ts'

type Listener = (username: string, how: SessionLoss) => void

/** What gateways share, in place of a Redis: one map, seen by any number of gateways of one process. */
export class SharedSessionStore {
  readonly records: Map<string, { readonly session: RtcSession; readonly owner: string }> = new Map()
  /** Gateways whose lease has run out. */
  readonly dead: Set<string> = new Set()
  /** Look-ups that were made. */
  lookups = 0
  /** Gateways that renewed a session, each time. */
  readonly renewals: string[] = []
  /** It answers nothing but errors. */
  isAway = false
  /** Gateways are not told that a session was taken from them. */
  losesMessages = false
  /** Look-ups wait for this. */
  until: Promise<void> = Promise.resolve()
  readonly #listeners = new Map<string, Set<Listener>>()

  /** As another program, or a gateway without a secret, writes a session. */
  write(session: RtcSession, owner = ''): void {
    this.records.set(session.username, { session, owner })
  }

  ownerOf(username: string): string | undefined {
    return this.records.get(username)?.owner
  }

  /** The store as one gateway sees it. */
  gateway(id: string): SessionStore {
    const listeners = new Set<Listener>()
    this.#listeners.set(id, listeners)
    return {
      isShared: true,
      addSession: async (session) => {
        this.#use()
        if (this.records.has(session.username)) throw exists()
        this.records.set(session.username, { session, owner: id })
      },
      findSession: (username) => this.#find(id, username),
      findSessionOfToken: (tokenHash) => {
        const usernames = [...this.records.values()]
          .filter(({ session }) => session.resource?.tokenHash === tokenHash)
          .map(({ session }) => session.username)
        return this.#find(id, usernames.at(-1) ?? '')
      },
      renewSession: async () => {
        this.#use()
        this.renewals.push(id)
      },
      takeSession: async (username, unserved) => {
        this.#use()
        const record = this.records.get(username)
        if (record === undefined) return false
        if (unserved !== undefined && this.#isServed(id, record.owner)) return false
        this.records.set(username, { ...record, owner: id })
        this.#tell(record.owner, id, username, 'taken')
        return true
      },
      removeSession: async (username) => {
        this.#use()
        const record = this.records.get(username)
        this.records.delete(username)
        if (record !== undefined) this.#tell(record.owner, id, username, 'ended')
      },
      onSessionLost: (listener) => {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
      servesSession: async (username) => {
        await this.until
        this.#use()
        const owner = this.ownerOf(username)
        return owner === undefined || owner === id
      },
    }
  }

  /** Listeners of all gateways; a closed one has none. */
  get listeners(): number {
    return [...this.#listeners.values()].reduce((sum, { size }) => sum + size, 0)
  }

  async #find(id: string, username: string): Promise<RtcSession | undefined> {
    this.lookups++
    await this.until
    this.#use()
    const record = this.records.get(username)
    return record && { ...record.session, isServed: this.#isServed(id, record.owner) }
  }

  #isServed(id: string, owner: string): boolean {
    return owner !== '' && owner !== id && !this.dead.has(owner)
  }

  /** A message comes in a turn of its own. */
  #tell(owner: string, from: string, username: string, how: SessionLoss): void {
    if (owner === from || this.losesMessages) return
    setImmediate(() => {
      for (const listener of this.#listeners.get(owner) ?? []) listener(username, how)
    })
  }

  #use(): void {
    if (!this.isAway) return
    throw new SluiceError('REDIS_AWAY', 'Redis is away', { side: 'self', retryable: true })
  }
}

function exists(): SluiceError {
  const options = { side: 'client', retryable: true, status: 409 } as const
  return new SluiceError('BALANCER_SESSION_EXISTS', 'the session is live', options)
}
