/** Kinds of DTLS records (RFC 6347 §4.1). */
export const ContentType = {
  changeCipherSpec: 20,
  alert: 21,
  handshake: 22,
  applicationData: 23,
} as const

/** DTLS 1.0, under which the messages before the version is settled go (RFC 6347 §4.2.1), and 1.2. */
export const DtlsVersion = { v10: 0xfeff, v12: 0xfefd } as const

/** One record of a datagram; the body is a view of it. */
export interface DtlsRecord {
  readonly type: number
  readonly epoch: number
  /** Up to 2^48 - 1. */
  readonly sequence: number
  readonly body: Uint8Array
}

export const recordHeaderBytes = 13

/** The records of a datagram, sixteen at most, up to the first that is not whole or no DTLS. Never throws. */
export function readRecords(datagram: Uint8Array): readonly DtlsRecord[] {
  const records: DtlsRecord[] = []
  for (let at = 0; at + recordHeaderBytes <= datagram.length && records.length < maxRecords; ) {
    const from = at + recordHeaderBytes
    const to = from + u16(datagram, at + 11)
    if (to > datagram.length || datagram[at + 1] !== 0xfe) break
    records.push({
      type: datagram[at] as number,
      epoch: u16(datagram, at + 3),
      sequence: readSequence(datagram, at + 5),
      body: datagram.subarray(from, to),
    })
    at = to
  }
  return records
}

/** Writes a record that is not encrypted. */
export function writeRecord(
  { type, epoch, sequence, body }: DtlsRecord,
  version: number = DtlsVersion.v12,
): Buffer {
  const bytes = Buffer.allocUnsafe(recordHeaderBytes + body.length)
  writeRecordHeader(bytes, { type, epoch, sequence, version, length: body.length })
  bytes.set(body, recordHeaderBytes)
  return bytes
}

interface RecordHeader {
  readonly type: number
  readonly version: number
  readonly epoch: number
  readonly sequence: number
  readonly length: number
}

export function writeRecordHeader(
  into: Buffer,
  { type, version, epoch, sequence, length }: RecordHeader,
): void {
  into[0] = type
  into.writeUInt16BE(version, 1)
  into.writeUInt16BE(epoch, 3)
  into.writeUIntBE(sequence, 5, 6)
  into.writeUInt16BE(length, 11)
}

/** What no client bundles more of; a flight of five messages is the most. */
const maxRecords = 16

function readSequence(bytes: Uint8Array, at: number): number {
  const low = ((u16(bytes, at + 2) << 16) | u16(bytes, at + 4)) >>> 0
  return u16(bytes, at) * 0x1_0000_0000 + low
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}
