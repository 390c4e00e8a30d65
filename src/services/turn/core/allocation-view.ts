import { addressText } from './address-text.ts'
import type { Clock } from '../../../foundation/clock.ts'
import type { AllocationInfo } from '../allocation-info.ts'
import type { Allocation } from './allocation.ts'
import type { Client } from './client.ts'
import type { PeerPaths } from './peer-paths.ts'

/** An allocation as operators see it, its counters read from the engine. */
export function allocationInfo(allocation: Allocation, paths: PeerPaths, clock: Clock): AllocationInfo {
  const { identity, client } = allocation
  const sent = { ...allocation.sent }
  const received = { ...allocation.received }
  let dropped = allocation.dropped + paths.readClientDrops(allocation)
  const peerTraffic: AllocationInfo['peerTraffic'][number][] = []
  const idle: string[] = []
  for (const permission of allocation.permissions.values()) {
    if (permission.paths.size === 0) idle.push(permission.address)
    for (const path of permission.paths.values()) {
      const traffic = paths.readTraffic(path)
      peerTraffic.push({ peer: addressText(path.peer), sent: traffic.sent, received: traffic.received })
      sent.packets += traffic.sent.packets
      sent.bytes += traffic.sent.bytes
      received.packets += traffic.received.packets
      received.bytes += traffic.received.bytes
      dropped += traffic.dropped
    }
  }
  for (const connection of allocation.connections?.list() ?? []) {
    peerTraffic.push({
      peer: addressText(connection.peer),
      sent: connection.sent,
      received: connection.received,
    })
    sent.bytes += connection.sent.bytes
    received.bytes += connection.received.bytes
  }
  return {
    id: allocation.id,
    userId: allocation.quota.userId,
    username: identity.credential.username,
    realm: identity.realm,
    listener: client.listener.options.name,
    transport: client.transport,
    client: clientText(client),
    relayTransport: allocation.relayTransport,
    relayed: allocation.relays.map(({ relayed }) => addressText(relayed)),
    peers: [...idle, ...peerTraffic.map(({ peer }) => peer)],
    sinceMs: allocation.createdWallMs,
    expiresAtMs: Math.round(clock.wallMs() + allocation.expiresAtMs - clock.nowMs()),
    sent,
    received,
    peerTraffic,
    dropped,
  }
}

function clientText({ address, port }: Client): string {
  return addressText({ address, port })
}
