import type { Clock, Timer } from '../../../foundation/clock.ts'
import type { Fleet } from '../../fleet/index.ts'
import type { Redis } from '../../redis/index.ts'
import type { OriginAnnouncement, OriginId } from '../contract.ts'
import type { MemoryBalancerStore } from '../memory-store.ts'
import { isOriginId, originIdOf } from '../origin-id.ts'
import { KEY } from './keys.ts'
import { Sharing, type SharingParts } from './sharing.ts'
import { CHANGE_LIST } from './server-list.ts'
import { textsOf } from './stream-place.ts'
import { readServerList, readServerValue, serverValue } from './srs-server-value.ts'

export interface SharedOriginsOptions extends SharingParts {
  /** An origin not heard of for so long is silent, in milliseconds. */
  readonly heartbeatTtlMs: number
}

/** How often the lists of origins are read, in milliseconds, a tenth more or less: what others add is told besides. */
const REFRESH_MS = 10_000
/** At least so long lies between two refreshes that were asked for, in milliseconds. */
const REFRESH_PAUSE_MS = 1000
/** An origin is read again when it was not heard of for this part of its time. */
const READ_AGAIN = 1 / 5
const AT_A_TIME = 50
/** What was announced here within this part of its time is said again. */
const SAY_AGAIN = 1 / 10
/** All gateways hear at once that Redis is back, and begin within so many milliseconds. */
const SPREAD_MS = 1000
/** Most removals that wait for Redis to hear of them. */
const MOST_OWED = 1000
const TOPIC = 'origin'

/** `gone` when its key is not there any more, or a later run of it is known; `unfit` when nothing can be made of it here. */
type Reading = 'heard' | 'gone' | 'unfit'

/** The origins of all gateways: what they announce here is told to all, what they announced elsewhere is known here. */
export class SharedOrigins {
  readonly #redis: Redis
  readonly #fleet: Fleet
  readonly #local: MemoryBalancerStore
  readonly #clock: Clock
  readonly #random: () => number
  readonly #heartbeatTtlMs: number
  readonly #sharing: Sharing
  readonly #prefix: string
  /** Server keys that were in the lists when they were read last. */
  #listed = new Set<string>()
  /** What was announced at this gateway. */
  readonly #here = new Map<OriginId, { announcement: OriginAnnouncement; atMs: number }>()
  /** Removals that Redis has not heard of. */
  readonly #owed = new Set<OriginId>()
  #refreshing: Promise<boolean> | undefined
  #refreshedMs = Number.NEGATIVE_INFINITY
  #timer: Timer | undefined
  #waiting: Timer | undefined
  #stops: (() => void)[] = []

  constructor(options: SharedOriginsOptions) {
    this.#redis = options.redis
    this.#fleet = options.fleet
    this.#local = options.local
    this.#clock = options.clock
    this.#random = options.random
    this.#heartbeatTtlMs = options.heartbeatTtlMs
    this.#sharing = new Sharing(options, 'origins not shared')
    this.#prefix = options.redis.key(KEY.server(''))
  }

  /** Resolves when what others know of origins is known here, or Redis is away. */
  async start(): Promise<void> {
    this.#stops = [
      this.#fleet.on(
        TOPIC,
        (data) => void this.#onMessage(data).catch((error: unknown) => this.#sharing.failed(error)),
      ),
      this.#fleet.onReturn(() => {
        this.#waiting?.cancel()
        this.#waiting = this.#clock.after(SPREAD_MS * this.#random(), () => void this.#sayAll())
      }),
    ]
    this.#schedule()
    await this.refresh()
  }

  close(): void {
    this.#timer?.cancel()
    this.#waiting?.cancel()
    for (const stop of this.#stops.splice(0)) stop()
  }

  /** The text by which Redis knows an origin. */
  serverKey(id: OriginId): string {
    return `${this.#prefix}${id}`
  }

  /** The origin that such a text names; undefined when it names none. */
  idOf(serverKey: string): OriginId | undefined {
    const id = serverKey.slice(this.#prefix.length)
    return serverKey.startsWith(this.#prefix) && isOriginId(id) ? id : undefined
  }

  /** As `OriginRegistry.announce`; others know it when this resolves, or Redis is away. */
  async announce(announcement: OriginAnnouncement): Promise<OriginId> {
    const isNew = (await this.#local.findOrigin(originIdOf(announcement))) === undefined
    const before = isNew ? await this.#local.list() : []
    const id = await this.#local.announce(announcement)
    this.#here.set(id, { announcement, atMs: this.#clock.nowMs() })
    this.#owed.delete(id)
    await this.#sharing.try(() => this.#say(id, announcement))
    for (const earlier of before) {
      // Its place has been taken; it would be there again if the later one were removed.
      if ((await this.#local.findOrigin(earlier.id)) !== undefined) continue
      this.#here.delete(earlier.id)
      await this.#sayRemoved(earlier.id)
    }
    return id
  }

  /** As `OriginRegistry.remove`. */
  async remove(id: OriginId): Promise<boolean> {
    const wasHere = await this.#removed(id)
    const gone = await this.#sayRemoved(id)
    this.#fleet.send('all', TOPIC, { id, isRemoved: true })
    return wasHere || gone === 1
  }

  /** Tells Redis, or will when that is back. Gives how many keys went. */
  async #sayRemoved(id: OriginId): Promise<unknown> {
    if (this.#owed.size < MOST_OWED) this.#owed.add(id)
    return await this.#sharing.try(async () => {
      const [key, removed] = [this.serverKey(id), this.#redis.key(KEY.removed)]
      await this.#redis.command('HSET', removed, id, '1')
      await this.#redis.command('PEXPIRE', removed, this.#heartbeatTtlMs)
      const gone = await this.#redis.command('DEL', key)
      await this.#changeLists([], [key])
      this.#owed.delete(id)
      return gone
    })
  }

  async #removed(id: OriginId): Promise<boolean> {
    this.#here.delete(id)
    this.#listed.delete(this.serverKey(id))
    return await this.#local.remove(id)
  }

  /** Whether the origin is there, here or for others; it is known here then. Fails as a command does. */
  async ensure(id: OriginId): Promise<boolean> {
    const known = await this.#local.findOrigin(id)
    if (known !== undefined && known.state !== 'silent') return true
    return (await this.#read(id)) === 'heard'
  }

  /**
   * Reads what others know. False when that was done a moment ago, or cannot be. Callers of the same time share one.
   */
  async refresh(): Promise<boolean> {
    if (this.#refreshing !== undefined) return await this.#refreshing
    if (this.#clock.nowMs() - this.#refreshedMs < REFRESH_PAUSE_MS) return false
    this.#refreshedMs = this.#clock.nowMs()
    this.#refreshing = this.#sharing.try(() => this.#refresh()).then((done) => done === true)
    try {
      return await this.#refreshing
    } finally {
      this.#refreshing = undefined
    }
  }

  async #refresh(): Promise<boolean> {
    for (const id of [...this.#owed]) await this.#sayRemoved(id)
    const [removed, ...lists] = await Promise.all([
      this.#redis.command('HGETALL', this.#redis.key(KEY.removed)),
      ...[KEY.allServers, KEY.otherServers].map((name) => this.#redis.command('GET', this.#redis.key(name))),
    ])
    const keys = lists.flatMap((list) => (typeof list === 'string' ? (readServerList(list) ?? []) : []))
    this.#listed = new Set(keys)
    for (const [id, { atMs }] of this.#here) {
      if (this.#clock.nowMs() - atMs >= this.#heartbeatTtlMs) this.#here.delete(id)
    }
    const origins = new Map((await this.#local.list()).map((origin) => [origin.id, origin]))
    const againMs = this.#clock.wallMs() - this.#heartbeatTtlMs * READ_AGAIN
    const toRead = [...this.#listed].flatMap((key) => {
      const id = this.idOf(key)
      const heardMs = id === undefined ? undefined : origins.get(id)?.lastHeartbeatMs
      return id === undefined || (heardMs !== undefined && heardMs > againMs) ? [] : [id]
    })
    const found = await this.#readAll(toRead)
    await this.#unlist(toRead.filter((id) => found.get(id) === 'gone'))
    // For those who did not hear of it, being away. A later run that has its place is known by now.
    for (const id of textsOf(removed).keys()) {
      if (isOriginId(id) && !this.#listed.has(this.serverKey(id))) await this.#removed(id)
    }
    return true
  }

  /** A few at a time. */
  async #readAll(ids: readonly OriginId[]): Promise<ReadonlyMap<OriginId, Reading>> {
    const found = new Map<OriginId, Reading>()
    for (let at = 0; at < ids.length; at += AT_A_TIME) {
      const some = ids.slice(at, at + AT_A_TIME)
      await Promise.all(some.map(async (id) => found.set(id, await this.#read(id))))
    }
    return found
  }

  async #read(id: OriginId): Promise<Reading> {
    const key = this.serverKey(id)
    const [text, leftMs] = await Promise.all([
      this.#redis.command('GET', key),
      this.#redis.command('PTTL', key),
    ])
    if (typeof text !== 'string') return 'gone'
    const value = readServerValue(text)
    if (value === undefined || originIdOf(value.announcement) !== id) return 'unfit'
    try {
      // By what is left of its time: the clock of whoever wrote it may differ from this one by any amount.
      const ageMs = Math.max(0, this.#heartbeatTtlMs - Number(leftMs))
      return this.#local.hear(value.announcement, ageMs) ? 'heard' : 'gone'
    } catch (error) {
      this.#sharing.failed(error)
      return 'unfit'
    }
  }

  /**
   * Takes those out of the lists whose keys are gone. One that announces itself at this moment writes its key first and is
   * listed then, so whoever is there when they have been taken out is put back.
   */
  async #unlist(gone: readonly OriginId[]): Promise<void> {
    if (gone.length === 0) return
    await this.#changeLists(
      [],
      gone.map((id) => this.serverKey(id)),
    )
    const found = await this.#readAll(gone)
    const back: OriginAnnouncement[] = []
    for (const [id, reading] of found) {
      const origin = reading === 'heard' ? await this.#local.findOrigin(id) : undefined
      if (origin !== undefined) back.push(origin)
    }
    await this.#list(back)
  }

  async #say(id: OriginId, announcement: OriginAnnouncement): Promise<void> {
    await this.#set(id, announcement)
    if (this.#listed.has(this.serverKey(id))) return
    await this.#list([announcement])
    this.#fleet.send('all', TOPIC, { id })
  }

  async #set(id: OriginId, announcement: OriginAnnouncement): Promise<void> {
    const value = serverValue({ announcement, updateMs: this.#clock.wallMs() })
    await this.#redis.command('SET', this.serverKey(id), value, 'PX', this.#heartbeatTtlMs)
  }

  /** Go proxies read one list, and could not use what is not SRS. */
  async #list(announcements: readonly OriginAnnouncement[]): Promise<void> {
    if (announcements.length === 0) return
    await this.#redis.command('HDEL', this.#redis.key(KEY.removed), ...announcements.map(originIdOf))
    for (const name of [KEY.allServers, KEY.otherServers]) {
      const isOfSrs = name === KEY.allServers
      const keys = announcements
        .filter(({ urls }) => (urls === undefined) === isOfSrs)
        .map((announcement) => this.serverKey(originIdOf(announcement)))
      if (keys.length === 0) continue
      await this.#redis.run(CHANGE_LIST, [this.#redis.key(name)], [keys.length, ...keys])
      for (const key of keys) this.#listed.add(key)
    }
  }

  async #changeLists(added: readonly string[], gone: readonly string[]): Promise<void> {
    for (const name of [KEY.allServers, KEY.otherServers]) {
      await this.#redis.run(CHANGE_LIST, [this.#redis.key(name)], [added.length, ...added, ...gone])
    }
  }

  async #onMessage(data: unknown): Promise<void> {
    if (typeof data !== 'object' || data === null || !('id' in data)) return
    const { id } = data
    if (typeof id !== 'string' || !isOriginId(id)) return
    if ('isRemoved' in data) await this.#removed(id)
    else if ((await this.#sharing.try(() => this.#read(id))) === 'heard') this.#listed.add(this.serverKey(id))
  }

  /**
   * Redis was away, or has lost what it had: what was announced here of late is said again, all of it at once. The rest comes
   * with its next heartbeat.
   */
  async #sayAll(): Promise<void> {
    this.#refreshedMs = Number.NEGATIVE_INFINITY
    if (!(await this.refresh())) return
    const sinceMs = this.#clock.nowMs() - this.#heartbeatTtlMs * SAY_AGAIN
    const missing = [...this.#here].filter(
      ([id, { atMs }]) => atMs >= sinceMs && !this.#listed.has(this.serverKey(id)),
    )
    for (let at = 0; at < missing.length; at += AT_A_TIME) {
      const some = missing.slice(at, at + AT_A_TIME)
      await this.#sharing.try(() =>
        Promise.all(some.map(([id, { announcement }]) => this.#set(id, announcement))),
      )
    }
    await this.#sharing.try(() => this.#list(missing.map(([, { announcement }]) => announcement)))
  }

  #schedule(): void {
    this.#timer = this.#clock.after(REFRESH_MS * (0.9 + 0.2 * this.#random()), () => {
      void this.refresh()
      this.#schedule()
    })
  }
}
