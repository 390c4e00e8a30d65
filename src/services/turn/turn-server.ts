import { networkInterfaces } from 'node:os'
import { type Clock, systemClock } from '../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import { createDatapath, type Datapath, type Remote } from '../../mechanisms/datapath/index.ts'
import { type Certificate, ConnectionCap } from '../../mechanisms/net/index.ts'
import { type Logger, silentLogger } from '../../mechanisms/telemetry/index.ts'
import type { AllocationInfo } from './allocation-info.ts'
import { checkLimits, checkListeners } from './check-options.ts'
import { Allocations } from './core/allocations.ts'
import { DataPlane } from './core/data-plane.ts'
import { Detours } from './core/detours.ts'
import type { ListenerState } from './core/listener-state.ts'
import { Meters } from './core/meters.ts'
import { notifier } from './core/notify.ts'
import { PeerGate } from './core/peer-gate.ts'
import { PeerPaths } from './core/peer-paths.ts'
import { RandomPool } from './core/random-pool.ts'
import { RelayPool } from './core/relay-pool.ts'
import { Reservations } from './core/reservations.ts'
import { openTcpRelay } from './core/tcp-relays.ts'
import { Tickets } from './core/ticket.ts'
import { deriveKey, TurnCore } from './core/turn-core.ts'
import type { TurnSettings, TurnState } from './core/turn-state.ts'
import { TurnError } from './errors.ts'
import type { AllocationEnd } from './events.ts'
import type { ListenerStats } from './listener-stats.ts'
import { DtlsListener } from './listeners/dtls-listener.ts'
import { ListenerSet } from './listeners/listener-set.ts'
import type { BoundListener } from './listeners/listener.ts'
import { StreamListener } from './listeners/stream-listener.ts'
import { UdpListener } from './listeners/udp-listener.ts'
import { registerTurnMetrics } from './metrics.ts'
import type { TurnLimits, TurnServerOptions } from './options.ts'
import { MemoryQuota, quotaOf } from './quota.ts'

/** What can be changed while the server runs; what is absent stays. */
export type TurnServerChanges = Partial<
  Pick<
    TurnServerOptions,
    | 'listeners'
    | 'credentials'
    | 'realm'
    | 'quota'
    | 'limits'
    | 'mobility'
    | 'security'
    | 'redirect'
    | 'events'
  >
>

/**
 * A TURN server (RFC 8656): listeners for clients, relayed addresses for their peers, one set of users and limits.
 *
 * @example
 *   const server = new TurnServer({ listeners: [...], credentials: new StaticUsers([...]) })
 *   await server.start()
 */
export class TurnServer implements Lifecycle {
  readonly #log: Logger
  readonly #clock: Clock
  readonly #datapath: Datapath
  readonly #ownsDatapath: boolean
  /** Those of the start, with the changes since. */
  #options: TurnServerOptions
  /** Counts where the options name no other; outlives changes of them. */
  readonly #quota = new MemoryQuota(() => this.#state.settings.limits.maxPerUser)
  readonly #state: TurnState
  readonly #data: DataPlane
  readonly #core: TurnCore
  readonly #cap: ConnectionCap
  readonly #listeners: ListenerSet
  #isRunning = false
  #updates: Promise<unknown> = Promise.resolve()
  #endMetrics: (() => void) | undefined
  #endFleetWatch: (() => void) | undefined

  /** @throws TURN_BAD_OPTION, TURN_UNSUPPORTED */
  constructor(options: TurnServerOptions) {
    checkListeners(options.listeners)
    const {
      logger = silentLogger(),
      clock = systemClock,
      random = pooledRandom(),
      secret = random(32),
    } = options
    if (secret.length !== 32)
      throw new TurnError('TURN_BAD_OPTION', `secret has ${secret.length} bytes: must be 32`)
    if (options.fleet !== undefined && !/^[0-9a-f]{8}$/.test(options.fleet.tag)) {
      throw new TurnError('TURN_BAD_OPTION', 'fleet.tag must be 8 hexadecimal digits, in lower case')
    }
    this.#options = options
    this.#log = logger.child({ component: 'turn' })
    this.#clock = clock
    this.#ownsDatapath = options.datapath === undefined
    const { engine, threads } = options
    this.#datapath =
      options.datapath ??
      createDatapath({
        clock,
        ...(engine !== undefined && { engine }),
        ...(threads !== undefined && { threads }),
        onFallback: (reason) =>
          this.#log.warn({ reason }, 'no native engine, datagrams go through engine-node'),
      })
    this.#state = this.#createState(random, deriveKey(secret, 'ticket', 32))
    this.#data = new DataPlane({ ...this.#state })
    this.#core = new TurnCore(this.#state, this.#data, secret)
    const { maxConnections, maxConnectionsPerAddress } = this.#state.settings.limits
    this.#cap = new ConnectionCap({ maxConnections, maxConnectionsPerAddress })
    this.#listeners = new ListenerSet(options.listeners, {
      create: (state) => this.#create(state),
      onRules: () => this.#core.recheckPeers(),
      onClosing: (state) => {
        this.#endAll(({ client }) => client.listener === state, 'closed')
        this.#state.detours.endAll(state)
      },
      log: this.#log,
    })
  }

  /** Where listeners are bound, by name; port 0 while they are not. */
  get ports(): ReadonlyMap<string, number> {
    return new Map([...this.#listeners.open].map(([name, { bound }]) => [name, bound.port]))
  }

  /**
   * Where other servers on the network of this one reach its listeners by UDP. Of a wildcard it is the address of the
   * listener's first relay.
   */
  get udpAddresses(): readonly Remote[] {
    return [...this.#listeners.open.values()].flatMap(({ state: { options, relays }, bound }) => {
      if (options.transport !== 'udp') return []
      const { host } = options.listen
      const address = host === undefined || host === '0.0.0.0' || host === '::' ? relays[0]?.address : host
      return address === undefined ? [] : { address, port: bound.port }
    })
  }

  get allocationCount(): number {
    return this.#state.allocations.size
  }

  /** Opens all listeners, or none. @throws what binding throws: NET_*, DATAPATH_*, TURN_NO_RELAY_ADDRESS */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#isRunning) return
    signal?.throwIfAborted()
    this.#isRunning = true
    this.#state.isDraining = false
    try {
      if (this.#ownsDatapath) await this.#datapath.start()
      await this.#listeners.start()
      this.#learnOwnAddresses()
      this.#registerMetrics()
      this.#endFleetWatch = this.#state.fleet?.onGone((tag) => this.#state.detours.endTo(tag))
    } catch (error) {
      await this.close()
      throw error
    }
    this.#log.info(
      { listeners: Object.fromEntries(this.ports), engine: this.#datapath.engine },
      'TURN server ready',
    )
  }

  /** Refuses new allocations from now on and waits for those that are to end, `graceMs` at most; listeners stay open. */
  async drain({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    if (!this.#isRunning) return
    this.#state.isDraining = true
    if (graceMs > 0 && this.allocationCount + this.#state.detours.size > 0) await this.#untilEmpty(graceMs)
  }

  /** Drains; then everything is closed. */
  async close(options?: CloseOptions): Promise<void> {
    await this.drain(options)
    if (!this.#isRunning) return
    this.#isRunning = false
    this.#endFleetWatch?.()
    this.#endFleetWatch = undefined
    this.#endAll(() => true, 'closed')
    this.#state.detours.endAll()
    this.#state.reservations.endAll()
    await this.#listeners.close()
    this.#endMetrics?.()
    this.#endMetrics = undefined
    if (this.#ownsDatapath) await this.#datapath.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * Puts other options in force without disturbing what they do not touch. Listeners go by their names: one whose transport
   * or address changes is opened anew, which ends its allocations; certificates, relays and rules about peers change in
   * place. Gives the names of those opened anew.
   *
   * @throws what `start` throws; then everything is as before, save that a listener which had to be opened anew has lost
   * its allocations
   */
  update(changes: TurnServerChanges): Promise<{ readonly restarted: readonly string[] }> {
    // One after the other: each builds on what the one before has left.
    const updated = this.#updates.then(() => this.#update(changes))
    this.#updates = updated.catch(() => undefined)
    return updated
  }

  async #update(changes: TurnServerChanges): Promise<{ readonly restarted: readonly string[] }> {
    const { listeners, ...settings } = changes
    if (listeners !== undefined) checkListeners(listeners)
    const limitsGiven = { ...this.#options.limits, ...settings.limits }
    const options = { ...this.#options, ...settings, limits: limitsGiven }
    const merged = this.#settingsOf(options)
    const restarted = listeners === undefined ? [] : await this.#listeners.update(listeners)
    const { limits } = merged
    // Allocations keep the meters they have; new ones must share the budgets of their user and of all with them.
    if (!hasSameRates(limits, this.#state.settings.limits)) {
      this.#state.meters = new Meters(this.#datapath, limits)
    }
    this.#options = options
    const { maxConnections, maxConnectionsPerAddress } = limits
    this.#cap.configure({ maxConnections, maxConnectionsPerAddress })
    this.#core.configure(merged)
    this.#learnOwnAddresses()
    this.#core.recheckPeers()
    return { restarted }
  }

  /**
   * Shows another certificate to new connections of a listener.
   *
   * @throws NET_BAD_CERTIFICATE, of `dtls` TURN_BAD_OPTION and TURN_UNSUPPORTED; then the one before stays
   */
  setCertificate(listener: string, certificate: Certificate): void {
    this.#listeners.setCertificate(listener, certificate)
  }

  /** All live allocations. */
  listAllocations(): readonly AllocationInfo[] {
    return [...this.#state.allocations.all()].map((allocation) => this.#core.view(allocation))
  }

  /** Ends an allocation. False when there is none of this id. */
  killAllocation(id: string): boolean {
    const allocation = this.#state.allocations.ofId(id)
    if (allocation === undefined) return false
    const { client } = allocation
    this.#core.end(allocation, 'killed')
    client.disconnect?.()
    return true
  }

  /** Ends all allocations of a user; gives how many. */
  killUser(userId: string): number {
    const ids = [...this.#state.allocations.all()]
      .filter(({ quota }) => quota.userId === userId)
      .map(({ id }) => id)
    for (const id of ids) this.killAllocation(id)
    return ids.length
  }

  /** What listeners have done. Reads the engine's counters of every channel. */
  listenerStats(): readonly ListenerStats[] {
    const live = new Map<ListenerState, LiveTraffic>()
    for (const allocation of this.#state.allocations.all()) {
      const { listener } = allocation.client
      let sums = live.get(listener)
      if (sums === undefined) {
        sums = noTraffic()
        live.set(listener, sums)
      }
      sums.connections++
      this.#state.paths.addFlowTraffic(allocation, sums.rx, sums.tx)
    }
    return [...this.#listeners.open].map(([name, { state }]) => {
      const { traffic } = state
      const { connections, rx, tx } = live.get(state) ?? noTraffic()
      this.#state.detours.addFlowTraffic(state, rx, tx)
      return {
        name,
        connections,
        connectionsTotal: traffic.clients,
        rx: { packets: traffic.rxPackets + rx.packets, bytes: traffic.rxBytes + rx.bytes },
        tx: { packets: traffic.txPackets + tx.packets, bytes: traffic.txBytes + tx.bytes },
      }
    })
  }

  #createState(random: (bytes: number) => Uint8Array, ticketKey: Uint8Array): TurnState {
    const datapath = this.#datapath
    const clock = this.#clock
    const allocations = new Allocations()
    const relays = new RelayPool({
      random,
      datapath,
      clock,
      receiver: (arrival) => this.#core.receiveFromPeer(arrival),
    })
    const gate = new PeerGate({ relays, localAddresses: localAddresses(clock) })
    const settings = this.#settingsOf(this.#options)
    const { fleet } = this.#options
    const tickets = new Tickets(ticketKey, random)
    const detours = new Detours({
      fleet,
      tickets,
      datapath,
      clock,
      log: this.#log,
      limits: () => this.#state.settings.limits,
      onEmpty: () => {
        if (this.allocationCount === 0) this.#state.onEmpty?.()
      },
    })
    const notify = notifier(() => this.#state.settings.events, this.#log)
    return {
      settings,
      datapath,
      clock,
      log: this.#log,
      random,
      allocations,
      allocating: new Map(),
      relays,
      reservations: new Reservations(relays, clock, random),
      gate,
      paths: new PeerPaths({ datapath, allocations, relays, gate, notify }),
      notify,
      tickets,
      fleet,
      detours,
      meters: new Meters(datapath, settings.limits),
      waitingConnections: new Map(),
      isDraining: false,
      openTcpRelay: (where) => openTcpRelay(where, relays, datapath, clock),
    }
  }

  #settingsOf(options: Omit<TurnServerOptions, 'listeners'>): TurnSettings {
    const {
      realm = 'sluice',
      credentials,
      quota = this.#quota,
      mobility = true,
      security = 'none',
      redirect,
      events = {},
    } = options
    if (realm === '' || Buffer.byteLength(realm) > 763) {
      throw new TurnError('TURN_BAD_OPTION', `realm "${realm}": must have 1 to 763 bytes`)
    }
    const isCountedHere = typeof quota === 'number'
    if (isCountedHere && !(quota >= 0)) {
      throw new TurnError('TURN_BAD_OPTION', `quota is ${quota}: must be 0 (no limit) or more`)
    }
    const limits = checkLimits({ ...options.limits, ...(isCountedHere && { maxPerUser: quota }) })
    return {
      realm,
      credentials,
      quota: isCountedHere ? this.#quota : quotaOf(quota),
      limits,
      mobility,
      security,
      redirect,
      events,
    }
  }

  #registerMetrics(): void {
    const { registry } = this.#options
    if (registry === undefined) return
    this.#endMetrics = registerTurnMetrics(registry, () => ({
      stats: this.#core.stats,
      dataDropped: this.#data.dropped,
      unanswered: this.#core.unanswered,
      connectionRefusals: { ...this.#listeners.refusals, 'over-cap': this.#cap.refused },
      listeners: this.listenerStats(),
      detours: this.#state.detours,
    }))
  }

  #create(state: ListenerState): BoundListener {
    const { transport } = state.options
    if (transport === 'udp')
      return new UdpListener(state, this.#core, this.#state.allocations, this.#datapath)
    if (transport === 'dtls') {
      return new DtlsListener({
        state,
        core: this.#core,
        datapath: this.#datapath,
        limits: () => this.#state.settings.limits,
        clock: this.#clock,
        random: this.#state.random,
        log: this.#log,
      })
    }
    return new StreamListener({
      state,
      core: this.#core,
      limits: () => this.#state.settings.limits,
      cap: this.#cap,
      log: this.#log,
      clock: this.#clock,
    })
  }

  /** Our listeners are no peers, and our relayed addresses always are. */
  #learnOwnAddresses(): void {
    const open = [...this.#listeners.open.values()]
    this.#state.relays.setAddresses(open.flatMap(({ state }) => state.relays))
    this.#state.gate.setOwnPorts([
      ...open.map(({ state, bound }) => ({
        protocol:
          state.options.transport === 'udp' || state.options.transport === 'dtls'
            ? ('udp' as const)
            : ('tcp' as const),
        port: bound.port,
      })),
      ...(this.#options.ownPorts?.() ?? []),
    ])
  }

  #endAll(which: (allocation: Parameters<TurnCore['end']>[0]) => boolean, reason: AllocationEnd): void {
    for (const allocation of [...this.#state.allocations.all()]) {
      if (which(allocation)) this.#core.end(allocation, reason)
    }
  }

  #untilEmpty(graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#state.onEmpty
      const timer = this.#clock.after(graceMs, resolve)
      this.#state.onEmpty = () => {
        timer.cancel()
        resolve()
        // Whoever waits longer.
        before?.()
      }
    })
  }
}

function pooledRandom(): (bytes: number) => Uint8Array {
  const pool = new RandomPool()
  return (bytes) => pool.take(bytes)
}

interface LiveTraffic {
  connections: number
  readonly rx: Sum
  readonly tx: Sum
}

function noTraffic(): LiveTraffic {
  return { connections: 0, rx: { packets: 0, bytes: 0 }, tx: { packets: 0, bytes: 0 } }
}

interface Sum {
  packets: number
  bytes: number
}

function hasSameRates(before: TurnLimits, after: TurnLimits): boolean {
  return (['packetsPerSecond', 'bytesPerSecond', 'userBytesPerSecond', 'totalBytesPerSecond'] as const).every(
    (rate) => before[rate] === after[rate],
  )
}

/** Gives the addresses of this machine, read again after some seconds. */
function localAddresses(clock: Clock): () => ReadonlySet<string> {
  let addresses: ReadonlySet<string> = new Set()
  let untilMs = Number.NEGATIVE_INFINITY
  return () => {
    const nowMs = clock.nowMs()
    if (untilMs > nowMs) return addresses
    untilMs = nowMs + 5000
    addresses = new Set(
      Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []),
    )
    return addresses
  }
}
