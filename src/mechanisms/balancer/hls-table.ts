import type { Clock } from '../../foundation/clock.ts'
import type { HlsSession } from './contract.ts'
import type { Random } from './policy.ts'
import type { StreamKey } from './stream-key.ts'

/** Bounds and times of the HLS table, all set. */
export interface HlsTableOptions {
  readonly hlsTtlMs: number
  readonly maxHlsSessions: number
}

interface Entry {
  readonly session: HlsSession
  readonly expiresMs: number
}

/** 7 hexadecimal digits. */
const ID_COUNT = 2 ** 28

/** HLS sessions by id and by stream; a stream has one, and any number that others opened for it. */
export class HlsTable {
  /** In the order of expiry: an entry that is renewed moves to the end. */
  readonly #entries = new Map<string, Entry>()
  readonly #ids = new Map<StreamKey, string>()
  readonly #clock: Clock
  readonly #random: Random
  readonly #options: HlsTableOptions

  constructor(clock: Clock, random: Random, options: HlsTableOptions) {
    this.#clock = clock
    this.#random = random
    this.#options = options
  }

  get size(): number {
    this.#expire()
    return this.#entries.size
  }

  /** The live session of the stream, renewed, or a new one; at the bound the one unused for longest goes. */
  open(streamKey: StreamKey, fullUrl: string): HlsSession {
    return this.ofStream(streamKey) ?? this.adopt(this.make(streamKey, fullUrl))
  }

  /** A session with an id that is free here; it is not taken in. */
  make(streamKey: StreamKey, fullUrl: string): HlsSession {
    return { id: this.#freeId(), streamKey, fullUrl }
  }

  /** Takes in a session that others opened, or the one that is known by its id; its stream has it unless that has one. */
  adopt(session: HlsSession): HlsSession {
    const known = this.find(session.id)
    if (known !== undefined) return known
    if (this.#entries.size >= this.#options.maxHlsSessions) {
      for (const id of this.#entries.keys()) {
        this.#remove(id)
        break
      }
    }
    if (!this.#ids.has(session.streamKey)) this.#ids.set(session.streamKey, session.id)
    this.#put(session)
    return session
  }

  /** The session of the stream, renewed; undefined when none is live. */
  ofStream(streamKey: StreamKey): HlsSession | undefined {
    const id = this.#ids.get(streamKey)
    return id === undefined ? undefined : this.find(id)
  }

  all(): readonly HlsSession[] {
    this.#expire()
    return [...this.#entries.values()].map(({ session }) => session)
  }

  /** The session, which is renewed by this. */
  find(id: string): HlsSession | undefined {
    this.#expire()
    const session = this.#entries.get(id)?.session
    if (session !== undefined) this.#put(session)
    return session
  }

  #freeId(): string {
    let number = Math.floor(this.#random() * ID_COUNT)
    for (;;) {
      const id = number.toString(16).padStart(7, '0')
      if (!this.#entries.has(id)) return id
      number = (number + 1) % ID_COUNT
    }
  }

  #put(session: HlsSession): void {
    this.#entries.delete(session.id)
    this.#entries.set(session.id, { session, expiresMs: this.#clock.nowMs() + this.#options.hlsTtlMs })
  }

  #remove(id: string): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.#entries.delete(id)
    if (this.#ids.get(entry.session.streamKey) === id) this.#ids.delete(entry.session.streamKey)
  }

  #expire(): void {
    const now = this.#clock.nowMs()
    for (const [id, { expiresMs }] of this.#entries) {
      if (expiresMs > now) return
      this.#remove(id)
    }
  }
}
