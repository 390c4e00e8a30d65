import { errorCode } from '../../../foundation/errors.ts'
import type { Claim, Hold, Need, OriginId, PickOptions, Role } from '../contract.ts'
import type { StreamKey } from '../stream-key.ts'
import { KEY } from './keys.ts'
import { CLEAR, LEAVE, PICK, UNPICK } from './stream-scripts.ts'
import { type StreamPlace, streamPlaceOf } from './stream-place.ts'
import type { StreamShare } from './stream-share.ts'
import { StreamShares } from './stream-shares.ts'
import { NOT_YET, StreamTalk, type StreamTalkOptions } from './stream-talk.ts'

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

/** How long a choice is kept while its origin has not answered, in milliseconds. */
export const PENDING_MS = 30_000
/** A choice is led elsewhere by others so often before it is made alone. */
const MOST_ROUNDS = 5

/**
 * Where streams are, for all gateways. What this gateway decides is decided in its local copy, by its rules; here that is made
 * one decision of the fleet: a new stream asks Redis once, what is used is said and renewed in the background.
 */
export class SharedPicks {
  readonly #options: StreamTalkOptions
  readonly #shares: StreamShares
  readonly #talk: StreamTalk
  #asked = 0
  #alone = 0

  constructor(options: StreamTalkOptions) {
    this.#options = options
    this.#shares = new StreamShares(options)
    this.#talk = new StreamTalk(this.#shares, options)
  }

  start(): void {
    this.#talk.start()
  }

  close(): void {
    this.#talk.close()
  }

  get stats(): SharedPicksStats {
    return {
      held: this.#shares.heldSize,
      asked: this.#asked,
      alone: this.#alone,
      conflicts: this.#talk.conflicts,
    }
  }

  /** As `Balancer.pick`. */
  async pick(key: StreamKey, need: Need, options: PickOptions): Promise<Claim> {
    if (options.near !== undefined) await this.#learn(options.near)
    const request: Request = { key, need, options, claim: undefined }
    try {
      request.claim = await this.#options.local.pick(key, need, options)
    } catch (error) {
      if (errorCode(error) === 'BALANCER_TOO_MANY_STREAMS') throw error
    }
    const id = request.claim?.origin.id
    if (id !== undefined && this.#shares.isConfirmed(key, id)) return await this.#shared(request)
    if (this.#options.redis.isUp) {
      try {
        const agreed = await this.#agree(request)
        if (agreed !== undefined) return agreed
      } catch (error) {
        if (!isOfRedis(error)) {
          await request.claim?.release()
          throw error
        }
        this.#talk.sharing.failed(error)
      }
    }
    const claim = await this.#shared(request)
    this.#alone++
    return claim
  }

  /** As `Balancer.hold`. */
  async hold(key: StreamKey, id: OriginId, role: Role, onMoved?: () => void): Promise<Hold | undefined> {
    await this.#learn(key)
    const hold = await this.#options.local.hold(key, id, role, onMoved)
    return hold === undefined ? undefined : this.#hold(this.#shares.of(key), id, role, hold)
  }

  /** As `Balancer.clearPick`, without pins. */
  async clear(key: StreamKey): Promise<boolean> {
    const wasHere = await this.#options.local.clearPick(key)
    this.#talk.forget(key)
    const gone = await this.#talk.sharing.try(async () => this.#talk.run(CLEAR, key, []))
    this.#talk.announce({ key, isCleared: true })
    return wasHere || gone === 1
  }

  /** As `Balancer.follow`. */
  async follow(key: StreamKey, id: OriginId, isLive: boolean): Promise<boolean> {
    const hadSaid = await this.#options.local.follow(key, id, isLive)
    const share = this.#shares.of(key)
    if (!isLive) {
      this.#talk.unhear(share, id)
      const gone = await this.#talk.sharing.try(async () =>
        this.#talk.run(LEAVE, key, [`@${id}`, this.#options.pickIdleMs]),
      )
      if (gone === 1) this.#talk.announce({ key })
      return hadSaid || gone === 1
    }
    // Polls say so again and again.
    if (share.heard.has(id) && !this.#shares.isDue(share)) {
      share.heard.set(id, this.#options.clock.nowMs())
      return hadSaid
    }
    if ((await this.#options.local.findOrigin(id))?.state === 'silent') return false
    if (this.#options.local.keptAt(key) === undefined) return false
    const heardMs = this.#options.clock.nowMs()
    share.heard.set(id, heardMs)
    this.#shares.file(share)
    if ((await this.#talk.sharing.try(() => this.#talk.sayFollow(share, id, heardMs))) === undefined)
      this.#talk.owe(share)
    return this.#options.local.keptAt(key) === id
  }

  /** The origin of a stream, as this gateway or others know it. */
  async placeOf(key: StreamKey): Promise<OriginId | undefined> {
    await this.#learn(key)
    return this.#options.local.keptAt(key)
  }

  /** Whether somebody uses the stream through this gateway. */
  isUsed(key: StreamKey): boolean {
    return this.#shares.held(key)?.role !== undefined
  }

  /** Where a stream that is new here is kept by others, so that what goes with it goes there, too. */
  async #learn(key: StreamKey): Promise<void> {
    if (this.#options.local.keptAt(key) !== undefined) return
    await this.#talk.sharing.try(async () => {
      const place = await this.#options.redis.command('GET', this.#options.redis.key(KEY.url(key)))
      const id = typeof place === 'string' ? this.#options.origins.idOf(place) : undefined
      if (id !== undefined && (await this.#options.origins.ensure(id))) this.#options.local.place(key, id)
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
      const wanted = chosen === undefined ? '' : this.#options.origins.serverKey(chosen)
      const reply = streamPlaceOf(
        await this.#talk.run(PICK, key, [wanted, PENDING_MS, givesWay, isGone ? 'gone' : '']),
      )
      if (reply === undefined) return undefined
      const share = this.#shares.of(key)
      const { epoch } = share
      if (reply.place === undefined) {
        // Nobody has it, and nobody known here could: others may know more origins.
        if (round > 0 || !(await this.#options.origins.refresh())) return undefined
        request.claim = await this.#options.local.pick(key, need, options)
        continue
      }
      const id = this.#options.origins.idOf(reply.place)
      if (id === undefined || !(await this.#talk.isThere(id, isPublishedAt(reply, reply.place)))) {
        givesWay = reply.place
        // What nothing can be made of here may be of use to others.
        isGone = (await this.#options.redis.command('EXISTS', reply.place)) === 0
        continue
      }
      await this.#talk.apply(share, reply, epoch)
      if (reply.place === wanted) {
        if (reply.word === 'new') share.isChosenHere = true
        share.givesWay = givesWay
        return await this.#shared(request)
      }
      // An operator's word is known to all, so nobody needs to be joined.
      if (chosen !== undefined && NOT_YET.has(reply.word) && this.#options.local.pinnedAt(key) === chosen) {
        share.givesWay = reply.place
        return await this.#shared(request)
      }
      await request.claim?.release()
      if (reply.word === 'next' || reply.word === 'pending') {
        request.claim = this.#options.local.claimAt(id, key, need, options)
        share.givesWay = givesWay
        return await this.#shared(request)
      }
      request.claim = await this.#options.local.pick(key, need, options)
      if (request.claim.origin.id === id) return await this.#shared(request)
      givesWay = reply.place
      isGone = false
    }
    return await this.#shared(request)
  }

  /** The claim of a request, or one that is chosen here, as a claim whose end others hear of. */
  async #shared(request: Request): Promise<Claim> {
    const { key, need, options } = request
    const claim = request.claim ?? (await this.#options.local.pick(key, need, options))
    const share = this.#shares.of(key)
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
        return this.#hold(share.isForgotten ? this.#shares.of(key) : share, id, options.role, hold)
      },
      release: async () => {
        await claim.release()
        if (endOnce()) await this.#released(share, id)
      },
      failed: async (how) => {
        if (!endOnce()) return
        // Publishers that were live there through others may have gone.
        if (share.hasPublishers) await this.#talk.speak(share)
        await claim.failed(how)
        await this.#talk.sharing.try(() => this.#talk.fail(share, id, how))
      },
    }
  }

  async #released(share: StreamShare, id: OriginId): Promise<void> {
    if (share.claims > 0 || share.isHeld) return
    // Another share may have its place by now.
    if (!share.isForgotten) this.#talk.forget(share.key)
    if (!share.isChosenHere && share.givesWay === '') return
    await this.#talk.sharing.try(() =>
      this.#talk.run(UNPICK, share.key, [this.#options.origins.serverKey(id), PENDING_MS]),
    )
  }

  #hold(share: StreamShare, id: OriginId, role: Role, hold: Hold): Hold {
    // It may be live elsewhere; what runs here runs on, and is nobody's place.
    if (share.isForgotten || this.#options.local.keptAt(share.key) !== id) return hold
    share.count(role, 1)
    this.#shares.file(share)
    if (share.isSaying || share.said !== share.role || share.place !== id) void this.#talk.speak(share)
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
        this.#shares.file(share)
        // An answer that is on its way says nothing of this.
        const isOver = share.role === undefined && share.isListed
        if (share.isSaying || isOver || share.said !== share.role) void this.#talk.speak(share)
      },
    }
  }
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
