import { availableParallelism } from 'node:os'
import { getSystemErrorName } from 'node:util'
import type { Timer } from '../../../foundation/clock.ts'
import {
  type BatchSizes,
  COUNTER_STRIDE,
  DATAPATH_FEATURES,
  type DatapathFeature,
  type DatapathTotals,
  DROP_REASONS,
  type DropReason,
  type EndpointId,
  type EndpointOptions,
  type FlowId,
  type MeterId,
  type MeterOptions,
  type Receiver,
  type Remote,
  type SendOptions,
} from '../contract.ts'
import {
  DatapathControl,
  type EngineFlow,
  type FlowRequest,
  type Target,
} from '../control/datapath-control.ts'
import { bindError } from '../control/bind-error.ts'
import { type EngineOptions, engineDefaults, type PacketBudget } from '../control/engine-options.ts'
import { defaultBurstSeconds } from '../control/meter-checks.ts'
import { DatapathError } from '../errors.ts'
import type { Addon, EngineHandle } from './addon.ts'
import { addressCommand, aimCommand, flowCommand } from './addon-records.ts'
import { NativeArrival } from './native-arrival.ts'
import { NativeEndpoint } from './native-endpoint.ts'
import { Outbox } from './outbox.ts'
import { systemError } from './system-error.ts'
import { ThreadGrowth } from './thread-growth.ts'

export interface NativeEngineOptions extends EngineOptions {
  /** Threads that move datagrams; `auto` begins with one and adds others under load, up to the cores. @defaultValue 1 */
  readonly threads?: number | 'auto'
  /** Told when a thread has died of a bug of ours, after which nothing is moved. @defaultValue ends the process */
  readonly onDeath?: (error: DatapathError) => void
}

/** Most threads that can be asked for. */
const maxThreads = 64
/** Room for the records of one native call. */
const takeBytes = 256 * 1024
/** Most native calls for records in one turn of the event loop. */
const takesPerTurn = 4
/** How often `auto` looks at the load, in milliseconds. */
const growthPollMs = 1000
/** Counts by size, and the sum. */
const sizeNumbers = 8
const totalNumbers = 4 + DROP_REASONS.length + 3 * sizeNumbers

type NativeFlow = EngineFlow<NativeEndpoint>

/**
 * The datapath in Rust: threads of its own move datagrams without JavaScript. Here is what the addon is told, and what comes
 * back: arrivals, counters.
 */
export class NativeDatapath extends DatapathControl<NativeEndpoint, NativeFlow, MeterId> {
  override readonly engine = 'native'
  override readonly features: ReadonlySet<DatapathFeature> = new Set(DATAPATH_FEATURES)
  readonly #addon: Addon
  readonly #threads: number | 'auto'
  readonly #onDeath: (error: DatapathError) => void
  readonly #outbox = new Outbox((datagrams, length) => {
    if (this.#engine !== undefined) this.#addon.send(this.#engine, datagrams, length)
  })
  readonly #records = new Uint8Array(takeBytes)
  readonly #arrival = new NativeArrival(this.#records)
  readonly #delivered = { packets: 0, bytes: 0 }
  readonly #totals = new Float64Array(totalNumbers + maxThreads)
  #threadCount = 0
  #unsendable = 0
  #engine: EngineHandle | undefined
  #isDead = false
  #growthTimer: Timer | undefined

  /** @throws DATAPATH_INVALID for a number of threads that cannot be */
  constructor(addon: Addon, options: NativeEngineOptions = {}) {
    const { threads = 1, onDeath = throwLater, ...others } = options
    super({ ...engineDefaults, ...others })
    if (threads !== 'auto' && !(Number.isInteger(threads) && threads >= 1 && threads <= maxThreads)) {
      throw new DatapathError(
        'DATAPATH_INVALID',
        `threads ${threads}: must be "auto" or from 1 to ${maxThreads}`,
      )
    }
    this.#addon = addon
    this.#threads = threads
    this.#onDeath = onDeath
  }

  override closeEndpoint(id: EndpointId): void {
    // What was sent before it was closed goes out.
    if (this.#outbox.has(id)) this.#outbox.flush()
    super.closeEndpoint(id)
  }

  protected override startEngine(): void {
    const { clock, strangersPerEndpoint, strangers, knownPerEndpoint, known, maxSendQueueBytes } =
      this.options
    const nowMs = clock.nowMs()
    const budgets = [strangersPerEndpoint, strangers, knownPerEndpoint, known].flatMap(numbersOf)
    const options = Float64Array.of(nowMs, ...budgets, Math.max(0, maxSendQueueBytes))
    const engine = this.#addon.open(options, () => this.#take())
    this.#engine = engine
    const [first, most] =
      this.#threads === 'auto' ? [1, availableParallelism()] : [this.#threads, this.#threads]
    for (let thread = 0; thread < first; thread++) {
      const result = this.#addon.addThread(engine)
      if (result === 0) continue
      this.closeEngine()
      throw new DatapathError('DATAPATH_SYSTEM', `no thread can be added: ${getSystemErrorName(result)}`)
    }
    if (most > first) this.#watchLoad(engine, new ThreadGrowth(Math.min(most, maxThreads), nowMs))
  }

  protected override closeEngine(): void {
    const engine = this.#engine
    if (engine === undefined) return
    this.#growthTimer?.cancel()
    this.#outbox.flush()
    this.#readTotals()
    this.#engine = undefined
    this.#threadCount = 0
    this.#addon.close(engine)
  }

  protected override bindSharedTcp(where: Remote): number {
    const result = this.#addon.bindTcp(addressCommand(where))
    if (result < 0) throw bindError(where, undefined, systemError(result), 'TCP')
    return result
  }

  protected override createEndpoint(
    id: EndpointId,
    options: EndpointOptions,
    receiver: Receiver,
  ): NativeEndpoint {
    return new NativeEndpoint(id, options, receiver, this.#addon, this.#handle())
  }

  protected override createFlow(request: FlowRequest<NativeEndpoint, MeterId>): NativeFlow | undefined {
    const isAdded = this.#addon.addFlow(this.#handle(), flowCommand(request)) === 1
    return isAdded ? { from: request.from, to: request.target?.endpoint } : undefined
  }

  protected override aimFlow(id: FlowId, _flow: NativeFlow, target: Target<NativeEndpoint>): void {
    this.#addon.aimFlow(this.#handle(), id, aimCommand(target))
  }

  protected override pauseFlow(id: FlowId, _flow: NativeFlow, paused: boolean): void {
    this.#addon.pauseFlow(this.#handle(), id, paused ? 1 : 0)
  }

  protected override deleteFlow(id: FlowId): void {
    this.#addon.removeFlow(this.#handle(), id)
  }

  protected override createMeter(id: MeterId, options: MeterOptions): MeterId {
    const { bytesPerSecond = -1, packetsPerSecond = -1, burstSeconds = defaultBurstSeconds } = options
    this.#addon.addMeter(this.#handle(), id, bytesPerSecond, packetsPerSecond, burstSeconds)
    return id
  }

  protected override deleteMeter(id: MeterId): void {
    this.#addon.removeMeter(this.#handle(), id)
  }

  protected override chargeMeter(meter: MeterId, bytes: number): boolean {
    return this.#addon.charge(this.#handle(), meter, bytes) === 1
  }

  protected override sendDatagram(
    endpoint: NativeEndpoint,
    remote: Remote,
    bytes: Uint8Array,
    options: SendOptions,
  ): boolean {
    if (this.#outbox.add(endpoint.id, remote, bytes, options)) return true
    this.countUnsendable()
    return false
  }

  protected override countUnsendable(): void {
    this.#unsendable++
  }

  protected override readFlows(flows: readonly FlowId[], into: Float64Array): void {
    if (this.#engine === undefined) into.fill(0, 0, COUNTER_STRIDE * flows.length)
    else this.#addon.readCounters(this.#engine, Float64Array.from(flows), into)
  }

  protected override packetTotals(): Omit<DatapathTotals, 'endpoints' | 'flows'> {
    this.#readTotals()
    const numbers = this.#totals
    const dropsAt = 4
    const sizesAt = dropsAt + DROP_REASONS.length
    const dropped = Object.fromEntries(
      DROP_REASONS.map((reason, index) => [reason, numbers[dropsAt + index] ?? 0]),
    ) as Record<DropReason, number>
    dropped.error += this.#unsendable
    const batchSizes = (index: number): BatchSizes => {
      const [...counts] = numbers.subarray(sizesAt + sizeNumbers * index, sizesAt + sizeNumbers * (index + 1))
      return { sum: counts.pop() ?? 0, counts }
    }
    return {
      forwarded: { packets: numbers[0] ?? 0, bytes: numbers[1] ?? 0 },
      delivered: { ...this.#delivered },
      sent: { packets: numbers[2] ?? 0, bytes: numbers[3] ?? 0 },
      dropped,
      threads: this.#threadCount,
      busySeconds: this.#busyNs().reduce((sum, ns) => sum + ns, 0) / 1e9,
      batches: { received: batchSizes(0), sent: batchSizes(1), segments: batchSizes(2) },
    }
  }

  /** Kept after the engine is closed. */
  #readTotals(): void {
    if (this.#engine !== undefined) this.#threadCount = this.#addon.readTotals(this.#engine, this.#totals)
  }

  /** How long each thread has worked. */
  #busyNs(): number[] {
    return [...this.#totals.subarray(totalNumbers, totalNumbers + this.#threadCount)]
  }

  #watchLoad(engine: EngineHandle, growth: ThreadGrowth): void {
    const { clock } = this.options
    this.#growthTimer = clock.after(growthPollMs, () => {
      this.#readTotals()
      // One that the system does not give is asked for again.
      if (growth.wantsMore(this.#busyNs(), clock.nowMs())) this.#addon.addThread(engine)
      this.#watchLoad(engine, growth)
    })
  }

  /** Hands over what has arrived, some at a time so that the event loop turns. */
  #take(): void {
    for (let takes = 0; takes < takesPerTurn; takes++) {
      if (this.#engine === undefined) return
      const length = this.#addon.take(this.#engine, this.#records)
      if (length === 0) this.#checkDeath(this.#engine)
      try {
        this.#hand(Math.abs(length))
        this.#outbox.flush()
      } catch (error) {
        // Not from here: the addon calls again only when all was taken.
        throwLater(error)
      }
      if (length >= 0) return
    }
    setImmediate(() => this.#take())
  }

  #hand(length: number): void {
    const arrival = this.#arrival
    arrival.rewind(length)
    while (arrival.next()) {
      // Closed since it arrived.
      const endpoint = this.endpoints.get(arrival.endpoint)
      if (endpoint === undefined) continue
      this.#delivered.packets++
      this.#delivered.bytes += arrival.bytes.length
      try {
        endpoint.receiver(arrival)
      } catch (error) {
        this.options.onReceiverError(error)
      }
    }
  }

  #checkDeath(engine: EngineHandle): void {
    const failure = this.#isDead ? undefined : this.#addon.failure(engine)
    if (failure === undefined) return
    this.#isDead = true
    this.#onDeath(
      new DatapathError('DATAPATH_ENGINE_DIED', `a thread of the native engine has ended: ${failure}`),
    )
  }

  #handle(): EngineHandle {
    if (this.#engine === undefined) {
      throw new DatapathError('DATAPATH_NOT_RUNNING', 'the datapath is not running')
    }
    return this.#engine
  }
}

function numbersOf({ packetsPerSecond, burst }: PacketBudget): [number, number] {
  return [packetsPerSecond, burst]
}

/** An exception that nobody catches: the process cannot go on like this, and whoever runs it starts it again. */
function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error
  })
}
