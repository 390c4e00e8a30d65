import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import { type Fleet, type GatewayId, isGatewayId } from '../../fleet/index.ts'
import type { Redis, RedisScript } from '../../redis/index.ts'
import { LinePace, type Logger } from '../../telemetry/index.ts'
import type { Claim, Hold, Need, OriginId, PickOptions, Role } from '../contract.ts'
import type { MemoryBalancerStore } from '../memory-store.ts'
import { parseStreamKey, type StreamKey } from '../stream-key.ts'
import { KEY, streamKeys } from './keys.ts'
import type { SharedOrigins } from './shared-origins.ts'
import { CLEAR, DROP, FAIL, LEAVE, PICK, UNPICK, USE } from './stream-scripts.ts'
import { type StreamPlace, streamPlaceOf } from './stream-place.ts'
import { StreamShare } from './stream-share.ts'

export interface SharedPicksOptions {
  readonly redis: Redis
  readonly fleet: Fleet
  readonly local: MemoryBalancerStore
  readonly origins: SharedOrigins
  readonly clock: Clock
  readonly logger: Logger
  /** A number in [0, 1). */
  readonly random: () => number
  /** How long a stream stays where it is after its last use, in milliseconds. */
  readonly pickIdleMs: number
  /** How long an origin's own word on its streams is kept, in milliseconds. */
  readonly followTtlMs: number
}

/** What picks have cost and met since the start. */
export interface SharedPicksStats {
  /** Streams that this gateway uses. */
  readonly held: number
  /** Picks that asked Redis. */
  readonly asked: number
  /** Picks that were made without it, as it was away or slow. */
  readonly alone: number
  /** Publishers of one stream that were found live at two origins. */
  readonly conflicts: number
}

/**
 * How long the place of a stream that nobody uses here is trusted, in milliseconds: others may move it without a word. And how
 * often what is due is looked for. Less where streams are forgotten soon.
 */
const FRESH_MS = 5000
const FRESH = 1 / 12
/** How long a choice is kept while its origin has not answered, in milliseconds. */
export const PENDING_MS = 30_000
/** What is used is renewed within this part of the time after which it would be forgotten, and not before half of that. */
const RENEWAL = 1 / 3
/** Streams that are said again at a time: many gateways may do so at once. */
const AT_A_TIME = 50
/** All gateways hear at once that Redis is back, and begin within so many milliseconds. */
const SPREAD_MS = 1000
/** Most streams that wait for Redis to hear of them. */
const MOST_OWING = 100_000
/** A choice is led elsewhere by others so often before it is made alone. */
const MOST_ROUNDS = 5
/** Of the publishers of one stream, as Redis has them: there is one, as a rule. */
const MOST_PUBLISHERS = 100
const TOPIC = 'stream'
/** Words of a place that no origin has accepted yet. */
const NOT_YET: ReadonlySet<string> = new Set(['new', 'pending', 'next'])

/**
 * Where streams are, for all gateways. What this gateway decides is decided in its local copy, by its rules; here that is made
 * one decision of the fleet: a new stream asks Redis once, what is used is said and renewed in the background.
 */
export class SharedPicks {
  readonly #redis: Redis
  readonly #fleet: Fleet
  readonly #local: MemoryBalancerStore
  readonly #origins: SharedOrigins
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #pace: LinePace
  readonly #random: () => number
  readonly #pickIdleMs: number
  readonly #freshMs: number
  readonly #followTtlMs: number
  /** Those that are used here, and those that were heard of lately; each in the order of that. */
  readonly #held = new Map<StreamKey, StreamShare>()
  readonly #idle = new Map<StreamKey, StreamShare>()
  /** What was to be said while Redis was away. */
  readonly #owing = new Set<StreamShare>()
  /** Places that the local copy has dropped, and Redis has not yet. */
  readonly #dropped = new Map<StreamKey, Dropped>()
  #isDropping = false
  #stops: (() => void)[] = []
  #timer: Timer | undefined
  #waiting: Timer | undefined
  #asked = 0
  #alone = 0
  #conflicts = 0

  constructor(options: SharedPicksOptions) {
    this.#redis = options.redis
    this.#fleet = options.fleet
    this.#local = options.local
    this.#origins = options.origins
    this.#clock = options.clock
    this.#logger = options.logger
    this.#pace = new LinePace(options.clock)
    this.#random = options.random
    this.#pickIdleMs = options.pickIdleMs
    this.#freshMs = Math.min(FRESH_MS, options.pickIdleMs * FRESH)
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

  get stats(): SharedPicksStats {
    return {
      held: this.#held.size,
      asked: this.#asked,
      alone: this.#alone,
      conflicts: this.#conflicts,
    }
  }

  /** As `Balancer.pick`. */
  async pick(key: StreamKey, need: Need, options: PickOptions): Promise<Claim> {
    if (options.near !== undefined) await this.#learn(options.near)
    const request: Request = { key, need, options, claim: undefined }
    try {
      request.claim = await this.#local.pick(key, need, options)
    } catch (error) {
      if (errorCode(error) === 'BALANCER_TOO_MANY_STREAMS') throw error
    }
    const id = request.claim?.origin.id
    if (id !== undefined && this.#isConfirmed(key, id)) return await this.#shared(request)
    if (this.#redis.isUp) {
      try {
        const agreed = await this.#agree(request)
        if (agreed !== undefined) return agreed
      } catch (error) {
        if (!isOfRedis(error)) {
          await request.claim?.release()
          throw error
        }
        this.#failed(error)
      }
    }
    const claim = await this.#shared(request)
    this.#alone++
    return claim
  }

  /** As `Balancer.hold`. */
  async hold(key: StreamKey, id: OriginId, role: Role, onMoved?: () => void): Promise<Hold | undefined> {
    await this.#learn(key)
    const hold = await this.#local.hold(key, id, role, onMoved)
    return hold === undefined ? undefined : this.#hold(this.#share(key), id, role, hold)
  }

  /** As `Balancer.clearPick`, without pins. */
  async clear(key: StreamKey): Promise<boolean> {
    const wasHere = await this.#local.clearPick(key)
    this.#forget(key)
    const gone = await this.#try(async () => this.#run(CLEAR, key, []))
    this.#fleet.send('all', TOPIC, { key, isCleared: true })
    return wasHere || gone === 1
  }

  /** As `Balancer.follow`. */
  async follow(key: StreamKey, id: OriginId, isLive: boolean): Promise<boolean> {
    const hadSaid = await this.#local.follow(key, id, isLive)
    const share = this.#share(key)
    if (!isLive) {
      this.#unhear(share, id)
      const gone = await this.#try(async () => this.#run(LEAVE, key, [`@${id}`, this.#pickIdleMs]))
      if (gone === 1) this.#fleet.send('all', TOPIC, { key })
      return hadSaid || gone === 1
    }
    // Polls say so again and again.
    if (share.heard.has(id) && !this.#isDue(share)) {
      share.heard.set(id, this.#clock.nowMs())
      return hadSaid
    }
    if ((await this.#local.findOrigin(id))?.state === 'silent') return false
    if (this.#local.keptAt(key) === undefined) return false
    const heardMs = this.#clock.nowMs()
    share.heard.set(id, heardMs)
    this.#file(share)
    if ((await this.#try(() => this.#sayFollow(share, id, heardMs))) === undefined) this.#owe(share)
    return this.#local.keptAt(key) === id
  }

  /** An origin's word is taken back. */
  #unhear(share: StreamShare, id: OriginId): void {
    share.heard.delete(id)
    share.follows = new Set([...share.follows].filter((other) => other !== id))
    this.#file(share)
  }

  /** The origin of a stream, as this gateway or others know it. */
  async placeOf(key: StreamKey): Promise<OriginId | undefined> {
    await this.#learn(key)
    return this.#local.keptAt(key)
  }

  /** Whether somebody uses the stream through this gateway. */
  isUsed(key: StreamKey): boolean {
    return this.#held.get(key)?.role !== undefined
  }

  /** Where a stream that is new here is kept by others, so that what goes with it goes there, too. */
  async #learn(key: StreamKey): Promise<void> {
    if (this.#local.keptAt(key) !== undefined) return
    await this.#try(async () => {
      const place = await this.#redis.command('GET', this.#redis.key(KEY.url(key)))
      const id = typeof place === 'string' ? this.#origins.idOf(place) : undefined
      if (id !== undefined && (await this.#origins.ensure(id))) this.#local.place(key, id)
    })
  }

  /** Finds the one place that all gateways agree on; undefined when Redis gave no answer of use. */
  async #agree(request: Request): Promise<Claim | undefined> {
    const { key, need, options } = request
    let givesWay = ''
    let isGone = false
    this.#asked++
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const chosen = request.claim?.origin.id
      const wanted = chosen === undefined ? '' : this.#origins.serverKey(chosen)
      const reply = streamPlaceOf(
        await this.#run(PICK, key, [wanted, PENDING_MS, givesWay, isGone ? 'gone' : '']),
      )
      if (reply === undefined) return undefined
      const share = this.#share(key)
      const { epoch } = share
      if (reply.place === undefined) {
        // Nobody has it, and nobody known here could: others may know more origins.
        if (round > 0 || !(await this.#origins.refresh())) return undefined
        request.claim = await this.#local.pick(key, need, options)
        continue
      }
      const id = this.#origins.idOf(reply.place)
      if (id === undefined || !(await this.#isThere(id, isPublishedAt(reply, reply.place)))) {
        givesWay = reply.place
        isGone = true
        continue
      }
      await this.#apply(share, reply, epoch)
      if (reply.place === wanted) {
        if (reply.word === 'new') share.isChosenHere = true
        share.givesWay = givesWay
        return await this.#shared(request)
      }
      // An operator's word is known to all, so nobody needs to be joined.
      if (chosen !== undefined && NOT_YET.has(reply.word) && this.#local.pinnedAt(key) === chosen) {
        share.givesWay = reply.place
        return await this.#shared(request)
      }
      await request.claim?.release()
      if (reply.word === 'next' || reply.word === 'pending') {
        request.claim = this.#local.claimAt(id, key, need, options)
        share.givesWay = givesWay
        return await this.#shared(request)
      }
      request.claim = await this.#local.pick(key, need, options)
      if (request.claim.origin.id === id) return await this.#shared(request)
      givesWay = reply.place
      isGone = false
    }
    return await this.#shared(request)
  }

  /** Where a publisher is live through a gateway that lives, an origin that nobody has heard of for long is there, too. */
  async #isThere(id: OriginId, isPublished: boolean): Promise<boolean> {
    if (await this.#origins.ensure(id)) return true
    return isPublished && (await this.#local.findOrigin(id)) !== undefined
  }

  /** The claim of a request, or one that is chosen here, as a claim whose end others hear of. */
  async #shared(request: Request): Promise<Claim> {
    const { key, need, options } = request
    const claim = request.claim ?? (await this.#local.pick(key, need, options))
    const share = this.#share(key)
    const { id } = claim.origin
    share.claims++
    let isOpen = true
    const endOnce = (): boolean => {
      if (!isOpen) return false
      isOpen = false
      share.claims--
      return true
    }
    return {
      origin: claim.origin,
      keep: async (onMoved) => {
        const isFirst = endOnce()
        const hold = await claim.keep(onMoved)
        if (!isFirst) return hold
        // What was forgotten while the origin answered begins anew.
        return this.#hold(share.isForgotten ? this.#share(key) : share, id, options.role, hold)
      },
      release: async () => {
        await claim.release()
        if (endOnce()) await this.#released(share, id)
      },
      failed: async (how) => {
        if (!endOnce()) return
        // Publishers that were live there through others may have gone.
        if (share.hasPublishers) await this.#speak(share)
        await claim.failed(how)
        await this.#try(() => this.#fail(share, id, how))
      },
    }
  }

  async #fail(share: StreamShare, id: OriginId, how?: 'unreachable' | 'silent'): Promise<void> {
    const epoch = share.epoch++
    const self = share.role === 'publish' ? '' : this.#fleet.id
    const reply = await this.#run(FAIL, share.key, [this.#origins.serverKey(id), how ?? '', self])
    const place = streamPlaceOf(reply)
    if (place?.word === 'left') this.#unhear(share, id)
    if (place !== undefined) await this.#apply(share, place, epoch + 1)
    // What still runs here has no place any more.
    if (share.isListed && this.#local.keptAt(share.key) === undefined) await this.#say(share)
  }

  async #released(share: StreamShare, id: OriginId): Promise<void> {
    if (share.claims > 0 || share.isHeld) return
    // Another share may have its place by now.
    if (!share.isForgotten) this.#forget(share.key)
    if (!share.isChosenHere && share.givesWay === '') return
    await this.#try(() => this.#run(UNPICK, share.key, [this.#origins.serverKey(id), PENDING_MS]))
  }

  #hold(share: StreamShare, id: OriginId, role: Role, hold: Hold): Hold {
    // It may be live elsewhere; what runs here runs on, and is nobody's place.
    if (share.isForgotten || this.#local.keptAt(share.key) !== id) return hold
    share.count(role, 1)
    this.#file(share)
    if (share.isSaying || share.said !== share.role || share.place !== id) void this.#speak(share)
    let isHeld = true
    return {
      end: () => {
        hold.end()
        if (!isHeld) return
        isHeld = false
        share.count(role, -1)
        if (share.isForgotten) return
        // What others publish was not counted where this one was.
        if (role === 'publish' && share.role !== 'publish') share.forgetPublishers()
        this.#file(share)
        // An answer that is on its way says nothing of this.
        const isOver = share.role === undefined && share.isListed
        if (share.isSaying || isOver || share.said !== share.role) void this.#speak(share)
      },
    }
  }

  /** Says it now, or later if that cannot be. */
  async #speak(share: StreamShare): Promise<void> {
    try {
      if (this.#redis.isUp) {
        await this.#say(share)
        return
      }
    } catch (error) {
      this.#failed(error)
    }
    this.#owe(share)
  }

  /** It is said with the next sweep. */
  #owe(share: StreamShare): void {
    // What was said longest ago has run out by itself by the time that there are so many.
    if (this.#owing.size >= MOST_OWING)
      for (const oldest of this.#owing) {
        this.#owing.delete(oldest)
        break
      }
    this.#owing.add(share)
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
        for (const [id, heardMs] of share.heard) await this.#sayFollow(share, id, heardMs)
        if (!share.saysAgain) return
      }
      this.#owe(share)
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
      const newer = this.#held.get(key)
      if (newer !== undefined && newer !== share && newer.role !== undefined) {
        // In Redis it is the same user.
        newer.isListed = true
        share.isListed = false
        return
      }
      await this.#run(LEAVE, key, [this.#fleet.id, this.#pickIdleMs])
      share.isListed = false
      return
    }
    const isWanted = role === 'publish' && this.#local.pinnedAt(key) === id
    // Also when no answer comes.
    share.isListed = true
    const reply = streamPlaceOf(
      await this.#run(USE, key, [
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
    if (reply.word === 'moved') this.#fleet.send('all', TOPIC, { key })
    const hadGone = await this.#apply(share, reply, epoch)
    if (!isElsewhere) return
    if (hadGone || this.#local.keptAt(key) !== id) share.saysAgain = true
    else if (role === 'publish') this.#onConflict(share, id)
  }

  async #sayFollow(share: StreamShare, id: OriginId, heardMs: number): Promise<true> {
    const { key, epoch } = share
    const origin = await this.#local.findOrigin(id)
    if (origin === undefined || origin.state === 'silent') {
      this.#unhear(share, id)
      await this.#run(LEAVE, key, [`@${id}`, this.#pickIdleMs])
      return true
    }
    const reply = streamPlaceOf(
      await this.#run(USE, key, [
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
      this.#unhear(share, id)
      await this.#local.follow(key, id, false)
    }
    // It is there once the publisher elsewhere has gone.
    if (reply.word === 'elsewhere') this.#owe(share)
    if (reply.word === 'moved') this.#fleet.send('all', TOPIC, { key })
    await this.#apply(share, reply, epoch)
    return true
  }

  /** Makes the local copy what others say of a stream. True when users that have gone were among them; they are removed. */
  async #apply(share: StreamShare, reply: StreamPlace, epoch: number): Promise<boolean> {
    const { key } = share
    const users = [...reply.publishers].slice(0, MOST_PUBLISHERS)
    const gone: ReadonlySet<string> = await this.#fleet.gone(users.map(([who]) => who).filter(isGatewayId))
    for (const who of gone) void this.#try(() => this.#run(LEAVE, key, [who, this.#pickIdleMs]))
    const publishers = new Map<string, OriginId>()
    const follows = new Set<OriginId>()
    for (const [who, place] of users) {
      const id = this.#origins.idOf(place)
      if (who === this.#fleet.id || gone.has(who) || id === undefined) continue
      if (!(await this.#isThere(id, isGatewayId(who)))) continue
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
    this.#fileLast(share)
    return gone.size > 0
  }

  #isConfirmed(key: StreamKey, id: OriginId): boolean {
    const held = this.#held.get(key)
    if (held !== undefined) return held.place === id && held.said !== undefined && held.said === held.role
    const idle = this.#idle.get(key)
    return idle?.place === id && this.#clock.nowMs() - idle.confirmedMs < this.#freshMs
  }

  #share(key: StreamKey): StreamShare {
    const known = this.#held.get(key) ?? this.#idle.get(key)
    if (known !== undefined) return known
    const share = new StreamShare(key)
    share.confirmedMs = this.#clock.nowMs()
    this.#idle.set(key, share)
    return share
  }

  /** Puts it where its state says; what is there already keeps its turn, however often it is used. */
  #file(share: StreamShare): void {
    if (share.isForgotten) return
    const [to, from] = share.isHeld ? [this.#held, this.#idle] : [this.#idle, this.#held]
    from.delete(share.key)
    if (!to.has(share.key)) to.set(share.key, share)
  }

  /** The same, and last in line to be renewed. */
  #fileLast(share: StreamShare): void {
    this.#held.delete(share.key)
    this.#idle.delete(share.key)
    this.#file(share)
  }

  #forget(key: StreamKey): void {
    const share = this.#forgetHere(key)
    if (share?.isListed) void this.#speak(share)
  }

  #forgetHere(key: StreamKey): StreamShare | undefined {
    const share = this.#held.get(key) ?? this.#idle.get(key)
    this.#held.delete(key)
    this.#idle.delete(key)
    share?.forget()
    return share
  }

  #onMessage(data: unknown): void {
    const message = messageOf(data)
    if (message === undefined) return
    const { key, isCleared } = message
    if (isCleared) {
      this.#forget(key)
      void this.#local.clearPick(key)
      return
    }
    const held = this.#held.get(key)
    if (held !== undefined) void this.#speak(held)
    else this.#forget(key)
  }

  /** The local copy has dropped a place, and so do all; an origin may have had thousands. */
  #onDropped(key: StreamKey, id: OriginId, why: 'gone' | 'silent'): void {
    const share = why === 'gone' ? this.#forgetHere(key) : undefined
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
          if (why === 'silent') await this.#try(() => this.#fail(this.#share(key), id))
          else {
            await this.#try(() => this.#run(DROP, key, [this.#origins.serverKey(id)]))
            if (share?.isListed) await this.#speak(share)
          }
        }),
      )
    }
    this.#isDropping = false
  }

  /** In Redis whoever meets it next takes it away: all hear of it at once. */
  #onGone(gateway: GatewayId): void {
    for (const shares of [this.#held, this.#idle]) {
      for (const share of shares.values()) share.dropPublisher(gateway)
    }
  }

  #onConflict(share: StreamShare, id: OriginId): void {
    this.#conflicts++
    // When the other one ends, this is where the stream is.
    this.#owe(share)
    const due = this.#pace.due('conflict')
    if (due !== undefined) {
      this.#logger.warn({ stream: share.key, origin: id, ...due }, 'stream is published at two origins')
    }
  }

  #isDue(share: StreamShare): boolean {
    return this.#clock.nowMs() - share.confirmedMs >= (this.#pickIdleMs * RENEWAL) / 2
  }

  #later(act: () => void): void {
    this.#waiting?.cancel()
    this.#waiting = this.#clock.after(SPREAD_MS * this.#random(), act)
  }

  #schedule(): void {
    this.#timer = this.#clock.after(this.#freshMs, () => {
      this.#sweep()
      this.#schedule()
    })
  }

  #sweep(): void {
    const staleMs = this.#clock.nowMs() - this.#freshMs
    for (const share of this.#idle.values()) {
      if (share.confirmedMs > staleMs) break
      if (share.claims === 0) this.#forget(share.key)
    }
    if (!this.#redis.isUp) return
    // The oldest, and so many that all are renewed in time: what was said at one moment is not renewed at one moment.
    const most = Math.ceil((this.#held.size * this.#freshMs) / (this.#pickIdleMs * RENEWAL))
    const due: StreamShare[] = []
    for (const share of this.#held.values()) {
      if (!this.#isDue(share) || due.length >= most) break
      due.push(share)
    }
    void this.#speakAll([...due, ...this.#owing])
  }

  /** A few at a time. */
  async #speakAll(shares: readonly StreamShare[]): Promise<void> {
    for (let at = 0; at < shares.length && this.#redis.isUp; at += AT_A_TIME) {
      await Promise.all(
        shares.slice(at, at + AT_A_TIME).map(async (share) => {
          this.#owing.delete(share)
          // Whatever comes of it.
          if (!share.isForgotten) this.#fileLast(share)
          await this.#speak(share)
        }),
      )
    }
  }

  /** Redis was away, or has lost what it had. */
  async #sayAll(): Promise<void> {
    await this.#speakAll([...this.#held.values(), ...this.#owing])
  }

  async #run(script: RedisScript, key: StreamKey, args: readonly (string | number)[]): Promise<unknown> {
    const { url, publish, play, next } = streamKeys(this.#redis, key)
    return await this.#redis.run(script, [url, publish, play, next], args)
  }

  /** Does what can be done later, too. */
  async #try<T>(act: () => Promise<T>): Promise<T | undefined> {
    if (!this.#redis.isUp) return undefined
    try {
      return await act()
    } catch (error) {
      this.#failed(error)
      return undefined
    }
  }

  #failed(error: unknown): void {
    const code = errorCode(error)
    const due = this.#pace.due(code)
    if (due !== undefined) this.#logger.warn({ code, ...due }, 'place of a stream not shared')
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

interface Request {
  readonly key: StreamKey
  readonly need: Need
  readonly options: PickOptions
  /** What was chosen here so far, and is open. */
  claim: Claim | undefined
}

/** Whether somebody publishes it there through a gateway. */
function isPublishedAt({ publishers }: StreamPlace, place: string): boolean {
  return [...publishers].some(([who, where]) => where === place && !who.startsWith('@'))
}

function isOfRedis(error: unknown): boolean {
  return errorCode(error).startsWith('REDIS_')
}
