/** First word of a control packet: the flag, the type and a subtype that is 0. draft-sharabayko-srt-01 §3.2 */
export const ControlWord = {
  handshake: 0x8000_0000,
  shutdown: 0x8005_0000,
} as const

/** Where a packet names the socket that it is for. */
export const DESTINATION_OFFSET = 12
/** Bytes before what a packet carries. */
export const HEADER_BYTES = 16

/** The first word; undefined for what is too short for a packet. */
export function firstWord(packet: Uint8Array): number | undefined {
  return packet.length < HEADER_BYTES ? undefined : u32At(packet, 0)
}

/** The socket that a packet is for; of a packet of at least `HEADER_BYTES`. */
export function destinationOf(packet: Uint8Array): number {
  return u32At(packet, DESTINATION_OFFSET)
}

/** Tells a socket that its peer is gone. */
export function shutdownPacket(destination: number, timestampUs: number): Buffer {
  // libsrt sends, and some expect, four bytes behind the header.
  const packet = Buffer.alloc(HEADER_BYTES + 4)
  packet.writeUInt32BE(ControlWord.shutdown, 0)
  packet.writeUInt32BE(timestampUs >>> 0, 8)
  packet.writeUInt32BE(destination, DESTINATION_OFFSET)
  return packet
}

function u32At(bytes: Uint8Array, offset: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(offset, offset + 4)
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
}
