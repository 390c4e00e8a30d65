import { ByteReader } from '../../foundation/bytes.ts'
import { ipToText } from '../../foundation/ip-text.ts'
import {
  malformed,
  needMore,
  type ProxyAddresses,
  type ProxyHeader,
  type ProxyHeaderResult,
} from './header.ts'

/** What every header of version 2 begins with: CR LF CR LF NUL CR LF "QUIT" LF. */
export const signatureV2: Uint8Array = Uint8Array.of(
  ...[0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a],
)

/** Signature, version and command, family and transport, length of the rest. */
const FIXED_BYTES = 16

/** Families of version 2, the upper half of its fourteenth byte. */
export const FamilyV2 = { unspecified: 0, ipv4: 1, ipv6: 2, unix: 3 } as const

/** Bytes of both addresses and, of IP, both ports. */
const addressBlockBytes: readonly (number | undefined)[] = [0, 12, 36, 216]

/** Transports of version 2, the lower half of that byte. */
export const TransportV2 = { unspecified: 0, stream: 1, datagram: 2 } as const

/** Types of the fields that may follow the addresses; others are skipped. */
export const FieldV2 = { alpn: 0x01, authority: 0x02 } as const

/** Reads bytes that begin with `signatureV2`; a header of more than `maxBytes` is malformed. */
export function decodeV2(bytes: Uint8Array, maxBytes: number): ProxyHeaderResult {
  if (bytes.length < FIXED_BYTES) return needMore
  const fixed = new ByteReader(bytes, signatureV2.length)
  const versionAndCommand = fixed.u8()
  const familyAndTransport = fixed.u8()
  const length = FIXED_BYTES + fixed.u16()
  const command = commandOf(versionAndCommand)
  if (command === undefined) return malformed(`version and command are 0x${versionAndCommand.toString(16)}`)
  if (length > maxBytes) return malformed(`${length} bytes, but at most ${maxBytes} are taken`)
  if (bytes.length < length) return needMore
  // What a local header carries besides is to be skipped.
  if (command === 'local') return { kind: 'header', header: { version: 2, command }, bytes: length }

  const family = familyAndTransport >> 4
  const transport = familyAndTransport & 0x0f
  const blockBytes = addressBlockBytes[family]
  if (blockBytes === undefined || transport > TransportV2.datagram) {
    return malformed(`family and transport are 0x${familyAndTransport.toString(16)}`)
  }
  const reader = new ByteReader(bytes, FIXED_BYTES, length)
  const block = reader.bytes(blockBytes)
  if (reader.failed) return malformed('shorter than its addresses')
  const fields = readFields(reader)
  if (fields === undefined) return malformed('a field is cut short')
  const addresses = transport === TransportV2.unspecified ? undefined : readAddresses(family, block)
  return {
    kind: 'header',
    header: { version: 2, command, ...(addresses !== undefined && { addresses }), ...fields },
    bytes: length,
  }
}

function commandOf(versionAndCommand: number): ProxyHeader['command'] | undefined {
  if (versionAndCommand === 0x20) return 'local'
  return versionAndCommand === 0x21 ? 'proxy' : undefined
}

function readAddresses(family: number, block: Uint8Array): ProxyAddresses | undefined {
  if (family !== FamilyV2.ipv4 && family !== FamilyV2.ipv6) return undefined
  const reader = new ByteReader(block)
  const size = family === FamilyV2.ipv4 ? 4 : 16
  const source = ipToText(reader.bytes(size))
  const destination = ipToText(reader.bytes(size))
  return {
    source: { address: source, port: reader.u16() },
    destination: { address: destination, port: reader.u16() },
  }
}

/** Undefined when the last one is longer than the rest of the header. */
function readFields(reader: ByteReader): Pick<ProxyHeader, 'alpn' | 'authority'> | undefined {
  const fields: { alpn?: string; authority?: string } = {}
  while (reader.remaining > 0) {
    const type = reader.u8()
    const value = reader.bytes(reader.u16())
    if (reader.failed) return undefined
    if (value.length === 0) continue
    const text = Buffer.from(value).toString()
    if (type === FieldV2.alpn) fields.alpn = text
    else if (type === FieldV2.authority) fields.authority = text
  }
  return fields
}
