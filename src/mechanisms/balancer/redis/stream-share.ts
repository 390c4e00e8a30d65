import type { Hold, OriginId, Role } from '../contract.ts'
import type { StreamKey } from '../stream-key.ts'

/** What this gateway has to do with one stream, and what it knows of others that have. */
export class StreamShare {
  readonly key: StreamKey
  /** Where it is for all gateways, as last heard. */
  place: OriginId | undefined
  /** Monotonic time of that. */
  confirmedMs = 0
  /** Grows when the place has failed here: what was asked before says nothing of now. */
  epoch = 0
  /** Claims of this gateway that wait for an origin. */
  claims = 0
  /** What was said of this gateway's use. */
  said: Role | undefined
  /** Redis may have this gateway among the users. */
  isListed = false
  isSaying = false
  saysAgain = false
  /** This gateway has chosen the place, and no origin accepted yet. */
  isChosenHere = false
  /** Server key that this gateway could not use. */
  givesWay = ''
  /** Origins that told this gateway that they have it, and the monotonic time of that. */
  readonly heard: Map<OriginId, number> = new Map()
  /** Origins that say so, whoever heard it. */
  follows: ReadonlySet<OriginId> = new Set()
  /** Its place was cleared, or nothing is known of it any more; what runs goes on apart. */
  isForgotten = false
  #publishers = 0
  #players = 0
  readonly #elsewhere = new Map<string, { readonly id: OriginId; readonly hold: Hold }>()

  constructor(key: StreamKey) {
    this.key = key
  }

  get role(): Role | undefined {
    if (this.#publishers > 0) return 'publish'
    return this.#players > 0 ? 'play' : undefined
  }

  /** Whether somebody uses it here, so that it is to be renewed. */
  get isHeld(): boolean {
    return this.role !== undefined || this.heard.size > 0
  }

  /** Whether it is published through other gateways, or at an origin by its own word. */
  get hasPublishers(): boolean {
    return this.#elsewhere.size + this.follows.size > 0
  }

  count(role: Role, by: 1 | -1): void {
    if (role === 'publish') this.#publishers += by
    else this.#players += by
  }

  /** Through which gateways it is published, and where; `open` holds one, and gives nothing where that origin is not there. */
  setPublishers(publishers: ReadonlyMap<string, OriginId>, open: (id: OriginId) => Hold | undefined): void {
    for (const [who, { id }] of this.#elsewhere) if (publishers.get(who) !== id) this.dropPublisher(who)
    for (const [who, id] of publishers) {
      if (this.#elsewhere.has(who)) continue
      const hold = open(id)
      if (hold !== undefined) this.#elsewhere.set(who, { id, hold })
    }
  }

  /** False when nothing was published through that gateway. */
  dropPublisher(who: string): boolean {
    this.#elsewhere.get(who)?.hold.end()
    return this.#elsewhere.delete(who)
  }

  /** They are heard of anew when it is asked or said again. */
  forgetPublishers(): void {
    for (const who of this.#elsewhere.keys()) this.dropPublisher(who)
    this.place = undefined
  }

  forget(): void {
    this.isForgotten = true
    this.forgetPublishers()
  }
}
