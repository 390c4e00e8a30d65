/** Messages of a handshake that are told apart here (RFC 6347 §4.3.2). */
export const HandshakeType = {
  clientHello: 1,
  serverHello: 2,
  helloVerifyRequest: 3,
  clientKeyExchange: 16,
  finished: 20,
} as const

/** One message of a handshake; views of what was received. */
export interface HandshakeMessage {
  readonly type: number
  readonly sequence: number
  readonly body: Uint8Array
  /** All of it, with its header. */
  readonly bytes: Uint8Array
}

export const handshakeHeaderBytes = 12

/**
 * The messages in a record. Undefined when one of them is cut or a fragment: what clients send us fits a datagram, and of
 * who sends fragments something would have to be kept.
 */
export function readHandshakeMessages(record: Uint8Array): readonly HandshakeMessage[] | undefined {
  const messages: HandshakeMessage[] = []
  for (let at = 0; at < record.length; ) {
    const from = at + handshakeHeaderBytes
    if (from > record.length) return undefined
    const length = u24(record, at + 1)
    const isWhole = u24(record, at + 6) === 0 && u24(record, at + 9) === length
    if (!isWhole || from + length > record.length) return undefined
    messages.push({
      type: record[at] as number,
      sequence: ((record[at + 4] as number) << 8) | (record[at + 5] as number),
      body: record.subarray(from, from + length),
      bytes: record.subarray(at, from + length),
    })
    at = from + length
  }
  return messages
}

/** Writes a message that is not fragmented. */
export function writeHandshakeMessage(type: number, sequence: number, body: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(handshakeHeaderBytes + body.length)
  bytes[0] = type
  bytes.writeUIntBE(body.length, 1, 3)
  bytes.writeUInt16BE(sequence, 4)
  bytes.writeUIntBE(0, 6, 3)
  bytes.writeUIntBE(body.length, 9, 3)
  bytes.set(body, handshakeHeaderBytes)
  return bytes
}

function u24(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number)
}
