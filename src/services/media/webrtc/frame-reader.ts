/** Bytes of the length that stands before each datagram on a stream (RFC 4571 §2). */
const headerBytes = 2

/** Takes datagrams out of a stream that carries them framed by RFC 4571, in chunks that are cut anywhere. */
export class FrameReader {
  /** The beginning of a frame whose end has not come. */
  #pending: Uint8Array = empty

  /**
   * Calls `onFrame` for every whole frame, in views that are valid during the call. False when one is announced that is
   * longer than `maxBytes`, asked before each frame; then nothing more can be read.
   */
  push(chunk: Uint8Array, maxBytes: () => number, onFrame: (frame: Uint8Array) => void): boolean {
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    let at = 0
    while (bytes.length - at >= headerBytes) {
      const length = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
      if (length > maxBytes()) return false
      const end = at + headerBytes + length
      if (end > bytes.length) break
      onFrame(bytes.subarray(at + headerBytes, end))
      at = end
    }
    this.#pending = at === bytes.length ? empty : Buffer.from(bytes.subarray(at))
    return true
  }
}

/** A datagram as it stands on a stream. The bytes are copied. */
export function framed(datagram: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + datagram.length)
  frame.writeUInt16BE(datagram.length)
  frame.set(datagram, headerBytes)
  return frame
}

const empty = new Uint8Array(0)
