import { describe, expect, it } from 'vitest'
import type { AllocationInfo } from '../../services/turn/index.ts'
import { ClusterTraffic } from './cluster-traffic.ts'
import { allocationInfo } from './stunnerd.testkit.ts'

function open(sole?: string) {
  const asked: unknown[] = []
  const traffic = new ClusterTraffic({
    clusterOf(...peer) {
      asked.push(peer)
      const [, address] = peer
      return address.startsWith('10.1.') ? 'a' : address.startsWith('10.2.') ? 'b' : undefined
    },
    soleClusterOf: () => sole,
  })
  return { traffic, asked }
}

const of = (packets: number) => ({ packets, bytes: packets * 100 })

/** An allocation that has sent to peers and, before, to others that are gone. */
function sending(toPeers: Record<string, number>, toGone = 0, id = 'a1'): AllocationInfo {
  const peerTraffic = Object.entries(toPeers).map(([peer, n]) => ({ peer, sent: of(n), received: of(2 * n) }))
  const total = Object.values(toPeers).reduce((sum, n) => sum + n, toGone)
  return allocationInfo({ id, peerTraffic, sent: of(total), received: of(2 * total) })
}

describe('traffic of clusters', () => {
  it('is what allocations have exchanged with their peers there, counted once', () => {
    const { traffic } = open()
    const allocation = sending({ '10.1.0.1:5004': 2, '10.2.0.1:5004': 7, '10.1.0.2:5004': 1 })
    traffic.look([allocation, sending({ '10.2.0.1:1': 5 }, 0, 'a2')])
    traffic.look([allocation])
    expect(traffic.countsOf('a')).toEqual({ tx: of(3), rx: of(6) })
    expect(traffic.countsOf('b')).toEqual({ tx: of(12), rx: of(24) })
  })

  it('goes on with what has been moved since', () => {
    const { traffic } = open()
    traffic.look([sending({ '10.1.0.1:5004': 2 })])
    traffic.look([sending({ '10.1.0.1:5004': 5, '10.2.0.1:1': 1 })])
    expect(traffic.countsOf('a').tx).toEqual(of(5))
    expect(traffic.countsOf('b').tx).toEqual(of(1))
  })

  it('has the rest of a peer that has gone in the cluster that the allocation was last seen with', () => {
    const { traffic } = open()
    traffic.look([sending({ '10.1.0.1:5004': 2 })])
    traffic.ended(sending({}, 6))
    expect(traffic.countsOf('a')).toEqual({ tx: of(6), rx: of(12) })
  })

  it('begins anew with a peer that has gone and come back', () => {
    const { traffic } = open()
    traffic.look([sending({ '10.1.0.1:5004': 5 })])
    traffic.look([sending({ '10.1.0.1:5004': 1 }, 7)])
    expect(traffic.countsOf('a').tx).toEqual(of(8))
  })

  it('of an allocation that ended unseen is that of the only cluster there is', () => {
    const { traffic } = open('b')
    traffic.ended(sending({}, 3))
    expect(traffic.countsOf('b').tx).toEqual(of(3))
    const { traffic: several } = open()
    several.ended(sending({}, 3))
    expect(several.countsOf('a').tx).toEqual(of(0))
  })

  it('keeps what is of allocations that have ended, and forgets clusters that are no more', () => {
    const { traffic } = open()
    traffic.ended(sending({ '10.1.0.1:1': 2 }))
    // The same id again is another allocation.
    traffic.ended(sending({ '10.1.0.1:1': 1 }))
    expect(traffic.countsOf('a').tx).toEqual(of(3))
    traffic.keep(new Set())
    expect(traffic.countsOf('a').tx).toEqual(of(0))
  })

  it('asks with address and port as the peers have them', () => {
    const { traffic, asked } = open()
    traffic.look([sending({ '192.0.2.1:9': 0, '192.0.2.1': 0, '[fd00::2]:7': 0, 'fd00::1': 0 })])
    expect(asked).toEqual([
      ['udp', '192.0.2.1', 9, 'udp'],
      ['udp', '192.0.2.1', 0, 'udp'],
      ['udp', 'fd00::2', 7, 'udp'],
      ['udp', 'fd00::1', 0, 'udp'],
    ])
  })
})
