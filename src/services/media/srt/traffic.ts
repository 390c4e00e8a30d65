import { COUNTER_STRIDE, type FlowId } from '../../../mechanisms/datapath/index.ts'

/** Packets and bytes of UDP payload. */
export interface Traffic {
  packets: number
  bytes: number
}

/** A flow of the datapath, and how far it has been counted. */
export interface CountedFlow {
  readonly flow: FlowId
  packets: number
  bytes: number
}

export function counted(flow: FlowId): CountedFlow {
  return { flow, packets: 0, bytes: 0 }
}

/** Adds a packet that TypeScript has passed on. */
export function addPacket(bytes: number, ...traffic: readonly Traffic[]): void {
  for (const sum of traffic) {
    sum.packets++
    sum.bytes += bytes
  }
}

/** Adds what the `index`th flow in `counters` has moved since it was added last. True when it has. */
export function addMoved(
  flow: CountedFlow,
  counters: Float64Array,
  index: number,
  ...traffic: readonly Traffic[]
): boolean {
  const packets = (counters[index * COUNTER_STRIDE] ?? 0) - flow.packets
  const bytes = (counters[index * COUNTER_STRIDE + 1] ?? 0) - flow.bytes
  // A flow that went down with its endpoint reads as zero.
  if (packets <= 0) return false
  flow.packets += packets
  flow.bytes += bytes
  for (const sum of traffic) {
    sum.packets += packets
    sum.bytes += bytes
  }
  return true
}
