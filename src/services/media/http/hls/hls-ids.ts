import type { Clock } from '../../../../foundation/clock.ts'
import { errorCode } from '../../../../foundation/errors.ts'
import type { HlsSession, HlsSessionStore, StreamKey } from '../../../../mechanisms/balancer/index.ts'
import type { Logger } from '../../../../mechanisms/telemetry/index.ts'
import { ExpiringMap } from './expiring-map.ts'

/** For how long the store is not asked again, in milliseconds: a twelfth of what it keeps a session for. */
const FRESH_MS = 10_000
const MAX_FRESH = 20_000
/** While the store fails, one line in so many milliseconds. */
const COMPLAIN_MS = 10_000

interface Fresh {
  readonly session: HlsSession
  readonly untilMs: number
}

/**
 * The `spbhid` of streams. The store keeps them, also for other gateways; what it said a moment ago is not asked again. While
 * it cannot be reached, playlists go without.
 */
export class HlsIds {
  readonly #store: HlsSessionStore
  readonly #clock: Clock
  readonly #log: Logger
  readonly #byKey: ExpiringMap<Fresh>
  readonly #byId: ExpiringMap<Fresh>
  #quietUntilMs = 0

  constructor(store: HlsSessionStore, clock: Clock, log: Logger) {
    this.#store = store
    this.#clock = clock
    this.#log = log
    this.#byKey = new ExpiringMap({ clock, ttlMs: FRESH_MS, maxEntries: MAX_FRESH })
    this.#byId = new ExpiringMap({ clock, ttlMs: FRESH_MS, maxEntries: MAX_FRESH })
  }

  /** The id of a stream; undefined when the store fails. */
  async open(key: StreamKey, fullUrl: string): Promise<HlsSession | undefined> {
    return this.#ask(this.#byKey.get(key), () => this.#store.openHls(key, fullUrl))
  }

  /** What an id stands for; undefined when it is none, or none any more. */
  async find(id: string): Promise<HlsSession | undefined> {
    if (!/^[0-9a-f]{7}$/.test(id)) return undefined
    return this.#ask(this.#byId.get(id), () => this.#store.findHls(id))
  }

  async #ask(
    fresh: Fresh | undefined,
    ask: () => Promise<HlsSession | undefined>,
  ): Promise<HlsSession | undefined> {
    if (fresh !== undefined && fresh.untilMs > this.#clock.nowMs()) return fresh.session
    try {
      const session = await ask()
      if (session !== undefined) this.#remember(session)
      return session
    } catch (error) {
      this.#complain(error)
      return undefined
    }
  }

  #remember(session: HlsSession): void {
    const fresh = { session, untilMs: this.#clock.nowMs() + FRESH_MS }
    this.#byKey.set(session.streamKey, fresh)
    this.#byId.set(session.id, fresh)
  }

  #complain(error: unknown): void {
    if (this.#clock.nowMs() < this.#quietUntilMs) return
    this.#quietUntilMs = this.#clock.nowMs() + COMPLAIN_MS
    this.#log.warn({ code: errorCode(error) }, 'store of HLS sessions failed')
  }
}
