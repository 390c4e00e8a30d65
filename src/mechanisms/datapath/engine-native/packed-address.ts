import { networkInterfaces } from 'node:os'
import { ipToBytes, ipToText } from '../../../foundation/ip-text.ts'
import type { Remote } from '../contract.ts'
import { canonicalAddress } from '../control/ip-address.ts'
import { DatapathError } from '../errors.ts'

/** Bytes of a transport address in records: family (4 or 6), 0, port u16, interface u32, 16 bytes of address. */
export const packedAddressBytes = 24

/** Writes a literal address and its port at an offset. @throws DATAPATH_INVALID for a name */
export function packAddress(view: DataView, offset: number, { address, port }: Remote): void {
  view.setUint16(offset + 2, port, true)
  if (packIPv4(view, offset, address)) return
  const zoneAt = address.indexOf('%')
  const bytes = ipToBytes(zoneAt < 0 ? address : address.slice(0, zoneAt))
  if (bytes === undefined) throw new DatapathError('DATAPATH_INVALID', `"${address}" is not an IP address`)
  view.setUint16(offset, 6, true)
  view.setUint32(offset + 4, zoneAt < 0 ? 0 : interfaceOf(address.slice(zoneAt + 1)), true)
  for (let at = 0; at < 16; at++) view.setUint8(offset + 8 + at, bytes[at] ?? 0)
}

export function unpackPort(view: DataView, offset: number): number {
  return view.getUint16(offset + 2, true)
}

/** The canonical text of the address at an offset. */
export function unpackAddress(view: DataView, offset: number): string {
  if (view.getUint8(offset) === 4) {
    const [a, b, c, d] = [0, 1, 2, 3].map((at) => view.getUint8(offset + 8 + at))
    return `${a}.${b}.${c}.${d}`
  }
  const text = ipToText(new Uint8Array(view.buffer, view.byteOffset + offset + 8, 16))
  const zone = view.getUint32(offset + 4, true)
  // Those that begin with zeros may have a form of their own.
  return zone === 0 ? (text.startsWith('::') ? canonicalAddress(text) : text) : `${text}%${nameOf(zone)}`
}

/** IPv4 without a detour: nearly all addresses are. */
function packIPv4(view: DataView, offset: number, text: string): boolean {
  let value = 0
  let digits = 0
  let part = 0
  for (let at = 0; at <= text.length; at++) {
    const code = at === text.length ? dot : text.charCodeAt(at)
    if (code === dot) {
      if (digits === 0 || digits > 3 || value > 255 || part > 3) return false
      view.setUint8(offset + 8 + part++, value)
      value = 0
      digits = 0
    } else if (code >= zero && code <= nine) {
      value = value * 10 + code - zero
      digits++
    } else {
      return false
    }
  }
  if (part !== 4) return false
  view.setUint16(offset, 4, true)
  view.setUint32(offset + 4, 0, true)
  view.setUint32(offset + 12, 0)
  view.setUint32(offset + 16, 0)
  view.setUint32(offset + 20, 0)
  return true
}

const [dot, zero, nine] = [0x2e, 0x30, 0x39] as const

/** The number of an interface that is named in a zone. @throws DATAPATH_INVALID where there is none */
function interfaceOf(zone: string): number {
  const number = /^\d+$/.test(zone) ? Number(zone) : numbered(([name]) => name === zone)?.[1]
  if (number !== undefined && number > 0) return number
  throw new DatapathError('DATAPATH_INVALID', `zone "${zone}" is no interface of this machine`)
}

function nameOf(zone: number): string {
  return numbered(([, number]) => number === zone)?.[0] ?? String(zone)
}

function numbered(
  is: (pair: readonly [name: string, number: number]) => boolean,
): readonly [string, number] | undefined {
  return Object.entries(networkInterfaces())
    .flatMap(([name, entries]) =>
      (entries ?? []).map((entry) => [name, entry.family === 'IPv6' ? entry.scopeid : 0] as const),
    )
    .find(is)
}
