import { isIPv4, isIPv6, SocketAddress } from 'node:net'
import { DatapathError } from '../errors.ts'

export type Family = 4 | 6

/**
 * The one text of an IP address that sockets report too, so that texts can be compared: IPv6 compressed
 * and lower case, IPv4-mapped IPv6 as IPv4, a zone kept.
 *
 * @throws DATAPATH_INVALID when the text is not a literal address
 */
export function canonicalAddress(text: string): string {
  if (isIPv4(text)) return text
  if (!isIPv6(text)) throw new DatapathError('DATAPATH_INVALID', `"${text}" is not an IP address`)
  const zoneAt = text.indexOf('%')
  const address = new SocketAddress({ address: zoneAt < 0 ? text : text.slice(0, zoneAt), family: 'ipv6' })
    .address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1]
  return mapped ?? (zoneAt < 0 ? address : address + text.slice(zoneAt))
}

/** The family of a canonical address. */
export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4
}

/** Whether something can be sent to this port. */
export function isRemotePort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port <= 65_535
}

/** @throws DATAPATH_INVALID when nothing can be sent to this port */
export function checkRemotePort(port: number): void {
  if (!isRemotePort(port))
    throw new DatapathError('DATAPATH_INVALID', `port ${port}: must be from 1 to 65535`)
}
