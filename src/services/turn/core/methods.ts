import { decodeXorAddress, StunAttribute, type TransportAddress } from '../../../protocols/stun/index.ts'
import {
  AddressFamily,
  decodeAddressFamily,
  decodeChannelNumber,
  maxChannel,
  maxChannel5766,
  minChannel,
  peerAddresses,
} from '../../../protocols/turn/index.ts'
import type { Allocation, Permission } from './allocation.ts'
import type { Outcome } from './outcome.ts'
import { mayMeet } from './new-peers.ts'
import { permissionInfo, relayTo } from './peer-paths.ts'
import type { AllocationRequest } from './request.ts'
import { SmallMap } from '../../../foundation/small-map.ts'
import type { TurnState } from './turn-state.ts'

/** CreatePermission (RFC 8656 §10.2): all of the addresses, or none. */
export function createPermission(
  { message, allocation, nowMs }: AllocationRequest,
  state: TurnState,
): Outcome {
  const peers = peerAddresses(message)
  if (peers === undefined || peers.length === 0) return 400
  const addresses = new Set<string>()
  for (const { address } of peers) {
    if (relayTo(allocation, address) === undefined) return 443
    addresses.add(address)
  }
  // Rules are not asked about thousands of addresses that there is no room for anyway.
  if (addresses.size > state.settings.limits.maxPermissions) return 508
  if (!peers.every((peer) => mayPermit(allocation, peer, state))) return 403
  if (!hasRoom(allocation, addresses, nowMs, state)) return 508
  for (const address of addresses) permit(allocation, address, nowMs, state)
  return nothing
}

/** ChannelBind (RFC 8656 §12.2). */
export function channelBind(
  { message, allocation, client, nowMs }: AllocationRequest,
  state: TurnState,
): Outcome {
  const number = decodeChannelNumber(message.attribute(StunAttribute.channelNumber) ?? none)
  const value = message.attribute(StunAttribute.xorPeerAddress)
  const peer = value === undefined ? undefined : decodeXorAddress(value, message.transactionId)
  const most = client.listener.options.strictChannels === true ? maxChannel : maxChannel5766
  if (number === undefined || number < minChannel || number > most || peer === undefined) return 400
  if (allocation.relayTransport !== 'udp') return 400
  if (relayTo(allocation, peer.address) === undefined) return 443
  const { limits } = state.settings
  const bound = allocation.channels?.get(number)
  const path = allocation.permissions.get(peer.address)?.paths.get(peer.port)
  if (bound !== undefined && isLive(bound.channel, nowMs) && bound !== path) return 400
  if (isLive(path?.channel, nowMs) && path?.channel?.number !== number) return 400
  if (!state.gate.admits(client.listener, peer, 'udp')) return 403
  if (!hasRoom(allocation, new Set([peer.address]), nowMs, state)) return 508
  if (bound === undefined && (allocation.channels?.size ?? 0) >= limits.maxChannels) return 508
  const permission = permit(allocation, peer.address, nowMs, state)
  // What has expired may still lie there until the next sweep.
  if (bound !== undefined && bound !== path) state.paths.unbindChannel(bound)
  const channel = { number, expiresAtMs: nowMs + limits.channelSeconds * 1000 }
  return state.paths.bindChannel(allocation, permission, peer, channel) ? nothing : 508
}

/** Whether the families of a Refresh are the allocation's: undefined where it names none that is (443), else those meant. */
export function refreshedFamilies(
  value: Uint8Array | undefined,
  { relays }: Allocation,
): readonly (4 | 6)[] | 400 | 443 {
  if (value === undefined) return relays.map(({ family }) => family)
  const number = decodeAddressFamily(value)
  if (number === undefined) return 400
  const family = number === AddressFamily.ipv4 ? 4 : number === AddressFamily.ipv6 ? 6 : undefined
  return family !== undefined && relays.some((relay) => relay.family === family) ? [family] : 443
}

/** Gives or renews the permission for an address; what stood still for want of it goes on. */
function permit(allocation: Allocation, address: string, nowMs: number, state: TurnState): Permission {
  const expiresAtMs = nowMs + state.settings.limits.permissionSeconds * 1000
  const permission = allocation.permissions.get(address)
  if (permission !== undefined) {
    permission.expiresAtMs = expiresAtMs
    for (const path of permission.paths.values()) state.paths.setPaused(path, false)
    return permission
  }
  const made: Permission = { address, expiresAtMs, paths: new SmallMap() }
  allocation.permissions.set(address, made)
  state.notify('permissionCreated', (events) =>
    events.permissionCreated?.(permissionInfo(allocation, address)),
  )
  return made
}

/**
 * Where a port is named, rules about ports can be told now and not only by silence later. RFC 8656 §9.1 has the port of a
 * permission ignored, so this holds for UDP only: TCP peers call from any port, and relayed addresses come and go.
 */
function mayPermit(
  { client, relayTransport }: Allocation,
  peer: TransportAddress,
  { gate, relays }: TurnState,
): boolean {
  return peer.port === 0 || relayTransport === 'tcp' || relays.isRelayAddress(peer.address)
    ? gate.admitsAddress(client.listener, peer.address, relayTransport)
    : gate.admits(client.listener, peer, relayTransport)
}

/** Whether so many new peers may come, by their number and by how fast they come. */
function hasRoom(
  allocation: Allocation,
  addresses: ReadonlySet<string>,
  nowMs: number,
  { settings: { limits } }: TurnState,
): boolean {
  const { permissions } = allocation
  let added = 0
  for (const address of addresses) if (!permissions.has(address)) added++
  if (added === 0) return true
  return permissions.size + added <= limits.maxPermissions && mayMeet(allocation, added, nowMs, limits)
}

function isLive(channel: { readonly expiresAtMs: number } | undefined, nowMs: number): boolean {
  return channel !== undefined && channel.expiresAtMs > nowMs
}

function nothing(): void {}

const none = new Uint8Array(0)
