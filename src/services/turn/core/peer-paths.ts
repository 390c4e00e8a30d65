import type { ChannelInfo, PermissionInfo } from '../events.ts'
import type { Notify } from './notify.ts'
import { addressText } from './address-text.ts'
import {
  COUNTER_STRIDE,
  type Datapath,
  type FlowId,
  type MeterId,
} from '../../../mechanisms/datapath/index.ts'
import type { TransportAddress } from '../../../protocols/stun/index.ts'
import type { Allocation, Channel, PeerPath, Permission, Relay, Traffic } from './allocation.ts'
import type { Allocations } from './allocations.ts'
import type { PeerGate } from './peer-gate.ts'
import { SmallMap } from '../../../foundation/small-map.ts'
import type { RelayPool } from './relay-pool.ts'

export interface PeerPathsOptions {
  readonly datapath: Datapath
  readonly allocations: Allocations
  readonly relays: RelayPool
  readonly gate: PeerGate
  readonly notify: Notify
}

/** Makes and ends the paths between allocations and peers, and the flows of the engine that carry them. */
export class PeerPaths {
  readonly #datapath: Datapath
  readonly #allocations: Allocations
  readonly #relays: RelayPool
  readonly #gate: PeerGate
  readonly #notify: Notify
  readonly #counters = new Float64Array(2 * COUNTER_STRIDE)

  constructor({ datapath, allocations, relays, gate, notify }: PeerPathsOptions) {
    this.#notify = notify
    this.#datapath = datapath
    this.#allocations = allocations
    this.#relays = relays
    this.#gate = gate
  }

  /** The path to a peer, as the client names it; undefined when it may not be reached. */
  to(allocation: Allocation, permission: Permission, peer: TransportAddress): PeerPath | undefined {
    const known = permission.paths.get(peer.port)
    if (known !== undefined) return known
    const path = this.#open(allocation, permission, peer)
    if (path === undefined) return undefined
    this.#keepLoose(path)
    this.#addFlows(path)
    return path
  }

  /** Hands over what the client sends outside of the flows to its peers, apart from strangers' datagrams. */
  attachClient(allocation: Allocation): void {
    const { client, meters } = allocation
    if (client.datagram === undefined) return
    allocation.clientFlow = this.#datapath.addFlow({
      kind: 'deliver',
      from: { ...client.datagram, remote: client },
      meters: meters.ids,
    })
    this.#allocations.ownFlow(allocation.clientFlow, allocation)
  }

  detachClient(allocation: Allocation): void {
    if (allocation.clientFlow === undefined) return
    allocation.dropped += this.readClientDrops(allocation)
    this.#allocations.disownFlow(allocation.clientFlow)
    this.#datapath.removeFlow(allocation.clientFlow)
    allocation.clientFlow = undefined
  }

  /**
   * Binds or renews the channel of the path to a peer, which is made if need be. False when the peer may not be reached. The
   * number must be free, and the peer without another one that has not expired.
   */
  bindChannel(
    allocation: Allocation,
    permission: Permission,
    peer: TransportAddress,
    channel: Channel,
  ): boolean {
    const path = permission.paths.get(peer.port) ?? this.#open(allocation, permission, peer)
    if (path === undefined) return false
    if (path.channel?.number === channel.number) {
      path.channel.expiresAtMs = channel.expiresAtMs
      return true
    }
    this.#removeFlows(path)
    dropLoose(path)
    this.#forgetChannel(path)
    path.channel = channel
    allocation.channels ??= new SmallMap()
    allocation.channels.set(channel.number, path)
    this.#addFlows(path)
    this.#notify('channelCreated', (events) => events.channelCreated?.(channelInfo(path, channel)))
    return true
  }

  /** The path goes on as long as the permission does, without the channel. */
  unbindChannel(path: PeerPath): void {
    if (path.channel === undefined) return
    this.#removeFlows(path)
    this.#forgetChannel(path)
    this.#keepLoose(path)
    this.#addFlows(path)
  }

  /** A channel without a permission carries nothing (RFC 8656 §12). */
  setPaused(path: PeerPath, isPaused: boolean): void {
    if (path.isPaused === isPaused) return
    path.isPaused = isPaused
    for (const flow of [path.toPeer, path.fromPeer])
      if (flow !== undefined) this.#datapath.pause(flow, isPaused)
  }

  end(path: PeerPath): void {
    const { allocation, permission, peer } = path
    this.#removeFlows(path)
    this.#forgetChannel(path)
    permission.paths.delete(peer.port)
    dropLoose(path)
    path.peerRelay?.incoming?.delete(path)
    add(allocation.sent, path.sent)
    add(allocation.received, path.received)
  }

  endPermission(allocation: Allocation, permission: Permission): void {
    for (const path of [...permission.paths.values()]) this.end(path)
    allocation.permissions.delete(permission.address)
    this.#notify('permissionDeleted', (events) =>
      events.permissionDeleted?.(permissionInfo(allocation, permission.address)),
    )
  }

  /** The client is met elsewhere from now on: all its flows are made anew. */
  moveClient(allocation: Allocation, move: () => void): void {
    const paths = [...allocation.permissions.values()].flatMap(({ paths: of }) => [...of.values()])
    for (const path of paths) this.#removeFlows(path)
    this.detachClient(allocation)
    move()
    this.attachClient(allocation)
    for (const path of paths) this.#addFlows(path)
  }

  /** What has gone through a path so far, its flows included. */
  readTraffic(path: PeerPath): {
    readonly sent: Traffic
    readonly received: Traffic
    readonly dropped: number
  } {
    const { sent, received, dropped } = this.#readFlows(path)
    add(sent, path.sent)
    add(received, path.received)
    return { sent, received, dropped }
  }

  /** What limits have dropped of what the client sent outside of the flows to its peers. */
  readClientDrops(allocation: Allocation): number {
    // Without meters there is nothing that drops.
    if (allocation.clientFlow === undefined || allocation.meters.ids.length === 0) return 0
    return this.#readDrops(allocation.clientFlow)
  }

  /** Adds what flows that exist have carried between a client and its listener, as whole messages. */
  addFlowTraffic({ channels, loosePaths }: Allocation, rx: Traffic, tx: Traffic): void {
    for (const paths of [channels?.values(), loosePaths?.keys()]) {
      for (const path of paths ?? []) {
        if (path.toPeer === undefined) continue
        const carried = this.#readFlows(path)
        add(rx, carried.rx)
        add(tx, carried.tx)
      }
    }
  }

  #forgetChannel(path: PeerPath): void {
    const { channel } = path
    if (channel === undefined) return
    path.allocation.channels?.delete(channel.number)
    path.channel = undefined
    this.#notify('channelDeleted', (events) => events.channelDeleted?.(channelInfo(path, channel)))
  }

  /** A path without flows. */
  #open(allocation: Allocation, permission: Permission, peer: TransportAddress): PeerPath | undefined {
    const relay = relayTo(allocation, peer.address)
    if (relay?.endpoint === undefined || !this.#gate.admits(allocation.client.listener, peer, 'udp'))
      return undefined
    const peerRelay = this.#relays.isRelayAddress(peer.address) ? this.#relays.find(peer) : undefined
    if (peerRelay !== undefined && hasPathByOtherName(allocation, peer, peerRelay)) return undefined
    const named = { address: peer.address, port: peer.port }
    const path: PeerPath = {
      allocation,
      permission,
      relay,
      peer: named,
      target: peerRelay?.bound ?? named,
      peerRelay,
      channel: undefined,
      fromPeer: undefined,
      toPeer: undefined,
      isPaused: false,
      sent: { packets: 0, bytes: 0 },
      received: { packets: 0, bytes: 0 },
    }
    permission.paths.set(peer.port, path)
    if (peerRelay !== undefined) {
      peerRelay.incoming ??= new Set()
      peerRelay.incoming.add(path)
    }
    return path
  }

  /** The oldest make room: peers, and who sends in their name, have as many ports as they like. */
  #keepLoose(path: PeerPath): void {
    const { allocation } = path
    const excess = (allocation.loosePaths?.size ?? 0) + 1 - maxLoosePaths
    if (excess > 0)
      for (const oldest of allocation.loosePaths?.keys().slice(0, excess) ?? []) this.end(oldest)
    allocation.loosePaths ??= new SmallMap()
    allocation.loosePaths.set(path, true)
  }

  #addFlows(path: PeerPath): void {
    const { allocation, channel, relay, peer, target } = path
    const { client } = allocation
    const meters: readonly MeterId[] = allocation.meters.ids
    if (relay.endpoint === undefined) return
    const there = { endpoint: relay.endpoint, remote: target }
    if (client.datagram === undefined) {
      path.fromPeer = this.#datapath.addFlow({ kind: 'deliver', from: there, meters })
    } else {
      const here = { ...client.datagram, remote: client }
      const framing =
        channel === undefined
          ? ({ kind: 'turn-indication', peer } as const)
          : ({ kind: 'turn-channel', channel: channel.number } as const)
      path.fromPeer = this.#datapath.addFlow({ ...framing, header: 'add', from: there, to: here, meters })
      path.toPeer = this.#datapath.addFlow({ ...framing, header: 'strip', from: here, to: there, meters })
    }
    // What it delivers, and ICMP errors of what the engine has sent, come to us with this flow.
    this.#allocations.ownFlow(path.fromPeer, path)
    if (!path.isPaused) return
    path.isPaused = false
    this.setPaused(path, true)
  }

  #removeFlows(path: PeerPath): void {
    const flows = [path.toPeer, path.fromPeer].filter((flow) => flow !== undefined)
    if (flows.length === 0) return
    const { traffic } = path.allocation.client.listener
    const { sent, received, rx, tx, dropped } = this.#readFlows(path)
    path.allocation.dropped += dropped
    add(path.sent, sent)
    add(path.received, received)
    traffic.rxPackets += rx.packets
    traffic.rxBytes += rx.bytes
    traffic.txPackets += tx.packets
    traffic.txBytes += tx.bytes
    if (path.fromPeer !== undefined) this.#allocations.disownFlow(path.fromPeer)
    for (const flow of flows) this.#datapath.removeFlow(flow)
    path.toPeer = undefined
    path.fromPeer = undefined
  }

  /** What the engine's flows have carried; what one has delivered is counted where it was taken. */
  #readFlows({ toPeer, fromPeer }: PeerPath): FlowTraffic {
    if (fromPeer === undefined || toPeer === undefined) {
      const dropped = fromPeer === undefined ? 0 : this.#readDrops(fromPeer)
      return { sent: noTraffic(), received: noTraffic(), rx: noTraffic(), tx: noTraffic(), dropped }
    }
    this.#datapath.readCounters([toPeer, fromPeer], this.#counters)
    const [to, from] = [this.#counted(0), this.#counted(COUNTER_STRIDE)]
    // A flow counts the bytes that it sends: to the peer without what it has taken off, to the client with what it has added.
    return {
      sent: { packets: to.packets, bytes: to.bytes },
      received: { packets: from.packets, bytes: from.bytes - from.framing },
      rx: { packets: to.packets, bytes: to.bytes + to.framing },
      tx: { packets: from.packets, bytes: from.bytes },
      dropped: to.drops + from.drops,
    }
  }

  #counted(at: number): { packets: number; bytes: number; drops: number; framing: number } {
    const [packets = 0, bytes = 0, drops = 0, , framing = 0] = this.#counters.subarray(at)
    return { packets, bytes, drops, framing }
  }

  #readDrops(flow: FlowId): number {
    this.#datapath.readCounters([flow], this.#counters)
    return this.#counters[2] as number
  }
}

/** A permission as events tell of it. */
export function permissionInfo({ id, quota }: Allocation, peerAddress: string): PermissionInfo {
  return { allocationId: id, userId: quota.userId, peerAddress }
}

function channelInfo({ allocation, peer }: PeerPath, { number }: Channel): ChannelInfo {
  const { id, quota } = allocation
  return { allocationId: id, userId: quota.userId, number, peer: addressText(peer) }
}

function dropLoose(path: PeerPath): void {
  const { allocation } = path
  allocation.loosePaths?.delete(path)
  if (allocation.loosePaths?.size === 0) allocation.loosePaths = undefined
}

/** Paths without a channel that an allocation keeps; each costs two flows, and what has none is made again when needed. */
const maxLoosePaths = 256

/** The relayed address of the peer's family. None reaches an IPv4-mapped IPv6 address: to sockets that is an IPv4 host. */
export function relayTo(allocation: Allocation, address: string): Relay | undefined {
  if (ipv4Mapped.test(address)) return undefined
  const family = address.includes(':') ? 6 : 4
  return allocation.relays.find((relay) => relay.family === family)
}

/** As `ipToText` writes ::ffff:0:0/96. */
const ipv4Mapped = /^::ffff:[0-9a-f]+:[0-9a-f]+$/

/** A relay of ours may be named by where it is bound and by what is advertised of it; the engine knows one flow from there. */
function hasPathByOtherName(
  { permissions }: Allocation,
  { address }: TransportAddress,
  { bound, relayed }: Relay,
): boolean {
  const other = address === relayed.address ? bound : relayed
  return other.address !== address && permissions.get(other.address)?.paths.has(other.port) === true
}

function add(to: Traffic, more: Traffic): void {
  to.packets += more.packets
  to.bytes += more.bytes
}

function noTraffic(): Traffic {
  return { packets: 0, bytes: 0 }
}

/** What flows have carried: between client and peer as payload, between client and listener as whole messages. */
interface FlowTraffic {
  readonly sent: Traffic
  readonly received: Traffic
  readonly rx: Traffic
  readonly tx: Traffic
  readonly dropped: number
}
