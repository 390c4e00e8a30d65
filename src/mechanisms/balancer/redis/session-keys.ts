import { LRUCache } from 'lru-cache'
import type { Clock } from '../../../foundation/clock.ts'
import type { Redis } from '../../redis/index.ts'
import type { RtcSession } from '../contract.ts'
import type { StreamKey } from '../stream-key.ts'
import { KEY } from './keys.ts'
import { KEEP_SESSION, REMOVE_VALUE, TAKE_SESSION } from './session-scripts.ts'
import { gatewayMark, rtcValue, usernameMark } from './srs-rtc-value.ts'

const MAX_STREAMS = 10_000

export interface SessionKeysOptions {
  readonly redis: Redis
  readonly clock: Clock
  /** This gateway. */
  readonly gateway: string
  readonly ttlMs: number
}

/** What was there before this gateway's value. */
export interface Taken {
  readonly isTaken: boolean
  readonly former: string | undefined
}

/**
 * The keys of a session in Redis: its own by USERNAME, and beside it that of its token and that of its stream. Every method
 * fails as a command does.
 */
export class SessionKeys {
  readonly #redis: Redis
  readonly #clock: Clock
  readonly #mark: string
  readonly #ttlMs: number
  /** When `srs-proxy-rtc:` of a stream was written or renewed here: its sessions share it. */
  readonly #streamsMs = new LRUCache<StreamKey, number>({ max: MAX_STREAMS })

  constructor({ redis, clock, gateway, ttlMs }: SessionKeysOptions) {
    this.#redis = redis
    this.#clock = clock
    this.#mark = gatewayMark(gateway)
    this.#ttlMs = ttlMs
  }

  /** Age at which keys are to be renewed, in milliseconds. */
  get renewAfterMs(): number {
    return (this.#ttlMs * 2) / 3
  }

  /** The value of a session; undefined when there is none. */
  read(username: string): Promise<string | undefined> {
    return this.#get(KEY.ufrag(username))
  }

  usernameOf(tokenHash: string): Promise<string | undefined> {
    return this.#get(KEY.session(tokenHash))
  }

  /** Puts a value in the place of what is there; with `from` only while that gateway serves it, or nobody. */
  async take(
    username: string,
    value: string,
    from?: { readonly gateway: string | undefined },
  ): Promise<Taken> {
    const mark = from?.gateway === undefined ? '' : gatewayMark(from.gateway)
    // Where no gateway was named, none may be: an empty mark would be found in any value.
    const condition = from === undefined ? [] : ['unserved', mark === '' ? this.#mark : mark]
    const answer = await this.#redis.run(
      TAKE_SESSION,
      [this.#redis.key(KEY.ufrag(username))],
      [this.#ttlMs, value, ...condition],
    )
    const [isTaken, former] = Array.isArray(answer) ? (answer as unknown[]) : []
    return { isTaken: isTaken === 1, former: typeof former === 'string' ? former : undefined }
  }

  /** Renews the key of the session, or with a value writes it. `other`: another gateway serves it. */
  async keep(username: string, value = ''): Promise<'kept' | 'gone' | 'other'> {
    const answer = await this.#redis.run(
      KEEP_SESSION,
      [this.#redis.key(KEY.ufrag(username))],
      [this.#ttlMs, this.#mark, value],
    )
    return answer === 'gone' || answer === 'other' ? answer : 'kept'
  }

  /** The session becomes the newest of its stream and of its token. */
  async setBesides({ streamKey, username, resource }: RtcSession): Promise<void> {
    await Promise.all([
      this.#setStream(streamKey, username),
      resource && this.#set(KEY.session(resource.tokenHash), username),
    ])
  }

  /**
   * Renews the keys that a newer session may have as its own by now. Where they are gone, it becomes the newest, unless
   * `isNewest` says by then that it is not.
   */
  async keepBesides(session: RtcSession, isNewest: () => boolean): Promise<void> {
    const { streamKey, username, resource } = session
    const nowMs = this.#clock.nowMs()
    const isStreamDue = nowMs - (this.#streamsMs.get(streamKey) ?? -Infinity) >= this.renewAfterMs
    if (isStreamDue) this.#streamsMs.set(streamKey, nowMs)
    const [hasStream, hasToken] = await Promise.all([
      !isStreamDue || this.#expire(KEY.rtc(streamKey)),
      resource === undefined || this.#expire(KEY.session(resource.tokenHash)),
    ])
    if (!isNewest()) return
    await Promise.all([
      hasStream || this.#setStream(streamKey, username),
      hasToken || resource === undefined || this.#set(KEY.session(resource.tokenHash), username),
    ])
  }

  /** Redis may have lost what this gateway wrote. */
  forgetTimes(): void {
    this.#streamsMs.clear()
  }

  /**
   * Removes a session whose value has `part` in it; without one, while this gateway serves it. Resolves with its value when
   * that was so.
   */
  async erase({ streamKey, username, resource }: RtcSession, part?: string): Promise<string | undefined> {
    const value = await this.#remove(KEY.ufrag(username), part ?? this.#mark, 'part')
    if (typeof value !== 'string') return undefined
    await Promise.all([
      this.#remove(KEY.rtc(streamKey), usernameMark(username), 'part'),
      resource && this.#remove(KEY.session(resource.tokenHash), username, 'all'),
    ])
    return value
  }

  /** The last session of a stream, as the SRS proxy has it. */
  async #setStream(streamKey: StreamKey, username: string): Promise<void> {
    this.#streamsMs.set(streamKey, this.#clock.nowMs())
    await this.#set(KEY.rtc(streamKey), rtcValue({ streamKey, username }))
  }

  async #get(name: string): Promise<string | undefined> {
    const value = await this.#redis.command('GET', this.#redis.key(name))
    return typeof value === 'string' ? value : undefined
  }

  #set(name: string, value: string): Promise<unknown> {
    return this.#redis.command('SET', this.#redis.key(name), value, 'PX', this.#ttlMs)
  }

  /** False when there is no such key. */
  async #expire(name: string): Promise<boolean> {
    return (await this.#redis.command('PEXPIRE', this.#redis.key(name), this.#ttlMs)) === 1
  }

  #remove(name: string, part: string, how: 'all' | 'part'): Promise<unknown> {
    return this.#redis.run(REMOVE_VALUE, [this.#redis.key(name)], [part, how])
  }
}
