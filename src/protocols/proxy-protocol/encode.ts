import { ByteWriter } from '../../foundation/bytes.ts'
import { ipToBytes, ipToText } from '../../foundation/ip-text.ts'
import type { ProxyAddresses, ProxyEndpoint, ProxyHeader } from './header.ts'
import { FamilyV2, FieldV2, signatureV2, TransportV2 } from './version-2.ts'

/**
 * Writes a header of a TCP connection. Version 1 has no room for `command`, `alpn` and `authority`: a local header
 * becomes UNKNOWN, and the others are left out. Where one address is IPv4 and one IPv6, both are written as IPv6.
 * @throws RangeError for a text that is no IP address, a port over 65,535, or fields too long for their lengths (misuse)
 */
export function encodeProxyHeader(header: ProxyHeader): Uint8Array {
  const addresses =
    header.addresses === undefined || header.command === 'local' ? undefined : ipAddresses(header.addresses)
  return header.version === 1 ? encodeV1(addresses) : encodeV2(header, addresses)
}

/** Both addresses in bytes of one length. */
interface IpAddresses {
  readonly source: Uint8Array
  readonly destination: Uint8Array
  readonly sourcePort: number
  readonly destinationPort: number
}

function encodeV1(addresses: IpAddresses | undefined): Uint8Array {
  if (addresses === undefined) return Buffer.from('PROXY UNKNOWN\r\n')
  const { source, destination, sourcePort, destinationPort } = addresses
  const family = source.length === 4 ? 'TCP4' : 'TCP6'
  return Buffer.from(
    `PROXY ${family} ${ipToText(source)} ${ipToText(destination)} ${sourcePort} ${destinationPort}\r\n`,
  )
}

function encodeV2(header: ProxyHeader, addresses: IpAddresses | undefined): Uint8Array {
  const rest = new ByteWriter()
  let family: number = FamilyV2.unspecified
  if (addresses !== undefined) {
    family = addresses.source.length === 4 ? FamilyV2.ipv4 : FamilyV2.ipv6
    rest.bytes(addresses.source).bytes(addresses.destination)
    rest.u16(addresses.sourcePort).u16(addresses.destinationPort)
  }
  writeField(rest, FieldV2.alpn, header.alpn)
  writeField(rest, FieldV2.authority, header.authority)
  const transport = addresses === undefined ? TransportV2.unspecified : TransportV2.stream
  return new ByteWriter()
    .bytes(signatureV2)
    .u8(header.command === 'local' ? 0x20 : 0x21)
    .u8((family << 4) | transport)
    .u16(u16(rest.length, 'length of the header'))
    .bytes(rest.finish())
    .finish()
}

function writeField(writer: ByteWriter, type: number, value: string | undefined): void {
  if (value === undefined) return
  const bytes = Buffer.from(value)
  writer.u8(type).u16(u16(bytes.length, 'length of a field')).bytes(bytes)
}

function ipAddresses({ source, destination }: ProxyAddresses): IpAddresses {
  const ips = [ipOf(source), ipOf(destination)] as const
  const isMixed = ips[0].length !== ips[1].length
  return {
    source: isMixed ? asIpv6(ips[0]) : ips[0],
    destination: isMixed ? asIpv6(ips[1]) : ips[1],
    sourcePort: u16(source.port, 'port'),
    destinationPort: u16(destination.port, 'port'),
  }
}

function ipOf({ address }: ProxyEndpoint): Uint8Array {
  const ip = ipToBytes(address)
  if (ip === undefined) throw new RangeError(`not an IP address: ${address}`)
  return ip
}

/** IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2). */
function asIpv6(ip: Uint8Array): Uint8Array {
  return ip.length === 16 ? ip : Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...ip)
}

function u16(value: number, what: string): number {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff)
    throw new RangeError(`${what} is ${value}, not 0 to 65535`)
  return value
}
