import type { FleetShape } from './fleet-shape.ts'
import type { MemoryCosts } from './fill.ts'
import type { Measured } from './measured.ts'
import { type Holdings, holdingsOf, type Rate } from './rates.ts'

/** What a rate costs. */
export interface Cost {
  readonly rate: Rate
  /** Parts of one core of Redis. */
  readonly cores: number
  /** Bytes per second to Redis and from it, without TCP. */
  readonly inPerSecond: number
  readonly outPerSecond: number
}

export interface FleetCost {
  readonly costs: readonly Cost[]
  readonly commandsPerSecond: number
  /** Of all servers together. */
  readonly cores: number
  /** Of the server that has most to do. */
  readonly busiestCores: number
  readonly inPerSecond: number
  readonly outPerSecond: number
  readonly busiestOutPerSecond: number
  readonly memoryBytes: number
  readonly busiestMemoryBytes: number
}

export function costOf(
  rate: Rate,
  measured: Pick<Measured, 'commands' | 'writeUs' | 'deliveryUs' | 'mixFactor'>,
): Cost {
  const { cpuUs, requestBytes, replyBytes } = measured.commands[rate.command]
  const { scale = 1, deliveries = 0, perSecond, together } = rate
  const us =
    measured.mixFactor * (cpuUs * scale + measured.writeUs / together + deliveries * measured.deliveryUs)
  return {
    rate,
    cores: (perSecond * us) / 1e6,
    inPerSecond: perSecond * requestBytes,
    outPerSecond: perSecond * (replyBytes * scale + deliveries * requestBytes),
  }
}

export function fleetCost(shape: FleetShape, rates: readonly Rate[], measured: Measured): FleetCost {
  const costs = rates.map((rate) => costOf(rate, measured))
  const { redisNodes } = shape
  // What is one key, or a channel, is at one server; all else is spread.
  const atBusiest = (of: (cost: Cost) => number): number =>
    sum(costs, (cost) => of(cost) / (cost.rate.isHot === true ? 1 : redisNodes))
  const memoryBytes = sum(memoryRows(shape, measured.memory), ({ bytes }) => bytes)
  return {
    costs,
    commandsPerSecond: sum(costs, ({ rate }) => rate.perSecond),
    cores: sum(costs, ({ cores }) => cores),
    busiestCores: atBusiest(({ cores }) => cores),
    inPerSecond: sum(costs, ({ inPerSecond }) => inPerSecond),
    outPerSecond: sum(costs, ({ outPerSecond }) => outPerSecond),
    busiestOutPerSecond: atBusiest(({ outPerSecond }) => outPerSecond),
    memoryBytes,
    busiestMemoryBytes: memoryBytes / redisNodes,
  }
}

export interface MemoryRow {
  readonly what: string
  readonly count: number
  readonly bytesEach: number
  readonly bytes: number
}

export function memoryRows(shape: FleetShape, memory: MemoryCosts): readonly MemoryRow[] {
  const held = holdingsOf(shape)
  const row = (what: string, count: number, bytesEach: number): MemoryRow => ({
    what,
    count,
    bytesEach,
    bytes: count * bytesEach,
  })
  return [
    row('origins', shape.origins, memory.origin),
    row('streams, published and played', held.streams, memory.stream),
    row('further gateways that play one', Math.max(0, held.uses - 2 * held.streams), useBytes(held, memory)),
    row('sessions', held.webrtcSessions, memory.session),
    row('sessions by token', held.webrtcSessions, memory.token),
    row('sessions by stream', held.webrtcSessions > 0 ? held.streams : 0, memory.rtc),
    row('gateways', shape.gateways, memory.gateway),
  ]
}

function useBytes({ usesPerStream }: Holdings, memory: MemoryCosts): number {
  return usesPerStream > 40 ? memory.useOfMany : memory.use
}

export function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0)
}
