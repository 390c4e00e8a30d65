import {
  COUNTER_STRIDE,
  type Datapath,
  type FlowId,
  type MeterId,
} from '../../../mechanisms/datapath/index.ts'
import type { TransportAddress } from '../../../protocols/stun/index.ts'
import { channelHeaderBytes } from '../../../protocols/turn/index.ts'
import type { Allocation, Channel, PeerPath, Permission, Relay, Traffic } from './allocation.ts'
import type { Allocations } from './allocations.ts'
import type { PeerGate } from './peer-gate.ts'
import type { RelayPool } from './relay-pool.ts'

export interface PeerPathsOptions {
  readonly datapath: Datapath
  readonly allocations: Allocations
  readonly relays: RelayPool
  readonly gate: PeerGate
}

/** Makes and ends the paths between allocations and peers, and the flows of the engine that carry them. */
export class PeerPaths {
  readonly #datapath: Datapath
  readonly #allocations: Allocations
  readonly #relays: RelayPool
  readonly #gate: PeerGate
  readonly #counters = new Float64Array(2 * COUNTER_STRIDE)

  constructor({ datapath, allocations, relays, gate }: PeerPathsOptions) {
    this.#datapath = datapath
    this.#allocations = allocations
    this.#relays = relays
    this.#gate = gate
  }

  /** The path to a peer, as the client names it; undefined when it may not be reached, or has too many ports. */
  to(allocation: Allocation, permission: Permission, peer: TransportAddress): PeerPath | undefined {
    const path = permission.paths.get(peer.port)
    if (path !== undefined) return path
    return permission.paths.size < maxPaths ? this.#open(allocation, permission, peer) : undefined
  }

  /** Hands over what the client sends outside of channels apart from strangers' datagrams. */
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
    allocation.dropped += this.#readDrops(allocation.clientFlow)
    this.#allocations.disownFlow(allocation.clientFlow)
    this.#datapath.removeFlow(allocation.clientFlow)
    allocation.clientFlow = undefined
  }

  bindChannel(path: PeerPath, channel: Channel): void {
    this.#removeFlows(path)
    path.channel = channel
    path.allocation.channels ??= new Map()
    path.allocation.channels.set(channel.number, path)
    this.#addFlows(path)
  }

  /** The path goes on as long as the permission does, without the channel. */
  unbindChannel(path: PeerPath): void {
    if (path.channel === undefined) return
    this.#removeFlows(path)
    path.allocation.channels?.delete(path.channel.number)
    path.channel = undefined
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
    const { allocation, permission, channel, peer } = path
    this.#removeFlows(path)
    if (channel !== undefined) allocation.channels?.delete(channel.number)
    permission.paths.delete(peer.port)
    path.peerRelay?.incoming?.delete(path)
    add(allocation.sent, path.sent)
    add(allocation.received, path.received)
  }

  endPermission(allocation: Allocation, permission: Permission): void {
    for (const path of [...permission.paths.values()]) this.end(path)
    allocation.permissions.delete(permission.address)
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
    const sent = { ...path.sent }
    const received = { ...path.received }
    return { sent, received, dropped: this.#readFlows(path, sent, received) }
  }

  /** What limits have dropped of what the client sent outside of channels. */
  readClientDrops(allocation: Allocation): number {
    return allocation.clientFlow === undefined ? 0 : this.#readDrops(allocation.clientFlow)
  }

  /** Adds what flows that exist have carried between a client and its listener, ChannelData headers included. */
  addFlowTraffic(allocation: Allocation, rx: Traffic, tx: Traffic): void {
    for (const path of allocation.channels?.values() ?? []) {
      if (path.toPeer === undefined) continue
      const sent = { packets: 0, bytes: 0 }
      const received = { packets: 0, bytes: 0 }
      this.#readFlows(path, sent, received)
      addMessages(rx, sent)
      addMessages(tx, received)
    }
  }

  #open(allocation: Allocation, permission: Permission, peer: TransportAddress): PeerPath | undefined {
    const relay = relayTo(allocation, peer.address)
    if (relay?.endpoint === undefined || !this.#gate.admits(allocation.client.listener, peer, 'udp'))
      return undefined
    const peerRelay = this.#relays.isRelayAddress(peer.address) ? this.#relays.find(peer) : undefined
    const path: PeerPath = {
      allocation,
      permission,
      relay,
      peer: { address: peer.address, port: peer.port },
      target: peerRelay?.bound ?? { address: peer.address, port: peer.port },
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
    this.#addFlows(path)
    return path
  }

  #addFlows(path: PeerPath): void {
    const { allocation, channel, relay, target } = path
    const { client } = allocation
    const meters: readonly MeterId[] = allocation.meters.ids
    if (relay.endpoint === undefined) return
    const from = { endpoint: relay.endpoint, remote: target }
    if (channel === undefined || client.datagram === undefined) {
      path.fromPeer = this.#datapath.addFlow({ kind: 'deliver', from, meters })
      this.#allocations.ownFlow(path.fromPeer, path)
    } else {
      path.fromPeer = this.#datapath.addFlow({
        kind: 'turn-channel',
        header: 'add',
        channel: channel.number,
        from,
        to: { ...client.datagram, remote: client },
        meters,
      })
      path.toPeer = this.#datapath.addFlow({
        kind: 'turn-channel',
        header: 'strip',
        channel: channel.number,
        from: { ...client.datagram, remote: client },
        to: { endpoint: relay.endpoint, remote: target },
        meters,
      })
      // ICMP errors of what the engine has sent come to us with this flow.
      this.#allocations.ownFlow(path.fromPeer, path)
    }
    if (!path.isPaused) return
    path.isPaused = false
    this.setPaused(path, true)
  }

  #removeFlows(path: PeerPath): void {
    const flows = [path.toPeer, path.fromPeer].filter((flow) => flow !== undefined)
    if (flows.length === 0) return
    const { traffic } = path.allocation.client.listener
    const sent = { packets: 0, bytes: 0 }
    const received = { packets: 0, bytes: 0 }
    path.allocation.dropped += this.#readFlows(path, sent, received)
    add(path.sent, sent)
    add(path.received, received)
    traffic.rxPackets += sent.packets
    traffic.rxBytes += sent.bytes + channelHeaderBytes * sent.packets
    traffic.txPackets += received.packets
    traffic.txBytes += received.bytes + channelHeaderBytes * received.packets
    if (path.fromPeer !== undefined) this.#allocations.disownFlow(path.fromPeer)
    for (const flow of flows) this.#datapath.removeFlow(flow)
    path.toPeer = undefined
    path.fromPeer = undefined
  }

  /** Adds what the engine's flows have carried; a delivered one has been counted where it was taken. Gives the drops. */
  #readFlows(path: PeerPath, sent: Traffic, received: Traffic): number {
    const { toPeer, fromPeer } = path
    if (fromPeer === undefined) return 0
    const counters = this.#counters
    this.#datapath.readCounters(toPeer === undefined ? [fromPeer] : [fromPeer, toPeer], counters)
    if (toPeer === undefined) return counters[2] as number
    const packets = counters[0] as number
    received.packets += packets
    // A flow counts what it sends: here with the header that it has put before.
    received.bytes += (counters[1] as number) - channelHeaderBytes * packets
    sent.packets += counters[COUNTER_STRIDE] as number
    sent.bytes += counters[COUNTER_STRIDE + 1] as number
    return (counters[2] as number) + (counters[COUNTER_STRIDE + 2] as number)
  }

  #readDrops(flow: FlowId): number {
    this.#datapath.readCounters([flow], this.#counters)
    return this.#counters[2] as number
  }
}

/** Ports of one peer address that get a path of their own. */
const maxPaths = 64

/** The relayed address of the peer's family. */
export function relayTo(allocation: Allocation, address: string): Relay | undefined {
  const family = address.includes(':') ? 6 : 4
  return allocation.relays.find((relay) => relay.family === family)
}

function add(to: Traffic, more: Traffic): void {
  to.packets += more.packets
  to.bytes += more.bytes
}

function addMessages(to: Traffic, { packets, bytes }: Traffic): void {
  to.packets += packets
  to.bytes += bytes + channelHeaderBytes * packets
}
