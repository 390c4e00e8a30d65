import type { EndpointId, Flow, Remote } from '../contract.ts'
import { DatapathError } from '../errors.ts'
import { canonicalAddress, checkRemotePort } from './ip-address.ts'

/** What a flow's source has to fit. */
export interface FlowOrigin {
  readonly id: EndpointId
  /** The only peer, its address canonical. */
  readonly remote: Remote | undefined
  readonly separatesLocals: boolean
}

/**
 * Refuses a flow that makes no sense, or not at the endpoint that it comes from.
 *
 * @throws DATAPATH_INVALID, DATAPATH_TOO_MANY_METERS
 */
export function checkFlow(flow: Flow, { id, remote, separatesLocals }: FlowOrigin): void {
  if (remote !== undefined && !isSameRemote(flow.from.remote, remote)) {
    throw new DatapathError('DATAPATH_INVALID', `endpoint ${id} hears its own remote only`)
  }
  if (separatesLocals !== (flow.from.local !== undefined)) {
    const what = separatesLocals ? 'separates its local addresses: name one' : 'does not separate them'
    throw new DatapathError('DATAPATH_INVALID', `local: endpoint ${id} ${what}`)
  }
  if ((flow.meters?.length ?? 0) > maxMeters) {
    throw new DatapathError('DATAPATH_TOO_MANY_METERS', `${flow.meters?.length} meters: at most ${maxMeters}`)
  }
  const { match } = flow.from
  if (match !== undefined && !(isUint(match.offset, 0xffff) && isUint(match.value, 0xffff_ffff))) {
    throw new DatapathError('DATAPATH_INVALID', `match ${match.value} at ${match.offset}: out of range`)
  }
  if (flow.kind !== 'turn-channel' && flow.kind !== 'turn-indication') return
  if (flow.kind === 'turn-indication') checkPeer(flow.peer)
  else if (!isUint(flow.channel, 0xffff)) {
    throw new DatapathError('DATAPATH_INVALID', `channel ${flow.channel}: must be from 0 to 65535`)
  }
  if (flow.header === 'strip' && match !== undefined) {
    throw new DatapathError(
      'DATAPATH_INVALID',
      'match: the channel number, or the peer, is the match of a flow that strips a header',
    )
  }
}

function checkPeer({ address, port }: Remote): void {
  checkRemotePort(port)
  if (canonicalAddress(address).includes('%')) {
    throw new DatapathError('DATAPATH_INVALID', `peer ${address}: an attribute has no room for a zone`)
  }
}

/** Whether this is the remote whose address is canonical. */
export function isSameRemote(remote: Remote, canonical: Remote): boolean {
  return (
    remote.port === canonical.port &&
    (remote.address === canonical.address || canonicalAddress(remote.address) === canonical.address)
  )
}

const maxMeters = 3

function isUint(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max
}
