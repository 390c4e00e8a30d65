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

/** HLS sessions by id and by stream; a stream has one. */
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
    const known = this.find(this.#ids.get(streamKey) ?? '')
    if (known !== undefined) return known
    if (this.#entries.size >= this.#options.maxHlsSessions) {
      for (const id of this.#entries.keys()) {
        this.#remove(id)
        break
      }
    }
    const session = { id: this.#freeId(), streamKey, fullUrl }
    this.#ids.set(streamKey, session.id)
    this.#put(session)
    return session
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
    this.#ids.delete(entry.session.streamKey)
  }

  #expire(): void {
    const now = this.#clock.nowMs()
    for (const [id, { expiresMs }] of this.#entries) {
      if (expiresMs > now) return
      this.#remove(id)
    }
  }
}
