const SMALL_BYTES = 16_384
const LARGE_BYTES = 65_536
/** So many reads in a row that a small buffer would have held make the buffer small again. */
const SMALL_READS = 64

/**
 * Bytes before and behind those that were read, for whoever passes them on to write over: what was held back from the read
 * before, and a framing. So they leave in one piece, by one write, without having been copied.
 */
export const ROOM_BEFORE = 256
export const ROOM_BEHIND = 16

/**
 * The buffer that one connection reads into. It is reused for each read: 16 KB hold what a live stream brings at a time;
 * while reads fill it, which they do on bulk and on a busy machine, 64 KB move half as much again per CPU-second.
 */
export class ReadBuffer {
  #buffer: Buffer = roomyBuffer(SMALL_BYTES)
  #smallReads = 0

  /** A view with room around it. */
  get current(): Buffer {
    return this.#buffer
  }

  /** Told of each read; afterwards `current` may be another buffer. Bytes of the last one stay as they are. */
  wasRead(bytes: number): void {
    if (this.#buffer.length === SMALL_BYTES) {
      if (bytes === SMALL_BYTES) this.#buffer = roomyBuffer(LARGE_BYTES)
      return
    }
    this.#smallReads = bytes < SMALL_BYTES ? this.#smallReads + 1 : 0
    if (this.#smallReads < SMALL_READS) return
    this.#smallReads = 0
    this.#buffer = roomyBuffer(SMALL_BYTES)
  }
}

/** A copy of the bytes with room around it. */
export function roomyCopy(bytes: Uint8Array): Buffer {
  const copy = roomyBuffer(bytes.length)
  copy.set(bytes)
  return copy
}

function roomyBuffer(bytes: number): Buffer {
  return Buffer.allocUnsafeSlow(ROOM_BEFORE + bytes + ROOM_BEHIND).subarray(ROOM_BEFORE, ROOM_BEFORE + bytes)
}
