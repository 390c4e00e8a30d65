import type { Clock, Timer } from '../../foundation/clock.ts'
import { type ClusterMap, readClusterSlots, readRedirection, slotOf } from './cluster-slots.ts'
import type { Connection } from './connection.ts'
import type { RedisArgument } from './contract.ts'
import { within } from './deadline.ts'
import { RedisError } from './errors.ts'
import { KeptConnection } from './kept-connection.ts'
import type { Route, RouteListener } from './route.ts'
import { type ServerAddress, serverAddressText } from './server-address.ts'
import { shuffled } from './shuffled.ts'
import { isUnfit } from './unfit.ts'

/** Options of a route through a Cluster. */
export interface ClusterRouteOptions {
  /** Some of its nodes. */
  readonly seeds: readonly ServerAddress[]
  readonly open: (address: ServerAddress, signal: AbortSignal) => Promise<Connection>
  /** Longest wait for an answer about the Cluster itself. */
  readonly timeoutMs: number
  readonly maxRetryMs: number
  readonly clock: Clock
  readonly random: () => number
  readonly listener: RouteListener
}

/** How often a command follows what servers say before it fails. */
const MAX_REDIRECTIONS = 5

/** Pause before a command whose keys are being moved is sent again. */
const TRY_AGAIN_MS = 50

/** How often it is asked where the slots are: while all is well, and while something is not. */
const REFRESH_MS = 10_000
const REPAIR_MS = 500

/** Most servers, so that answers that name more and more of them do no harm. */
const MAX_NODES = 1024

interface Node {
  readonly kept: KeptConnection
  /** Its first attempt to connect has ended. */
  tried: Promise<void>
  /** By its own word the Cluster is well. One that has just come back says for some seconds that it is not. */
  isWell: boolean
}

/**
 * The way through a Cluster: a connection to each master, and a table of slots, which is asked for every some seconds, and at
 * once when an answer or a broken connection shows that it is out of date.
 */
export class ClusterRoute implements Route {
  readonly #options: ClusterRouteOptions
  readonly #nodes = new Map<string, Node>()
  readonly #closing = new AbortController()
  #map: ClusterMap = readClusterSlots([], { host: '', port: 0 })
  /** What servers said by MOVED since the table was asked for. */
  readonly #moved = new Map<number, string>()
  #failure: RedisError | undefined
  /** It was asked once; nothing is told before. */
  #isKnown = false
  #isRefreshing = false
  #isRepairDue = false
  #lastRefreshMs = Number.NEGATIVE_INFINITY
  #timer: Timer | undefined
  #subscriber: Connection | undefined

  constructor(options: ClusterRouteOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    await this.#refresh()
  }

  close(): void {
    this.#closing.abort()
    this.#timer?.cancel()
    for (const { kept } of this.#nodes.values()) kept.close()
    this.#nodes.clear()
  }

  async send(key: string | undefined, name: string, args: readonly RedisArgument[]): Promise<unknown> {
    const slot = key === undefined ? undefined : slotOf(key)
    let connection = slot === undefined ? this.#anyMaster() : this.#masterOf(slot)
    let isAsking = false
    const { clock, timeoutMs } = this.#options
    const untilMs = clock.nowMs() + timeoutMs
    for (let round = 0; ; round++) {
      if (connection === undefined) {
        this.#repair()
        throw new RedisError('REDIS_AWAY', `${name}: the server of its key is away`)
      }
      try {
        // Both are written before anything else can be.
        if (isAsking) connection.send('ASKING', []).catch(() => undefined)
        return await connection.send(name, args)
      } catch (error) {
        if (round === MAX_REDIRECTIONS || !(error instanceof RedisError)) throw error
        if (error.reply === 'TRYAGAIN') {
          await this.#pause(TRY_AGAIN_MS)
          if (clock.nowMs() >= untilMs) throw error
          continue
        }
        const redirection = readRedirection(error.words ?? '', connection.address)
        if (redirection === undefined) {
          this.#noteAnswer(connection, error)
          throw error
        }
        isAsking = redirection.kind === 'ASK'
        if (!isAsking) {
          this.#moved.set(redirection.slot, serverAddressText(redirection.address))
          this.#repair()
        }
        connection = await this.#connectionTo(redirection.address)
        // Nobody waits for it any longer, and what is done late undoes what was done since.
        if (clock.nowMs() >= untilMs) throw error
      }
    }
  }

  masters(): readonly Connection[] {
    const found: Connection[] = []
    for (const text of this.#map.masters.keys()) {
      const current = this.#nodes.get(text)?.kept.current
      if (current !== undefined) found.push(current)
    }
    return found
  }

  /** To any server, as what is published at one is heard at all of them. */
  async openSubscriber(signal: AbortSignal): Promise<Connection> {
    const { seeds, random } = this.#options
    const known = shuffled(this.#map.servers.values(), random)
    const { connection, failure } = await this.#firstOpen(known.length === 0 ? seeds : known, signal)
    if (connection === undefined) throw failure
    this.#subscriber = connection
    return connection
  }

  #masterOf(slot: number): Connection | undefined {
    const text = this.#moved.get(slot) ?? this.#map.slots[slot]
    return text === undefined ? undefined : this.#nodes.get(text)?.kept.current
  }

  #anyMaster(): Connection | undefined {
    const masters = this.masters()
    return masters[Math.floor(this.#options.random() * masters.length)]
  }

  /** The connection to a server that an answer named, once the first attempt to connect has ended. */
  async #connectionTo(address: ServerAddress): Promise<Connection | undefined> {
    const node = this.#node(address)
    await node?.tried
    return node?.kept.current
  }

  /** What an answer says about the server or the Cluster. */
  #noteAnswer(connection: Connection, error: RedisError): void {
    const node = this.#nodes.get(serverAddressText(connection.address))
    if (error.reply === 'CLUSTERDOWN' && node !== undefined) {
      node.isWell = false
      this.#tell(error)
      this.#repair()
    }
    if (isUnfit(error)) node?.kept.giveUp(connection, error.message)
  }

  #node(address: ServerAddress): Node | undefined {
    const text = serverAddressText(address)
    const known = this.#nodes.get(text)
    if (known !== undefined || this.#nodes.size >= MAX_NODES || this.#closing.signal.aborted) return known
    const { open, listener, maxRetryMs, clock, random } = this.#options
    const kept = new KeptConnection({
      maxRetryMs,
      clock,
      random,
      open: (signal) => {
        listener.onReconnect()
        return open(address, signal)
      },
      onChange: (connection, error) => {
        node.isWell = false
        if (connection === undefined) this.#repair()
        else void this.#check(node, connection)
        this.#tell(error)
      },
    })
    const node: Node = { kept, tried: Promise.resolve(), isWell: false }
    node.tried = kept.start()
    this.#nodes.set(text, node)
    return node
  }

  /** Asks a master whether the Cluster is well. */
  async #check(node: Node, connection: Connection): Promise<void> {
    const { clock, timeoutMs } = this.#options
    let failure: RedisError | undefined
    try {
      const info = await within(clock, timeoutMs, 'CLUSTER', connection.send('CLUSTER', ['INFO']))
      if (!/^cluster_state:ok\s*$/m.test(String(info))) {
        const message = `${serverAddressText(connection.address)} says that the Cluster is down`
        failure = new RedisError('REDIS_AWAY', message, 'CLUSTERDOWN')
      }
    } catch (error) {
      if (!(error instanceof RedisError)) throw error
      failure = error
    }
    if (node.kept.current !== connection) return
    node.isWell = failure === undefined
    this.#tell(failure)
    if (failure !== undefined) this.#repair()
  }

  /** Asks for the table soon, unless that was just done. */
  #repair(): void {
    const { clock, random } = this.#options
    if (this.#isRefreshing || this.#isRepairDue) return
    this.#isRepairDue = true
    const pauseMs = REPAIR_MS * (0.5 + random() / 2)
    this.#refreshIn(Math.max(0, this.#lastRefreshMs + pauseMs - clock.nowMs()))
  }

  #refreshIn(ms: number): void {
    this.#timer?.cancel()
    if (this.#closing.signal.aborted) return
    this.#timer = this.#options.clock.after(ms, () => void this.#refresh())
  }

  async #refresh(): Promise<void> {
    if (this.#isRefreshing) return
    this.#isRefreshing = true
    this.#isRepairDue = false
    const { clock, random } = this.#options
    this.#lastRefreshMs = clock.nowMs()
    const failure = await this.#askAll()
    this.#isRefreshing = false
    if (this.#closing.signal.aborted) return
    this.#failure = failure
    this.#isKnown = true
    this.#tell()
    this.#refreshIn((this.#isUp() ? REFRESH_MS : REPAIR_MS) * (0.5 + random() / 2))
  }

  /** Asks servers, those that are connected before others, until one has told where the slots are. Gives what keeps the Cluster down. */
  async #askAll(): Promise<RedisError | undefined> {
    const { seeds, random } = this.#options
    const { signal } = this.#closing
    let failure = new RedisError('REDIS_AWAY', 'no server of the Cluster answers')
    for (const connection of shuffled(this.masters(), random)) {
      try {
        return await this.#ask(connection)
      } catch (error) {
        if (!(error instanceof RedisError)) throw error
        failure = error
      }
    }
    for (const address of [...shuffled(seeds, random), ...shuffled(this.#map.servers.values(), random)]) {
      if (signal.aborted) break
      const opened = await this.#firstOpen([address], signal)
      failure = opened.failure
      try {
        if (opened.connection !== undefined) return await this.#ask(opened.connection)
      } catch (error) {
        if (!(error instanceof RedisError)) throw error
        failure = error
      } finally {
        opened.connection?.destroy('asked')
      }
    }
    return failure
  }

  async #ask(connection: Connection): Promise<RedisError | undefined> {
    const { clock, timeoutMs } = this.#options
    const slots = await within(clock, timeoutMs, 'CLUSTER', connection.send('CLUSTER', ['SLOTS']))
    const map = readClusterSlots(slots, connection.address)
    if (map.masters.size === 0) {
      throw new RedisError('REDIS_AWAY', `${serverAddressText(connection.address)} knows of no slots`)
    }
    this.#apply(map)
    const checks = [...this.#nodes.values()].map(async (node) => {
      await node.tried
      if (node.kept.current !== undefined) await this.#check(node, node.kept.current)
    })
    await Promise.all(checks)
    if (this.#map.slots.includes(undefined)) {
      return new RedisError('REDIS_AWAY', 'some slots of the Cluster have no server')
    }
    return undefined
  }

  #apply(map: ClusterMap): void {
    this.#map = map
    this.#moved.clear()
    for (const address of map.masters.values()) this.#node(address)
    for (const [text, { kept }] of this.#nodes) {
      if (map.masters.has(text)) continue
      this.#nodes.delete(text)
      kept.close()
    }
    // A server that has left the Cluster publishes nothing of what the others do.
    if (this.#subscriber !== undefined && !map.servers.has(serverAddressText(this.#subscriber.address))) {
      this.#subscriber.destroy('its server has left the Cluster')
      this.#subscriber = undefined
    }
  }

  #isUp(): boolean {
    if (this.#failure !== undefined) return false
    return [...this.#map.masters.keys()].every((text) => {
      const node = this.#nodes.get(text)
      return node?.kept.current !== undefined && node.isWell
    })
  }

  #tell(error?: RedisError): void {
    if (this.#closing.signal.aborted || !this.#isKnown) return
    this.#options.listener.onState(this.#isUp(), this.#isUp() ? undefined : (this.#failure ?? error))
  }

  /** Connects to the first of these that lets us. */
  async #firstOpen(
    addresses: readonly ServerAddress[],
    signal: AbortSignal,
  ): Promise<{ readonly connection?: Connection; readonly failure: RedisError }> {
    let failure = new RedisError('REDIS_AWAY', 'no server of the Cluster answers')
    for (const address of addresses) {
      try {
        return { connection: await this.#options.open(address, signal), failure }
      } catch (error) {
        if (!(error instanceof RedisError)) throw error
        failure = error
      }
    }
    return { failure }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.clock.after(ms, resolve)
    })
  }
}
