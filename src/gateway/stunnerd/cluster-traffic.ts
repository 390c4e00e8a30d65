import type { AllocationInfo, PeerProtocol } from '../../services/turn/index.ts'
import type { TrafficCount } from './turn-dataplane.ts'

/** Traffic of a listener or a cluster, seen from it: `rx` came in. */
export interface TrafficCounts {
  readonly rx: TrafficCount
  readonly tx: TrafficCount
}

/** Says which cluster traffic belongs to. */
export interface ClusterFinder {
  /** The cluster of a peer of a listener's clients. Port 0: none is known. */
  clusterOf(listener: string, address: string, port: number, protocol: PeerProtocol): string | undefined
  /** The cluster of all peers of a listener's clients, where it leads to one only. */
  soleClusterOf(listener: string, protocol: PeerProtocol): string | undefined
}

/**
 * Counts traffic by cluster. The relay knows of peers only: what an allocation has exchanged with each of them since it was
 * last looked at is credited to the peer's cluster; its end and changes of routes are looked at too. What is left is that of
 * peers whose permission or connection has ended in between: it goes to the cluster that the allocation was last seen with.
 */
export class ClusterTraffic {
  readonly #finder: ClusterFinder
  readonly #totals = new Map<string, Record<'rx' | 'tx', MutableCount>>()
  /** What has been credited, by allocation id. */
  readonly #credits = new Map<string, Credit>()

  constructor(finder: ClusterFinder) {
    this.#finder = finder
  }

  /** Credits what the allocations have moved. */
  look(allocations: readonly AllocationInfo[]): void {
    for (const allocation of allocations) this.#credits.set(allocation.id, this.#credit(allocation))
  }

  /** Credits the rest of an allocation that has ended. */
  ended(allocation: AllocationInfo): void {
    this.#credit(allocation)
    this.#credits.delete(allocation.id)
  }

  /** Forgets the clusters that are no more. */
  keep(names: ReadonlySet<string>): void {
    for (const name of this.#totals.keys()) if (!names.has(name)) this.#totals.delete(name)
  }

  countsOf(cluster: string): TrafficCounts {
    return this.#totals.get(cluster) ?? { rx: NOTHING, tx: NOTHING }
  }

  #credit(allocation: AllocationInfo): Credit {
    const { id, sent, received, listener, relayTransport } = allocation
    const before = this.#credits.get(id)
    const peers = new Map<string, TrafficCounts>()
    let last = before?.last
    // What is not credited by peer.
    const rest = { tx: since(sent, before?.tx), rx: since(received, before?.rx) }
    for (const { peer, sent: tx, received: rx } of allocation.peerTraffic) {
      peers.set(peer, { tx, rx })
      const { address, port } = splitPeer(peer)
      const cluster = this.#finder.clusterOf(listener, address, port, relayTransport)
      if (cluster === undefined) continue
      last = cluster
      const former = before?.peers.get(peer)
      const moved = { tx: since(tx, former?.tx), rx: since(rx, former?.rx) }
      this.#add(cluster, moved)
      subtract(rest.tx, moved.tx)
      subtract(rest.rx, moved.rx)
    }
    const ofRest = last ?? this.#finder.soleClusterOf(listener, relayTransport)
    if (ofRest !== undefined) this.#add(ofRest, rest)
    return { last, peers, tx: { ...sent }, rx: { ...received } }
  }

  #add(cluster: string, { rx, tx }: TrafficCounts): void {
    let total = this.#totals.get(cluster)
    if (total === undefined) {
      total = { rx: { ...NOTHING }, tx: { ...NOTHING } }
      this.#totals.set(cluster, total)
    }
    for (const [sum, more] of [
      [total.rx, rx],
      [total.tx, tx],
    ] as const) {
      sum.packets += more.packets
      sum.bytes += more.bytes
    }
  }
}

/** What an allocation had moved when it was last looked at. */
interface Credit extends TrafficCounts {
  /** The cluster that it was last seen with. */
  readonly last: string | undefined
  readonly peers: ReadonlyMap<string, TrafficCounts>
}

interface MutableCount {
  packets: number
  bytes: number
}

const NOTHING: TrafficCount = { packets: 0, bytes: 0 }

/** A count that is lower than before has begun anew: the peer had gone and has come back. */
function since(now: TrafficCount, before: TrafficCount = NOTHING): MutableCount {
  const from = now.packets < before.packets || now.bytes < before.bytes ? NOTHING : before
  return { packets: now.packets - from.packets, bytes: now.bytes - from.bytes }
}

function subtract(count: MutableCount, part: TrafficCount): void {
  count.packets = Math.max(0, count.packets - part.packets)
  count.bytes = Math.max(0, count.bytes - part.bytes)
}

/** An address, or an address and a port: `10.0.0.1`, `10.0.0.1:5004`, `fd00::1`, `[fd00::1]:5004`. */
function splitPeer(text: string): { readonly address: string; readonly port: number } {
  const [, v6, v4, port = '0'] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? []
  return { address: v6 ?? v4 ?? text, port: Number(port) }
}
