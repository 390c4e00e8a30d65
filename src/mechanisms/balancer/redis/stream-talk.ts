import type { Clock, Timer } from '../../../foundation/clock.ts'
import { type Fleet, type GatewayId, isGatewayId } from '../../fleet/index.ts'
import type { Redis, RedisScript } from '../../redis/index.ts'
import { LinePace, type Logger } from '../../telemetry/index.ts'
import type { OriginId } from '../contract.ts'
import type { MemoryBalancerStore } from '../memory-store.ts'
import { parseStreamKey, type StreamKey } from '../stream-key.ts'
import { streamKeys } from './keys.ts'
import type { SharedOrigins } from './shared-origins.ts'
import { Sharing, type SharingParts } from './sharing.ts'
import { DROP, FAIL, LEAVE, USE } from './stream-scripts.ts'
import { type StreamPlace, streamPlaceOf } from './stream-place.ts'
import type { StreamShare } from './stream-share.ts'
import type { StreamShares } from './stream-shares.ts'

export interface StreamTalkOptions extends SharingParts {
  readonly origins: SharedOrigins
  /** How long a stream stays where it is after its last use, in milliseconds. */
  readonly pickIdleMs: number
  /** How long an origin's own word on its streams is kept, in milliseconds. */
  readonly followTtlMs: number
}

/** Streams that are said again at a time: many gateways may do so at once. */
const AT_A_TIME = 50
/** All gateways hear at once that Redis is back, and begin within so many milliseconds. */
const SPREAD_MS = 1000
/** Most streams that wait for Redis to hear of them. */
const MOST_OWING = 100_000
/** What changes while it is said is said again at once so often, and then later. */
const MOST_ROUNDS = 5
/** Of the publishers of one stream, as Redis has them: there is one, as a rule. */
const MOST_PUBLISHERS = 100
const TOPIC = 'stream'
/** Words of a place that no origin has accepted yet. */
export const NOT_YET: ReadonlySet<string> = new Set(['new', 'pending', 'next'])

/**
 * What gateways tell one another of streams by way of Redis: what is used here is said and renewed, what others say becomes
 * what the local copy knows.
 */
export class StreamTalk {
  /** Publishers of one stream that were found live at two origins. */
  conflicts = 0
  readonly sharing: Sharing
  readonly #redis: Redis
  readonly #fleet: Fleet
  readonly #local: MemoryBalancerStore
  readonly #origins: SharedOrigins
  readonly #shares: StreamShares
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #pace: LinePace
  readonly #random: () => number
  readonly #pickIdleMs: number
  readonly #followTtlMs: number
  /** What was to be said while Redis was away. */
  readonly #owing = new Set<StreamShare>()
  /** Places that the local copy has dropped, and Redis has not yet. */
  readonly #dropped = new Map<StreamKey, Dropped>()
  #isDropping = false
  #stops: (() => void)[] = []
  #timer: Timer | undefined
  #waiting: Timer | undefined

  constructor(shares: StreamShares, options: StreamTalkOptions) {
    this.#shares = shares
    this.sharing = new Sharing(options, 'place of a stream not shared')
    this.#redis = options.redis
    this.#fleet = options.fleet
    this.#local = options.local
    this.#origins = options.origins
    this.#clock = options.clock
    this.#logger = options.logger
    this.#pace = new LinePace(options.clock)
    this.#random = options.random
    this.#pickIdleMs = options.pickIdleMs
    this.#followTtlMs = options.followTtlMs
  }

  start(): void {
    this.#local.watchDrops((key, id, why) => this.#onDropped(key, id, why))
    this.#stops = [
      this.#fleet.on(TOPIC, (data) => this.#onMessage(data)),
      this.#fleet.onGone((id) => this.#onGone(id)),
      this.#fleet.onReturn(() => this.#later(() => void this.#sayAll())),
    ]
    this.#schedule()
  }

  close(): void {
    this.#timer?.cancel()
    this.#waiting?.cancel()
    for (const stop of this.#stops.splice(0)) stop()
  }

  /** Says it now, or later if that cannot be. */
  async speak(share: StreamShare): Promise<void> {
    try {
      if (this.#redis.isUp) {
        await this.#say(share)
        return
      }
    } catch (error) {
      this.sharing.failed(error)
    }
    this.owe(share)
  }

  /** It is said with the next sweep. */
  owe(share: StreamShare): void {
    // What was said longest ago has run out by itself by the time that there are so many.
    if (this.#owing.size >= MOST_OWING)
      for (const oldest of this.#owing) {
        this.#owing.delete(oldest)
        break
      }
    this.#owing.add(share)
  }

  /** An origin could not be reached from here: the stream leaves it, unless it is published there. Fails as a command does. */
  async fail(share: StreamShare, id: OriginId, how?: 'unreachable' | 'silent'): Promise<void> {
    const epoch = share.epoch++
    const self = share.role === 'publish' ? '' : this.#fleet.id
    const reply = await this.run(FAIL, share.key, [this.#origins.serverKey(id), how ?? '', self])
    const place = streamPlaceOf(reply)
    if (place?.word === 'left') this.unhear(share, id)
    if (place !== undefined) await this.apply(share, place, epoch + 1)
    // What still runs here has no place any more.
    if (share.isListed && this.#local.keptAt(share.key) === undefined) await this.#say(share)
  }

  /** An origin's word is taken back. */
  unhear(share: StreamShare, id: OriginId): void {
    share.heard.delete(id)
    share.follows = new Set([...share.follows].filter((other) => other !== id))
    this.#shares.file(share)
  }

  /** Nothing is known of the stream any more; what was said of it is taken back. */
  forget(key: StreamKey): void {
    const share = this.#shares.forget(key)
    if (share?.isListed) void this.speak(share)
  }

  /** Says what this gateway does with the stream, and hears where it is. One at a time for each stream. */
  async #say(share: StreamShare): Promise<void> {
    if (share.isSaying) {
      share.saysAgain = true
      return
    }
    share.isSaying = true
    try {
      for (let round = 0; round < MOST_ROUNDS; round++) {
        share.saysAgain = false
        await this.#sayOnce(share)
        for (const [id, heardMs] of share.heard) await this.sayFollow(share, id, heardMs)
        if (!share.saysAgain) return
      }
      this.owe(share)
    } finally {
      share.isSaying = false
    }
  }

  async #sayOnce(share: StreamShare): Promise<void> {
    const { key, role, epoch } = share
    const id = this.#local.keptAt(key)
    if (role === undefined || id === undefined || share.isForgotten) {
      share.said = undefined
      if (!share.isListed) return
      const newer = this.#shares.held(key)
      if (newer !== undefined && newer !== share && newer.role !== undefined) {
        // In Redis it is the same user.
        newer.isListed = true
        share.isListed = false
        return
      }
      await this.run(LEAVE, key, [this.#fleet.id, this.#pickIdleMs])
      share.isListed = false
      return
    }
    const isWanted = role === 'publish' && this.#local.pinnedAt(key) === id
    // Also when no answer comes.
    share.isListed = true
    const reply = streamPlaceOf(
      await this.run(USE, key, [
        this.#origins.serverKey(id),
        this.#pickIdleMs,
        this.#fleet.id,
        role,
        share.givesWay,
        isWanted ? 'wanted' : '',
      ]),
    )
    if (reply === undefined) return
    share.givesWay = ''
    share.isChosenHere = false
    const isElsewhere = reply.word === 'elsewhere'
    share.said = isElsewhere ? undefined : role
    share.isListed = !isElsewhere
    if (reply.word === 'moved') this.announce({ key })
    const hadGone = await this.apply(share, reply, epoch)
    if (!isElsewhere) return
    if (hadGone || this.#local.keptAt(key) !== id) share.saysAgain = true
    else if (role === 'publish') this.#onConflict(share, id)
  }

  /** Says an origin's word on a stream, and when it was heard. Fails as a command does. */
  async sayFollow(share: StreamShare, id: OriginId, heardMs: number): Promise<true> {
    const { key, epoch } = share
    const origin = await this.#local.findOrigin(id)
    if (origin === undefined || origin.state === 'silent') {
      this.unhear(share, id)
      await this.run(LEAVE, key, [`@${id}`, this.#pickIdleMs])
      return true
    }
    const reply = streamPlaceOf(
      await this.run(USE, key, [
        this.#origins.serverKey(id),
        this.#followTtlMs,
        `@${id}`,
        'publish',
        '',
        '',
        Math.ceil(this.#clock.nowMs() - heardMs),
      ]),
    )
    if (reply === undefined) return true
    if (reply.word === 'ended') {
      this.unhear(share, id)
      await this.#local.follow(key, id, false)
    }
    // It is there once the publisher elsewhere has gone.
    if (reply.word === 'elsewhere') this.owe(share)
    if (reply.word === 'moved') this.announce({ key })
    await this.apply(share, reply, epoch)
    return true
  }

  /** Makes the local copy what others say of a stream. True when users that have gone were among them; they are removed. */
  async apply(share: StreamShare, reply: StreamPlace, epoch: number): Promise<boolean> {
    const { key } = share
    const users = [...reply.publishers].slice(0, MOST_PUBLISHERS)
    const gone: ReadonlySet<string> = await this.#fleet.gone(users.map(([who]) => who).filter(isGatewayId))
    for (const who of gone) void this.sharing.try(() => this.run(LEAVE, key, [who, this.#pickIdleMs]))
    const publishers = new Map<string, OriginId>()
    const follows = new Set<OriginId>()
    for (const [who, place] of users) {
      const id = this.#origins.idOf(place)
      if (who === this.#fleet.id || gone.has(who) || id === undefined) continue
      if (!(await this.isThere(id, isGatewayId(who)))) continue
      if (who === `@${id}`) follows.add(id)
      else if (isGatewayId(who)) publishers.set(who, id)
    }
    if (share.isForgotten) return gone.size > 0
    for (const id of share.follows) {
      if (!follows.has(id) && !share.heard.has(id)) await this.#local.follow(key, id, false)
    }
    for (const id of follows) if (!share.follows.has(id)) await this.#local.follow(key, id, true)
    share.follows = follows
    share.setPublishers(publishers, (id) => this.#local.publishElsewhere(key, id))
    const id = reply.place === undefined ? undefined : this.#origins.idOf(reply.place)
    // The origin failed while the answer was on its way.
    const isOld = epoch !== share.epoch
    if (NOT_YET.has(reply.word) || id === undefined || isOld) return gone.size > 0
    if (this.#local.keptAt(key) !== id) this.#local.place(key, id)
    share.place = id
    share.confirmedMs = this.#clock.nowMs()
    this.#shares.fileLast(share)
    return gone.size > 0
  }

  /** Where a publisher is live through a gateway that lives, an origin that nobody has heard of for long is there, too. */
  async isThere(id: OriginId, isPublished: boolean): Promise<boolean> {
    if (await this.#origins.ensure(id)) return true
    return isPublished && (await this.#local.findOrigin(id)) !== undefined
  }

  /** Runs a script on the keys of a stream. */
  async run(script: RedisScript, key: StreamKey, args: readonly (string | number)[]): Promise<unknown> {
    const { url, publish, play, next } = streamKeys(this.#redis, key)
    return await this.#redis.run(script, [url, publish, play, next], args)
  }

  /** All others look again where the stream is, or forget it. */
  announce(message: { readonly key: StreamKey; readonly isCleared?: true }): void {
    this.#fleet.send('all', TOPIC, message)
  }

  #onMessage(data: unknown): void {
    const message = messageOf(data)
    if (message === undefined) return
    const { key, isCleared } = message
    if (isCleared) {
      this.forget(key)
      void this.#local.clearPick(key)
      return
    }
    const held = this.#shares.held(key)
    if (held !== undefined) void this.speak(held)
    else this.forget(key)
  }

  /** The local copy has dropped a place, and so do all; an origin may have had thousands. */
  #onDropped(key: StreamKey, id: OriginId, why: 'gone' | 'silent'): void {
    const share = why === 'gone' ? this.#shares.forget(key) : undefined
    this.#dropped.set(key, { id, why, share })
    if (!this.#isDropping) void this.#tellDrops()
  }

  async #tellDrops(): Promise<void> {
    this.#isDropping = true
    while (this.#dropped.size > 0) {
      const some = [...this.#dropped].slice(0, AT_A_TIME)
      await Promise.all(
        some.map(async ([key, { id, why, share }]) => {
          this.#dropped.delete(key)
          if (why === 'silent') await this.sharing.try(() => this.fail(this.#shares.of(key), id))
          else {
            await this.sharing.try(() => this.run(DROP, key, [this.#origins.serverKey(id)]))
            if (share?.isListed) await this.speak(share)
          }
        }),
      )
    }
    this.#isDropping = false
  }

  /** In Redis whoever meets it next takes it away: all hear of it at once. */
  #onGone(gateway: GatewayId): void {
    for (const share of this.#shares.all()) share.dropPublisher(gateway)
  }

  #onConflict(share: StreamShare, id: OriginId): void {
    this.conflicts++
    // When the other one ends, this is where the stream is.
    this.owe(share)
    const due = this.#pace.due('conflict')
    if (due !== undefined) {
      this.#logger.warn({ stream: share.key, origin: id, ...due }, 'stream is published at two origins')
    }
  }

  #later(act: () => void): void {
    this.#waiting?.cancel()
    this.#waiting = this.#clock.after(SPREAD_MS * this.#random(), act)
  }

  #schedule(): void {
    this.#timer = this.#clock.after(this.#shares.freshMs, () => {
      this.#sweep()
      this.#schedule()
    })
  }

  #sweep(): void {
    for (const share of this.#shares.stale()) this.forget(share.key)
    if (this.#redis.isUp) void this.#speakAll([...this.#shares.due(), ...this.#owing])
  }

  /** A few at a time. */
  async #speakAll(shares: readonly StreamShare[]): Promise<void> {
    for (let at = 0; at < shares.length && this.#redis.isUp; at += AT_A_TIME) {
      await Promise.all(
        shares.slice(at, at + AT_A_TIME).map(async (share) => {
          this.#owing.delete(share)
          // Whatever comes of it.
          if (!share.isForgotten) this.#shares.fileLast(share)
          await this.speak(share)
        }),
      )
    }
  }

  /** Redis was away, or has lost what it had. */
  async #sayAll(): Promise<void> {
    await this.#speakAll([...this.#shares.allHeld(), ...this.#owing])
  }
}

function messageOf(data: unknown): { readonly key: StreamKey; readonly isCleared: boolean } | undefined {
  if (typeof data !== 'object' || data === null || !('key' in data) || typeof data.key !== 'string')
    return undefined
  try {
    return { key: parseStreamKey(data.key), isCleared: 'isCleared' in data }
  } catch {
    return undefined
  }
}

/** What the local copy has dropped; with the share that ends with it when the origin is gone. */
interface Dropped {
  readonly id: OriginId
  readonly why: 'gone' | 'silent'
  readonly share: StreamShare | undefined
}
