import { rename } from 'node:fs/promises'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { type ClientRecord, ClientRecords, isRemembered } from './client-records.ts'
import type { ClientView, ProxyTraffic, ProxyView, TunnelRecorder } from './contract.ts'
import { DayCounts, dayOf, KEPT_DAYS, untilNextDayMs } from './day-counts.ts'
import { type ProxyIdentity, ProxyStatistics, type ServerTotals } from './proxy-statistics.ts'
import {
  readStatistics,
  type SavedClient,
  type SavedProxy,
  type SavedStatistics,
  writeStatistics,
} from './statistics-file.ts'

/** Options of the books. */
export interface TunnelStatisticsOptions {
  /** Where they are kept over restarts; empty: not. */
  readonly file: string
  readonly log: Logger
  readonly clock: Clock
  /** Proxies and clients that are offline, of each; beyond it the ones that went first are forgotten. @defaultValue 5000 */
  readonly maxOffline?: number
}

/** What an API shows of a proxy, online or not. */
export interface ProxyReport extends ProxyIdentity {
  /** As it is registered; undefined: it is offline. */
  readonly current: ProxyView | undefined
  readonly connections: number
  readonly todayIn: number
  readonly todayOut: number
  /** Since this process began. */
  readonly totalIn: number
  readonly totalOut: number
}

/** Bytes of the last seven days, today first. */
export interface TrafficReport {
  readonly in: readonly number[]
  readonly out: readonly number[]
}

/** What the server carries. */
export interface ServerReport {
  readonly todayIn: number
  readonly todayOut: number
  readonly connections: number
  readonly clients: number
  /** Online proxies of each type that has been here. */
  readonly proxiesByType: Readonly<Record<string, number>>
}

/** How often open connections are counted and the file is written. */
const TICK_MS = 60_000
/** An offline proxy is forgotten after this time, as frps does. */
const PROXY_MEMORY_MS = KEPT_DAYS * 86_400_000
/** Clients choose the names: those of more characters are forgotten at once, so that memory is not theirs to fill. */
const MAX_REMEMBERED_TEXT = 512
const MAX_OFFLINE = 5000

/**
 * The server's books: who is here and who was, and what has passed, by day. Open connections are counted while they last,
 * whenever somebody asks and at the end of each local day.
 */
export class TunnelStatistics implements TunnelRecorder, Lifecycle {
  readonly #options: TunnelStatisticsOptions
  readonly #maxOffline: number
  readonly #proxies = new Map<string, ProxyStatistics>()
  /** Names, the longest gone first. */
  readonly #offline = new Set<string>()
  readonly #typeCounts = new Map<string, number>()
  readonly #clients: ClientRecords
  #totals: ServerTotals
  #timer: Timer | undefined
  #isStarted = false
  #saving: Promise<void> | undefined
  /** Since the file was last written. */
  #hasToldFailure = false

  constructor(options: TunnelStatisticsOptions) {
    this.#options = options
    this.#maxOffline = options.maxOffline ?? MAX_OFFLINE
    this.#clients = new ClientRecords(this.#maxOffline)
    this.#totals = this.#emptyTotals()
  }

  /** Reads the file. One that cannot be used is put aside, with a warning. To be called before anything is recorded. */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#isStarted) return
    signal?.throwIfAborted()
    this.#isStarted = true
    if (this.#options.file !== '') await this.#load(this.#options.file)
    this.#tickLater()
  }

  /** Writes the file. */
  async close(): Promise<void> {
    if (!this.#isStarted) return
    this.#isStarted = false
    this.#timer?.cancel()
    await this.#saving
    await this.#save()
  }

  clientOnline(client: ClientView): void {
    this.#clients.add(client)
  }

  clientOffline(runId: string): void {
    this.#clients.leave(runId, this.#options.clock.wallMs())
  }

  proxyOnline(proxy: ProxyView): ProxyTraffic {
    const { name, type } = proxy
    this.proxyOffline(name)
    const before = this.#proxies.get(name)
    const isSame = before?.identity.type === type
    const statistics = isSame ? before : this.#newProxy(proxy)
    statistics.identity = identityOf(proxy, isSame ? before.identity.closedAtMs : undefined)
    statistics.current = proxy
    this.#offline.delete(name)
    this.#proxies.set(name, statistics)
    this.#typeCounts.set(type, (this.#typeCounts.get(type) ?? 0) + 1)
    return statistics
  }

  proxyOffline(name: string): void {
    const statistics = this.#proxies.get(name)
    if (statistics?.current === undefined) return
    const { identity } = statistics
    statistics.collect()
    statistics.current = undefined
    statistics.identity = { ...identity, closedAtMs: this.#options.clock.wallMs() }
    this.#typeCounts.set(identity.type, (this.#typeCounts.get(identity.type) ?? 1) - 1)
    this.#remember(name)
  }

  server(): ServerReport {
    this.#collect()
    const day = this.#today()
    const { in: bytesIn, out: bytesOut, connections } = this.#totals
    return {
      todayIn: bytesIn.today(day),
      todayOut: bytesOut.today(day),
      connections,
      clients: this.#clients.online,
      proxiesByType: Object.fromEntries(this.#typeCounts),
    }
  }

  /** All, or those of one type. */
  proxies(type?: string): readonly ProxyReport[] {
    return [...this.#proxies.values()]
      .filter(({ identity }) => type === undefined || identity.type === type)
      .map((statistics) => this.#reportOf(statistics))
  }

  proxy(name: string): ProxyReport | undefined {
    const statistics = this.#proxies.get(name)
    return statistics === undefined ? undefined : this.#reportOf(statistics)
  }

  traffic(name: string): TrafficReport | undefined {
    const statistics = this.#proxies.get(name)
    if (statistics === undefined) return undefined
    statistics.collect()
    const day = this.#today()
    return { in: statistics.in.days(day), out: statistics.out.days(day) }
  }

  clients(): readonly ClientRecord[] {
    return this.#clients.list()
  }

  client(key: string): ClientRecord | undefined {
    return this.#clients.get(key)
  }

  /** Forgets the proxies that are offline. `total`: how many proxies were known. */
  forgetOfflineProxies(): { readonly cleared: number; readonly total: number } {
    const result = { cleared: this.#offline.size, total: this.#proxies.size }
    for (const name of this.#offline) this.#forget(name)
    return result
  }

  #reportOf(statistics: ProxyStatistics): ProxyReport {
    statistics.collect()
    const day = this.#today()
    const { identity, current, connections, totalIn, totalOut } = statistics
    return {
      ...identity,
      current,
      connections,
      todayIn: statistics.in.today(day),
      todayOut: statistics.out.today(day),
      totalIn,
      totalOut,
    }
  }

  #remember(name: string): void {
    this.#offline.delete(name)
    this.#offline.add(name)
    if (!isRememberedProxy(this.#proxies.get(name)?.identity)) this.#forget(name)
    const [first] = this.#offline
    if (this.#offline.size > this.#maxOffline && first !== undefined) this.#forget(first)
  }

  /** What its connections still carry goes into the totals all the same. */
  #forget(name: string): void {
    this.#offline.delete(name)
    this.#proxies.delete(name)
  }

  #collect(): void {
    for (const statistics of this.#proxies.values()) statistics.collect()
  }

  #today(): number {
    return dayOf(this.#options.clock.wallMs())
  }

  #emptyTotals(): ServerTotals {
    const day = this.#today()
    return { in: new DayCounts(day), out: new DayCounts(day), connections: 0 }
  }

  #newProxy(proxy: ProxyView): ProxyStatistics {
    return new ProxyStatistics(identityOf(proxy, undefined), this.#proxyParts())
  }

  #proxyParts(): { readonly server: ServerTotals; readonly today: () => number } {
    return { server: this.#totals, today: () => this.#today() }
  }

  #tickLater(): void {
    const { clock } = this.#options
    // One millisecond before midnight: what has passed until then is of the old day.
    const untilMidnightMs = untilNextDayMs(clock.wallMs()) - 1
    const delayMs = untilMidnightMs > 0 ? Math.min(TICK_MS, untilMidnightMs) : TICK_MS
    this.#timer = clock.after(delayMs, () => {
      this.#collect()
      this.#forgetOld()
      this.#tickLater()
      // A disk that hangs gets no second one.
      this.#saving ??= this.#save().finally(() => {
        this.#saving = undefined
      })
    })
  }

  #forgetOld(): void {
    const oldestMs = this.#options.clock.wallMs() - PROXY_MEMORY_MS
    for (const name of this.#offline) {
      if ((this.#proxies.get(name)?.identity.closedAtMs ?? 0) < oldestMs) this.#forget(name)
    }
  }

  async #load(path: string): Promise<void> {
    try {
      const saved = await readStatistics(path)
      if (saved !== undefined) this.#restore(saved)
    } catch (error) {
      // It may be some other file, whose name was given by mistake: it is not overwritten.
      const aside = `${path}.bad`
      this.#options.log.warn(
        { file: path, aside, code: errorCode(error), reason: errorMessage(error) },
        'statistics cannot be read, counting begins anew',
      )
      await rename(path, aside).catch((failure: unknown) => this.#tellSaveFailure(failure))
    }
  }

  #restore({ savedAtMs, day, totals, proxies, clients }: SavedStatistics): void {
    const counts = (list: readonly number[]): DayCounts => new DayCounts(day, list)
    this.#totals = { in: counts(totals.in), out: counts(totals.out), connections: 0 }
    for (const { in: bytesIn, out: bytesOut, closedAtMs = savedAtMs, ...identity } of proxies) {
      const parts = { ...this.#proxyParts(), in: counts(bytesIn), out: counts(bytesOut) }
      this.#proxies.set(identity.name, new ProxyStatistics({ ...identity, closedAtMs }, parts))
      this.#remember(identity.name)
    }
    for (const { disconnectedAtMs = savedAtMs, ...client } of clients) {
      this.#clients.remember({ ...client, runId: '', disconnectedAtMs })
    }
    this.#forgetOld()
  }

  /** Never rejects. */
  async #save(): Promise<void> {
    const { file } = this.#options
    if (file === '') return
    try {
      await writeStatistics(file, this.#snapshot())
      this.#hasToldFailure = false
    } catch (error) {
      this.#tellSaveFailure(error)
    }
  }

  #tellSaveFailure(error: unknown): void {
    if (this.#hasToldFailure) return
    this.#hasToldFailure = true
    const { file, log } = this.#options
    log.warn({ file, code: errorCode(error), reason: errorMessage(error) }, 'statistics cannot be saved')
  }

  #snapshot(): SavedStatistics {
    this.#collect()
    const day = this.#today()
    return {
      version: 1,
      savedAtMs: this.#options.clock.wallMs(),
      day,
      totals: { in: this.#totals.in.days(day), out: this.#totals.out.days(day) },
      proxies: [...this.#proxies.values()]
        .filter(({ identity }) => isRememberedProxy(identity))
        .map(savedProxy(day)),
      clients: this.#clients.list().filter(isRemembered).map(savedClient),
    }
  }
}

function identityOf(
  { name, type, user, clientId, runId, startedAtMs }: ProxyView,
  closedAtMs: number | undefined,
): ProxyIdentity {
  return { name, type, user, clientId: clientId || runId, startedAtMs, closedAtMs }
}

function isRememberedProxy(identity: ProxyIdentity | undefined): boolean {
  const { name = '', type = '', user = '', clientId = '' } = identity ?? {}
  return name.length + type.length + user.length + clientId.length <= MAX_REMEMBERED_TEXT
}

function savedProxy(day: number): (statistics: ProxyStatistics) => SavedProxy {
  return ({ identity, current, in: bytesIn, out: bytesOut }) => ({
    ...identity,
    // Of one that is online the end is not known yet.
    closedAtMs: current === undefined ? identity.closedAtMs : undefined,
    in: bytesIn.days(day),
    out: bytesOut.days(day),
  })
}

function savedClient({ runId, ...client }: ClientRecord): SavedClient {
  return { ...client, disconnectedAtMs: runId === '' ? client.disconnectedAtMs : undefined }
}
