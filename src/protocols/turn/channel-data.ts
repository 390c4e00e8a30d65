/** Bytes of a ChannelData header: number and length (RFC 8656 §12.4). */
export const channelHeaderBytes = 4

/** The lowest channel number. */
export const minChannel = 0x4000
/** The highest that RFC 8656 §12 lets a client bind. */
export const maxChannel = 0x4fff
/** The highest of RFC 5766 §11, which older clients use; only for ports that carry nothing but TURN. */
export const maxChannel5766 = 0x7ffe

/** A ChannelData message: its channel and a view of its payload. */
export interface ChannelData {
  readonly channel: number
  readonly data: Uint8Array
}

/** Whether a message that begins with this byte is ChannelData, on a port that carries nothing but TURN. */
export function isChannelData(firstByte: number | undefined): boolean {
  return firstByte !== undefined && firstByte >>> 6 === 1
}

/**
 * Reads ChannelData out of a datagram or one frame of a stream. What follows the payload is padding, or a tail that is
 * ignored; `undefined` when there are fewer bytes than the length field says.
 */
export function decodeChannelData(bytes: Uint8Array): ChannelData | undefined {
  if (bytes.length < channelHeaderBytes) return undefined
  const length = ((bytes[2] as number) << 8) | (bytes[3] as number)
  if (bytes.length < channelHeaderBytes + length) return undefined
  const channel = ((bytes[0] as number) << 8) | (bytes[1] as number)
  return { channel, data: bytes.subarray(channelHeaderBytes, channelHeaderBytes + length) }
}

/**
 * Writes ChannelData. A stream needs padding to a multiple of four, which the length does not count; datagrams go without.
 *
 * @throws RangeError for more than 65,535 bytes
 */
export function encodeChannelData(channel: number, data: Uint8Array, isPadded: boolean): Buffer {
  if (data.length > 0xffff) throw new RangeError(`ChannelData holds at most 65,535 bytes, not ${data.length}`)
  const padding = isPadded ? -data.length & 3 : 0
  const message = Buffer.allocUnsafe(channelHeaderBytes + data.length + padding)
  message.writeUInt16BE(channel, 0)
  message.writeUInt16BE(data.length, 2)
  message.set(data, channelHeaderBytes)
  // RFC 8656 §12.5 lets the padding hold anything; zeros give away no memory (CVE-2020-4067).
  message.fill(0, channelHeaderBytes + data.length)
  return message
}
