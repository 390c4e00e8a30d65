import { isUtf8 } from 'node:buffer'
import { ipToBytes, ipToText } from '../../foundation/ip-text.ts'
import { FrpError, FrpErrorCode } from './errors.ts'
import { quote, readFields, struct } from './go-json.ts'
import type { UdpAddress } from './messages.ts'

const addressStruct = struct({ IP: 'string', Port: 'port', Zone: 'string' })

/** An address as Go's JSON has it; all three fields are always written. */
export function writeAddress({ IP, Port, Zone }: UdpAddress): string {
  if (!Number.isInteger(Port) || Port < 0 || Port > 65_535) throw unwritable(`port ${Port}`)
  const ip = plainIp.test(IP) ? `"${IP}"` : quote(IP)
  return `{"IP":${ip},"Port":${Port},"Zone":${Zone === '' ? '""' : quote(Zone)}}`
}

const plainIp = /^[\d.:a-fA-F]*$/

/**
 * An address out of parsed JSON. Go takes any number as a port; one that no socket can have is refused here.
 *
 * @throws FrpError FRP_MESSAGE_INVALID
 */
export function readAddress(value: unknown, path: string): UdpAddress | undefined {
  if (value === undefined || value === null) return undefined
  const { IP, Port, Zone } = readFields(value, addressStruct, path)
  const ip = String(IP)
  if (ip !== '' && ipToBytes(ip) === undefined) {
    throw new FrpError(FrpErrorCode.messageInvalid, `${path}.IP is no address`)
  }
  return { IP: ip, Port: Number(Port), Zone: String(Zone) }
}

/** Bytes of an address in the binary form: family, address, port, length of the zone, zone. */
export function binaryAddress({ IP, Port, Zone }: UdpAddress): Buffer {
  const ip = ipToBytes(IP)
  if (ip === undefined) throw unwritable(`address ${IP}`)
  if (!Number.isInteger(Port) || Port < 0 || Port > 65_535) throw unwritable(`port ${Port}`)
  // Go knows no difference between an IPv4 address and its mapped form, and sends the short one.
  const short = ip.length === 16 && isMapped(ip) ? ip.subarray(12) : ip
  const zone = Buffer.from(Zone, 'utf8')
  if (zone.length > (short.length === 4 ? 0 : 255)) throw unwritable(`zone ${Zone} of ${IP}`)
  return Buffer.concat([
    Buffer.of(short.length === 4 ? 4 : 6),
    short,
    Buffer.of(Port >>> 8, Port & 0xff, zone.length),
    zone,
  ])
}

/**
 * How many bytes the binary address at `from` has.
 *
 * @throws FrpError FRP_MESSAGE_INVALID when it is cut or of an unknown family
 */
export function binaryAddressBytes(bytes: Uint8Array, from: number): number {
  const family = bytes[from]
  if (family !== 4 && family !== 6) throw invalid('an address of unknown family')
  const head = 1 + (family === 4 ? 4 : 16) + 3
  const zoneBytes = bytes[from + head - 1]
  if (zoneBytes === undefined || from + head + zoneBytes > bytes.length)
    throw invalid('an address that is cut')
  if (family === 4 && zoneBytes > 0) throw invalid('a zone at an IPv4 address')
  return head + zoneBytes
}

/** The address whose bytes `binaryAddressBytes` has measured. */
export function readBinaryAddress(bytes: Buffer): UdpAddress {
  const ipEnd = bytes[0] === 4 ? 5 : 17
  const zone = bytes.subarray(ipEnd + 3)
  if (!isUtf8(zone)) throw invalid('a zone that is no UTF-8')
  const ip = bytes.subarray(1, ipEnd)
  return {
    IP: ipToText(ip.length === 16 && isMapped(ip) ? ip.subarray(12) : ip),
    Port: bytes.readUInt16BE(ipEnd),
    Zone: zone.toString('utf8'),
  }
}

function isMapped(ip: Uint8Array): boolean {
  return ip[10] === 0xff && ip[11] === 0xff && ip.subarray(0, 10).every((byte) => byte === 0)
}

function invalid(what: string): FrpError {
  return new FrpError(FrpErrorCode.messageInvalid, `a UDP packet with ${what}`)
}

function unwritable(what: string): FrpError {
  return new FrpError(FrpErrorCode.unwritable, `a UDP packet cannot carry ${what}`, { side: 'self' })
}
