import type { Clock } from '../../../foundation/clock.ts'
import {
  type Arrival,
  type DatapathTotals,
  type DropReason,
  type EndpointId,
  type FlowId,
  type Remote,
  STRANGER,
} from '../contract.ts'
import { type DatagramSocket, isIcmpError, type SendDone } from './datagram-socket.ts'
import { familyOf } from '../control/ip-address.ts'
import type { Meter } from './meter.ts'
import type { EndpointListener, NodeEndpoint } from './node-endpoint.ts'
import type { EngineOptions } from '../control/engine-options.ts'
import { readSendIndication } from './indications.ts'
import type { FlowSent, NodeFlow, NodeTarget } from './node-flow.ts'
import { bucketOf, type TokenBucket } from './token-bucket.ts'

/**
 * What `engine-node` does with each datagram: finds its flow and sends it on, or hands it to TypeScript within the budgets,
 * and counts. When the system begins to refuse a flow's datagrams, up to fifteen of them are counted as forwarded before it
 * is noticed.
 */
export class NodePacketPath implements EndpointListener<NodeFlow> {
  readonly #clock: Clock
  readonly #onReceiverError: (error: unknown) => void
  readonly #strangers: TokenBucket
  readonly #known: TokenBucket
  readonly #arrival = new ReusedArrival()
  readonly #forwarded = { packets: 0, bytes: 0 }
  readonly #delivered = { packets: 0, bytes: 0 }
  readonly #sent = { packets: 0, bytes: 0 }
  readonly #dropped: Record<DropReason, number> = {
    stranger: 0,
    known: 0,
    meter: 0,
    paused: 0,
    queue: 0,
    error: 0,
    malformed: 0,
  }

  constructor(options: Required<EngineOptions>) {
    this.#clock = options.clock
    this.#onReceiverError = options.onReceiverError
    const nowMs = options.clock.nowMs()
    this.#strangers = bucketOf(options.strangers, nowMs)
    this.#known = bucketOf(options.known, nowMs)
  }

  totals(): Pick<DatapathTotals, 'forwarded' | 'delivered' | 'sent' | 'dropped'> {
    return {
      forwarded: { ...this.#forwarded },
      delivered: { ...this.#delivered },
      sent: { ...this.#sent },
      dropped: { ...this.#dropped },
    }
  }

  /** Sends one datagram of TypeScript's; false when it was dropped. */
  send(endpoint: NodeEndpoint<NodeFlow>, remote: Remote, bytes: Uint8Array, local?: number): boolean {
    const socket = endpoint.socketFor(familyOf(remote.address), local)
    if (socket === undefined) {
      this.countUnsendable()
      return false
    }
    // The system may keep the bytes until the socket can be written to.
    if (socket.send(Buffer.from(bytes), remote.port, remote.address, this.#onSent)) return true
    this.#dropped.queue++
    return false
  }

  countUnsendable(): void {
    this.#dropped.error++
  }

  onDatagram(
    endpoint: NodeEndpoint<NodeFlow>,
    socket: DatagramSocket,
    bytes: Uint8Array,
    from: Remote,
  ): void {
    if (!socket.isOpen) return
    const nowMs = this.#clock.nowMs()
    const flow = endpoint.flowsAt(socket.local).find(from.address, from.port, bytes)
    if (flow === undefined) {
      this.#onUnclaimed(endpoint, socket, bytes, from, nowMs)
      return
    }
    flow.lastSeenMs = nowMs
    if (flow.isPaused) {
      this.#drop(flow, 'paused')
    } else if (flow.meters.length > 0 && !spend(flow.meters, bytes.length, nowMs)) {
      this.#drop(flow, 'meter')
    } else if (flow.target === undefined) {
      if (this.#deliver(endpoint, socket, flow.id, 'data', bytes, from, nowMs)) {
        flow.packets++
        flow.bytes += bytes.length
      } else {
        flow.drops++
      }
    } else if (flow.kind === 'turn-channel') {
      this.#onChannel(flow, flow.target, bytes)
    } else if (flow.kind === 'turn-indication') {
      this.#onIndication(flow, flow.target, bytes)
    } else {
      this.#forward(flow, flow.target, bytes, bytes.length, 0)
      if (flow.copiesStunRequests && bytes[0] === 0 && bytes[1] === 1) {
        this.#deliver(endpoint, socket, flow.id, 'data', bytes, from, nowMs)
      }
    }
  }

  onSocketError(endpoint: NodeEndpoint<NodeFlow>, socket: DatagramSocket, error: Error): void {
    if (!socket.isOpen) return
    const { remote } = endpoint
    if (remote === undefined || !isIcmpError(error)) {
      this.#dropped.error++
      return
    }
    const flow = endpoint.flowsAt(socket.local).plain(remote.address, remote.port)?.id ?? STRANGER
    this.#deliver(endpoint, socket, flow, 'icmp', noBytes, remote, this.#clock.nowMs())
  }

  #onUnclaimed(
    endpoint: NodeEndpoint<NodeFlow>,
    socket: DatagramSocket,
    bytes: Uint8Array,
    from: Remote,
    nowMs: number,
  ): void {
    const { remote } = endpoint
    const isForeign = remote !== undefined && (from.port !== remote.port || from.address !== remote.address)
    if (!isForeign && endpoint.isDeliver) {
      this.#deliver(endpoint, socket, STRANGER, 'data', bytes, from, nowMs)
    } else if (!isForeign && endpoint.strangers.has(1, nowMs) && this.#strangers.take(1, nowMs)) {
      endpoint.strangers.spend(1)
      this.#hand(endpoint, socket, STRANGER, 'data', bytes, from)
    } else {
      this.#dropped.stranger++
    }
  }

  /**
   * Learning whether one send worked costs a callback in a later tick, a tenth of the whole. A socket that is
   * not connected is refused for reasons that last (no route, a firewall), so only some sends are asked.
   */
  #forward(
    flow: NodeFlow,
    target: NodeTarget,
    bytes: Uint8Array | readonly Uint8Array[],
    length: number,
    framing: number,
  ): void {
    let socket = target.socket
    if (socket === undefined || !socket.isOpen) {
      socket = target.endpoint.socketFor(target.family, target.local)
      target.socket = socket
    }
    if (socket === undefined) {
      this.#drop(flow, 'error')
      return
    }
    const isChecked = socket.isConnected || target.sendsUntilCheck <= 0 || length > uncheckedMaxBytes
    if (!socket.send(bytes, target.port, target.address, isChecked ? flow.sent(framing) : undefined)) {
      this.#drop(flow, 'queue')
    } else if (!isChecked) {
      target.sendsUntilCheck--
      this.#countForwarded(flow, length, framing)
    }
  }

  /** Adds or strips the header of ChannelData, RFC 8656 §12.4. */
  #onChannel(flow: NodeFlow, target: NodeTarget, bytes: Uint8Array): void {
    if (flow.source.channel === undefined) {
      const header = Buffer.allocUnsafe(channelHeaderBytes)
      header.writeUInt16BE(flow.channel, 0)
      header.writeUInt16BE(bytes.length, 2)
      this.#forward(flow, target, [header, bytes], channelHeaderBytes + bytes.length, channelHeaderBytes)
      return
    }
    const length = ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0)
    if (channelHeaderBytes + length > bytes.length) this.#drop(flow, 'malformed')
    else this.#strip(flow, target, bytes, bytes.subarray(channelHeaderBytes, channelHeaderBytes + length))
  }

  /** Makes Data indications, or takes the data out of Send indications, RFC 8656 §11. */
  #onIndication(flow: NodeFlow, target: NodeTarget, bytes: Uint8Array): void {
    if (flow.dataHeader !== undefined) {
      const header = flow.dataHeader.next(bytes.length)
      if (header === undefined) return this.#drop(flow, 'error')
      const padding = zeros[-bytes.length & 3] as Uint8Array
      const framing = header.length + padding.length
      this.#forward(flow, target, [header, bytes, padding], bytes.length + framing, framing)
      return
    }
    const indication = readSendIndication(bytes)
    // The flow was found by it, so that there is none is not to be.
    if (indication === undefined) this.#drop(flow, 'malformed')
    else this.#strip(flow, target, bytes, indication.data)
  }

  #strip(flow: NodeFlow, target: NodeTarget, bytes: Uint8Array, data: Uint8Array): void {
    this.#forward(flow, target, data, data.length, bytes.length - data.length)
  }

  /** Hands over what a known peer sent, within the budget of the known. */
  #deliver(
    endpoint: NodeEndpoint<NodeFlow>,
    socket: DatagramSocket,
    flow: FlowId,
    kind: Arrival['kind'],
    bytes: Uint8Array,
    from: Remote,
    nowMs: number,
  ): boolean {
    if (!endpoint.known.has(1, nowMs) || !this.#known.take(1, nowMs)) {
      this.#dropped.known++
      return false
    }
    endpoint.known.spend(1)
    this.#hand(endpoint, socket, flow, kind, bytes, from)
    return true
  }

  #hand(
    endpoint: NodeEndpoint<NodeFlow>,
    socket: DatagramSocket,
    flow: FlowId,
    kind: Arrival['kind'],
    bytes: Uint8Array,
    from: Remote,
  ): void {
    this.#delivered.packets++
    this.#delivered.bytes += bytes.length
    const arrival = this.#arrival
    arrival.endpoint = endpoint.id
    arrival.flow = flow
    arrival.local = socket.local
    arrival.kind = kind
    arrival.bytes = bytes
    arrival.address = from.address
    arrival.port = from.port
    try {
      endpoint.receiver(arrival)
    } catch (error) {
      this.#onReceiverError(error)
    }
  }

  /** Told how a send of a flow ended. */
  readonly onForwarded: FlowSent = (flow, error, bytes, framing) => {
    if (flow.target !== undefined) flow.target.sendsUntilCheck = error === null ? checkEvery - 1 : 0
    if (error === null) this.#countForwarded(flow, bytes, framing)
    else this.#drop(flow, 'error')
  }

  #countForwarded(flow: NodeFlow, bytes: number, framing: number): void {
    flow.packets++
    flow.bytes += bytes
    flow.framing += framing
    this.#forwarded.packets++
    this.#forwarded.bytes += bytes
  }

  readonly #onSent: SendDone = (error, bytes) => {
    if (error !== null) {
      this.#dropped.error++
      return
    }
    this.#sent.packets++
    this.#sent.bytes += bytes
  }

  #drop(flow: NodeFlow, reason: DropReason): void {
    flow.drops++
    this.#dropped[reason]++
  }
}

const channelHeaderBytes = 4
/** One send in so many is asked whether it worked, and each one after a failure. */
const checkEvery = 16
/** Larger datagrams may be refused for their size. */
const uncheckedMaxBytes = 16_384
const noBytes = new Uint8Array(0)
/** By their number. */
const zeros = [0, 1, 2, 3].map((length) => new Uint8Array(length))

/** One object for all arrivals: receivers may not keep it. */
class ReusedArrival implements Arrival {
  endpoint = 0 as EndpointId
  flow = STRANGER
  local = 0
  kind: Arrival['kind'] = 'data'
  readonly icmp = undefined
  bytes: Uint8Array = noBytes
  address = ''
  port = 0
}

function spend(meters: readonly Meter[], bytes: number, nowMs: number): boolean {
  for (const meter of meters) if (!meter.has(bytes, nowMs)) return false
  for (const meter of meters) meter.spend(bytes)
  return true
}
