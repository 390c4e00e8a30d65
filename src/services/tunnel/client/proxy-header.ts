import { encodeProxyHeader, type ProxyEndpoint } from '../../../protocols/proxy-protocol/index.ts'

/**
 * What is sent to a local service ahead of a user's connection.
 * @throws RangeError for what are no IP addresses
 */
export function tcpProxyHeader(
  version: 'v1' | 'v2',
  source: ProxyEndpoint,
  destination: ProxyEndpoint,
): Uint8Array {
  return encodeProxyHeader({
    version: version === 'v1' ? 1 : 2,
    command: 'proxy',
    addresses: { source: withoutZone(source), destination: withoutZone(destination) },
  })
}

/** Where version 2 has address family and transport, and the transport's value for datagrams. */
const familyAt = 13
const datagram = 2

/**
 * What is put in front of a user's first datagram. Version 1 knows no datagrams: UNKNOWN, as frp says there.
 * @throws RangeError for what are no IP addresses
 */
export function udpProxyHeader(
  version: 'v1' | 'v2',
  source: ProxyEndpoint,
  destination: ProxyEndpoint,
): Uint8Array {
  if (version === 'v1') return encodeProxyHeader({ version: 1, command: 'proxy' })
  const header = tcpProxyHeader('v2', source, destination)
  header[familyAt] = ((header[familyAt] ?? 0) & 0xf0) | datagram
  return header
}

function withoutZone({ address, port }: ProxyEndpoint): ProxyEndpoint {
  const [bare = address] = address.split('%', 1)
  return { address: bare, port }
}
