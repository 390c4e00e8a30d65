import type { Clock } from '../../../foundation/clock.ts'
import type { Arrival, Datapath } from '../../../mechanisms/datapath/index.ts'
import { decodeXorAddress, isComprehensionRequired, StunAttribute } from '../../../protocols/stun/index.ts'
import type { TransportAddress } from '../../../protocols/stun/index.ts'
import { channelHeaderBytes, encodeChannelData } from '../../../protocols/turn/index.ts'
import type { Allocation, PeerPath } from './allocation.ts'
import type { Allocations } from './allocations.ts'
import { DataIndications } from './data-indications.ts'
import type { PeerPaths } from './peer-paths.ts'
import { sendTo } from './send-to.ts'
import type { RelayPool } from './relay-pool.ts'

export interface DataPlaneOptions {
  readonly datapath: Datapath
  readonly clock: Clock
  readonly allocations: Allocations
  readonly relays: RelayPool
  readonly paths: PeerPaths
  readonly random: (bytes: number) => Uint8Array
}

/** Why data was not passed on; the labels of a metric. */
export const DATA_DROP_REASONS = [
  'no-allocation',
  'no-permission',
  'no-channel',
  'malformed',
  'limit',
  'queue',
] as const
export type DataDropReason = (typeof DATA_DROP_REASONS)[number]

/**
 * What no flow of the engine carries: the first packet of each peer, indications that ask for more than to pass data on, and
 * all data of clients that come over a stream (RFC 8656 §11, §12; reference: data paths). Whatever fails a check is dropped in
 * silence and counted.
 */
export class DataPlane {
  readonly dropped: Record<DataDropReason, number> = {
    'no-allocation': 0,
    'no-permission': 0,
    'no-channel': 0,
    malformed: 0,
    limit: 0,
    queue: 0,
  }
  readonly #datapath: Datapath
  readonly #clock: Clock
  readonly #allocations: Allocations
  readonly #relays: RelayPool
  readonly #paths: PeerPaths
  readonly #indications: DataIndications

  constructor({ datapath, clock, allocations, relays, paths, random }: DataPlaneOptions) {
    this.#datapath = datapath
    this.#clock = clock
    this.#allocations = allocations
    this.#relays = relays
    this.#paths = paths
    this.#indications = new DataIndications(random(12))
  }

  /** A Send indication whose header has been checked. */
  onSend(allocation: Allocation, message: Uint8Array): void {
    let peer: TransportAddress | undefined
    let data: Uint8Array | undefined
    let dontFragment = false
    const end = message.length
    for (let at = 20; at + 4 <= end; ) {
      const type = u16(message, at)
      const from = at + 4
      const to = from + u16(message, at + 2)
      if (to > end) return this.#drop('malformed')
      if (type === StunAttribute.xorPeerAddress) {
        peer ??= decodeXorAddress(message.subarray(from, to), message.subarray(8, 20))
      } else if (type === StunAttribute.data) data ??= message.subarray(from, to)
      else if (type === StunAttribute.dontFragment) dontFragment = true
      else if (type === StunAttribute.messageIntegrity || type === StunAttribute.messageIntegritySha256) break
      else if (isComprehensionRequired(type)) return this.#drop('malformed')
      at = from + ((to - from + 3) & ~3)
    }
    if (peer === undefined || data === undefined) return this.#drop('malformed')
    if (dontFragment && !this.#datapath.features.has('dont-fragment')) return this.#drop('malformed')
    const permission = allocation.permissions.get(peer.address)
    if (permission === undefined || permission.expiresAtMs <= this.#clock.nowMs()) {
      return this.#drop('no-permission')
    }
    const path = permission.paths.get(peer.port) ?? this.#paths.to(allocation, permission, peer)
    if (path === undefined) return this.#drop('no-permission')
    this.#toPeer(path, data, dontFragment)
  }

  /** ChannelData that came to us: its header, its payload and whatever follows. */
  onChannelData(allocation: Allocation, message: Uint8Array): void {
    if (message.length < channelHeaderBytes) return this.#drop('malformed')
    const length = u16(message, 2)
    if (message.length < channelHeaderBytes + length) return this.#drop('malformed')
    const path = allocation.channels?.get(u16(message, 0))
    if (path?.channel === undefined || path.channel.expiresAtMs <= this.#clock.nowMs()) {
      return this.#drop('no-channel')
    }
    this.#toPeer(path, message.subarray(channelHeaderBytes, channelHeaderBytes + length), false)
  }

  /** What came to a relayed address: data, or an ICMP error. */
  onArrival(arrival: Arrival): void {
    const owner = this.#allocations.ofFlow(arrival.flow)
    const path = owner !== undefined && 'peer' in owner ? owner : this.#pathOf(arrival)
    if (path === undefined) return this.#drop('no-permission')
    if (path.permission.expiresAtMs <= this.#clock.nowMs()) return this.#drop('no-permission')
    if (arrival.kind === 'icmp') this.#onIcmp(path, arrival)
    else this.#toClient(path, arrival.bytes)
  }

  #onIcmp({ allocation, peer, relay }: PeerPath, { icmp }: Arrival): void {
    if (icmp === undefined || !reportedTypes[relay.family].has(icmp.type)) return
    const { client } = allocation
    sendTo(client, this.#indications.icmp(peer, { type: icmp.type, code: icmp.code, data: icmp.mtu }))
  }

  #toClient(path: PeerPath, bytes: Uint8Array): void {
    const { client } = path.allocation
    const { channel } = path
    const message =
      channel !== undefined && channel.expiresAtMs > this.#clock.nowMs()
        ? encodeChannelData(channel.number, bytes, client.isStream)
        : this.#indications.data(path.peer, bytes)
    if (message === undefined || !sendTo(client, message)) {
      path.allocation.dropped++
      return this.#drop('queue')
    }
    path.received.packets++
    path.received.bytes += bytes.length
  }

  #toPeer(path: PeerPath, data: Uint8Array, dontFragment: boolean): void {
    const { allocation, relay, peerRelay, target } = path
    if (path.permission.expiresAtMs <= this.#clock.nowMs() || peerRelay?.isClosed === true) {
      return this.#drop('no-permission')
    }
    // What a client sends by UDP outside of channels the engine has charged already.
    if (allocation.clientFlow === undefined && !this.#charge(allocation, data.length)) {
      allocation.dropped++
      return this.#drop('limit')
    }
    if (relay.endpoint === undefined) return
    if (!this.#datapath.send(relay.endpoint, target, data, dontFragment ? dontFragmentOption : undefined)) {
      return this.#drop('queue')
    }
    path.sent.packets++
    path.sent.bytes += data.length
  }

  #charge({ meters }: Allocation, bytes: number): boolean {
    return meters.ids.every((meter) => this.#datapath.charge(meter, bytes))
  }

  /** The path of a peer that is heard for the first time, or that has more ports than get flows. */
  #pathOf({ endpoint, address, port }: Arrival): PeerPath | undefined {
    const allocation = this.#relays.ofEndpoint(endpoint)?.allocation
    if (allocation === undefined) return undefined
    // Another relay of ours is known to the client by what is advertised of it.
    const source = this.#relays.isRelayAddress(address) ? this.#relays.find({ address, port }) : undefined
    const peer = source?.relayed ?? { address, port }
    const permission = allocation.permissions.get(peer.address)
    return permission === undefined ? undefined : this.#paths.to(allocation, permission, peer)
  }

  #drop(reason: DataDropReason): void {
    this.dropped[reason]++
  }
}

/** ICMP types that clients are told of (RFC 8656 §11.5): unreachable and time exceeded; of ICMPv6 also packet too big. */
const reportedTypes = { 4: new Set([3, 11]), 6: new Set([1, 2, 3]) } as const

const dontFragmentOption = { dontFragment: true } as const

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}
