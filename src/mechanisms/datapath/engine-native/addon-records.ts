import type { EndpointId, Flow, MeterId, Remote } from '../contract.ts'
import type { FlowRequest, Target } from '../control/datapath-control.ts'
import { canonicalAddress } from '../control/ip-address.ts'
import { packAddress } from './packed-address.ts'

/**
 * Commands to the addon as bytes, numbers little-endian; `native/src/binding/command.rs` says what is where, and reads
 * them. They are written into one buffer, valid until the next call.
 */
const bytes = new Uint8Array(144)
const view = new DataView(bytes.buffer)
/** Stands for no local address. */
export const noLocal = 0xffff_ffff

export function endpointCommand(
  id: EndpointId,
  options: {
    readonly threads: number
    readonly isDeliver: boolean
    readonly separatesLocals: boolean
    readonly remote: Remote | undefined
  },
): Uint8Array {
  view.setFloat64(0, id, true)
  view.setUint32(8, options.threads, true)
  view.setUint8(12, options.isDeliver ? 1 : 0)
  view.setUint8(13, options.remote === undefined ? 0 : 1)
  view.setUint8(14, options.separatesLocals ? 1 : 0)
  view.setUint8(15, 0)
  if (options.remote !== undefined) packAddress(view, 16, options.remote)
  return bytes
}

export function localAddressCommand(
  endpoint: EndpointId,
  local: number,
  address: Remote,
  options: {
    readonly receiveBufferBytes: number
    readonly dscp: number | undefined
    readonly icmpErrors: boolean
  },
): Uint8Array {
  view.setFloat64(0, endpoint, true)
  view.setUint32(8, local, true)
  view.setUint32(12, options.receiveBufferBytes, true)
  view.setUint8(16, options.dscp ?? 255)
  view.setUint8(17, options.icmpErrors ? 1 : 0)
  packAddress(view, 24, address)
  return bytes
}

export function flowCommand<E extends { readonly id: EndpointId }>({
  id,
  flow,
  from,
  remote,
  target,
  meters,
}: FlowRequest<E, MeterId>): Uint8Array {
  const { match, local } = flow.from
  view.setFloat64(0, id, true)
  view.setFloat64(8, from.id, true)
  packAddress(view, 16, remote)
  view.setUint8(40, kindOf(flow))
  view.setUint8(41, meters.length)
  view.setUint16(42, flow.kind === 'turn-channel' ? flow.channel : 0, true)
  view.setUint8(44, match === undefined ? 0 : 1)
  view.setUint16(46, match?.offset ?? 0, true)
  view.setUint32(48, match?.value ?? 0, true)
  view.setUint32(52, local ?? noLocal, true)
  view.setUint32(56, target?.local ?? noLocal, true)
  view.setUint32(60, 0)
  for (let at = 0; at < 3; at++) view.setFloat64(64 + 8 * at, meters[at] ?? 0, true)
  if (target !== undefined) {
    view.setFloat64(88, target.endpoint.id, true)
    packAddress(view, 96, target)
  }
  if (flow.kind === 'turn-indication') {
    packAddress(view, 120, { address: canonicalAddress(flow.peer.address), port: flow.peer.port })
  }
  return bytes
}

export function addressCommand(address: Remote): Uint8Array {
  packAddress(view, 0, address)
  return bytes
}

export function aimCommand(target: Target<unknown>): Uint8Array {
  view.setUint32(0, target.local ?? noLocal, true)
  packAddress(view, 8, target)
  return bytes
}

function kindOf(flow: Flow): number {
  if (flow.kind === 'deliver') return 0
  if (flow.kind === 'forward') return flow.copyStunRequests === true ? 2 : 1
  return (flow.kind === 'turn-channel' ? 3 : 5) + (flow.header === 'add' ? 0 : 1)
}
