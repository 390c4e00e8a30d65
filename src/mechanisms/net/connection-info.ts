import type { Socket } from 'node:net'
import { ipToBytes, ipToText } from '../../foundation/ip-text.ts'
import type { ProxyHeader } from '../../protocols/proxy-protocol/index.ts'

/** Who is connected, and how, as a listener shows it. IPv4 addresses are plain, never `::ffff:192.0.2.1`. */
export interface ConnectionInfo {
  readonly remoteAddress: string
  readonly remotePort: number
  readonly localAddress: string
  readonly localPort: number
  /** Whether a PROXY protocol header gave the addresses; otherwise they are those of the socket. */
  readonly isProxied: boolean
  /** What was agreed on by ALPN: one of the listener's own, or what a balancer that ended the TLS says. */
  readonly alpn?: string
  /** The name that the client asked for (SNI), of the same origin. */
  readonly servername?: string
}

/** Undefined when the peer is gone already. */
export function connectionInfo(socket: Socket): ConnectionInfo | undefined {
  const { remoteAddress, remotePort, localAddress, localPort } = socket
  if (remoteAddress === undefined || remotePort === undefined) return undefined
  if (localAddress === undefined || localPort === undefined) return undefined
  return {
    remoteAddress: plainAddress(remoteAddress),
    remotePort,
    localAddress: plainAddress(localAddress),
    localPort,
    isProxied: false,
  }
}

/** The same connection as the header of a balancer tells of it. */
export function withProxyHeader(info: ConnectionInfo, header: ProxyHeader): ConnectionInfo {
  const { addresses, alpn, authority } = header
  return {
    ...info,
    ...(addresses !== undefined && {
      remoteAddress: plainAddress(addresses.source.address),
      remotePort: addresses.source.port,
      localAddress: plainAddress(addresses.destination.address),
      localPort: addresses.destination.port,
      isProxied: true,
    }),
    ...(alpn !== undefined && { alpn }),
    ...(authority !== undefined && { servername: authority }),
  }
}

/**
 * Makes the socket itself tell the addresses of `info`, for those who are handed nothing else, such as the handlers of
 * an HTTP server.
 */
export function showAddresses(socket: Socket, info: ConnectionInfo): void {
  const { remoteAddress, remotePort, localAddress, localPort } = info
  const shown = {
    remoteAddress,
    remotePort,
    remoteFamily: familyOf(remoteAddress),
    localAddress,
    localPort,
    localFamily: familyOf(localAddress),
  }
  for (const [name, value] of Object.entries(shown)) Object.defineProperty(socket, name, { value })
}

/** An IPv4 client has one address, also on a listener of both families. */
export function plainAddress(address: string): string {
  if (!/^::ffff:/i.test(address)) return address
  const ip = ipToBytes(address)
  return ip === undefined ? address : ipToText(ip.subarray(12))
}

function familyOf(address: string): 'IPv4' | 'IPv6' {
  return address.includes(':') ? 'IPv6' : 'IPv4'
}
