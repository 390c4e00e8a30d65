import type { LocalAddress } from '../../../mechanisms/datapath/index.ts'
import type { PublicAddress } from '../../../protocols/sdp/index.ts'

/** An address that clients are told, by configuration. */
export interface ConfiguredAddress {
  /** A literal IPv4 or IPv6 address. */
  readonly address: string
  /** Where a port mapping differs from the port that is bound. */
  readonly port?: number
}

/** Most candidates of one answer: a client checks each of them. */
const maxAddresses = 16

/**
 * The addresses of an answer's candidates, at least one, the preferred one first. Those configured, else the
 * address on which the request came in, if media is heard there. A request over loopback comes from this machine,
 * but a browser there may ignore loopback candidates, so it is offered the other addresses too. When media is heard
 * only elsewhere, all that is heard on is offered.
 */
export function publicAddressesFor(
  configured: readonly ConfiguredAddress[],
  requestAddress: string | undefined,
  locals: readonly LocalAddress[],
): readonly PublicAddress[] {
  const boundPort = locals[0]?.port ?? 0
  if (configured.length > 0) {
    return configured
      .map(({ address, port }) => ({ address, port: port ?? boundPort }))
      .slice(0, maxAddresses)
  }
  const asked = requestAddress === undefined ? undefined : plainAddress(requestAddress)
  const here = locals.filter(({ address }) => address === asked)
  const outside = locals.filter(({ address }) => !isLoopback(address))
  const isLocalRequest = asked !== undefined && isLoopback(asked)
  const chosen = isLocalRequest ? [...here, ...outside] : here.length > 0 ? here : outside
  const offered = chosen.length > 0 ? chosen : locals
  return offered.slice(0, maxAddresses).map(({ address, port }) => ({ address, port }))
}

/** An IPv4 address that a dual-stack socket shows as IPv6, in its own form. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
