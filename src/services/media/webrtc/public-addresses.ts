import type { Remote } from '../../../mechanisms/datapath/index.ts'
import { plainAddress } from '../../../mechanisms/net/index.ts'
import type { PublicAddress } from '../../../protocols/sdp/index.ts'

/** An address that clients are told, by configuration. */
export interface ConfiguredAddress {
  /** A literal IPv4 or IPv6 address. */
  readonly address: string
  /** Where a port mapping differs from the port that is bound. */
  readonly port?: number
}

/** Where clients can connect over TCP; without a host, at every address. */
export interface TcpLocal {
  readonly host: string | undefined
  readonly port: number
}

/** Most candidates of one answer, of each transport: a client checks each of them. */
export const maxAddresses = 16

/**
 * The addresses of an answer's candidates, at least one, the preferred one first. Those configured, each with every bound
 * port unless it has its own, else the address on which the request came in, if media is heard there. A request over
 * loopback comes from this machine, but a browser there may ignore loopback candidates, so it is offered the other
 * addresses too. When media is heard only elsewhere, all that is heard on is offered.
 */
export function publicAddressesFor(
  configured: readonly ConfiguredAddress[],
  requestAddress: string | undefined,
  locals: readonly Remote[],
): readonly PublicAddress[] {
  if (configured.length > 0) {
    const bound = [...new Set(locals.map(({ port }) => port))]
    return configured
      .flatMap(({ address, port }) =>
        (port === undefined ? bound : [port]).map((one) => ({ address, port: one })),
      )
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

/**
 * The same for TCP, none where nothing listens. A listener of every address is offered at the addresses that UDP has.
 *
 * @param configured those for TCP
 * @param configuredForUdp stand in for them, without their ports
 */
export function publicTcpAddressesFor(
  configured: readonly ConfiguredAddress[],
  configuredForUdp: readonly ConfiguredAddress[],
  requestAddress: string | undefined,
  udpLocals: readonly Remote[],
  tcpLocals: readonly TcpLocal[],
): readonly PublicAddress[] {
  if (tcpLocals.length === 0) return []
  const everywhere = [...new Set(udpLocals.map(({ address }) => address))]
  const locals = tcpLocals.flatMap(({ host, port }) =>
    addressesOf(host, everywhere).map((address) => ({ address, port })),
  )
  const chosen = configured.length > 0 ? configured : configuredForUdp.map(({ address }) => ({ address }))
  return publicAddressesFor(chosen, requestAddress, locals).map((one) => ({ ...one, transport: 'tcp' }))
}

/** `::` listens on IPv4 too, as sockets of TCP do. */
function addressesOf(host: string | undefined, everywhere: readonly string[]): readonly string[] {
  if (host === undefined || host === '::') return everywhere
  return host === '0.0.0.0' ? everywhere.filter((address) => !address.includes(':')) : [host]
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
