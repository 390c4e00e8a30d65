import { stunHeaderBytes } from '../stun/index.ts'
import { channelHeaderBytes, isChannelData } from './channel-data.ts'

/** The most bytes that one frame of a stream has: a STUN message of full length. */
export const maxFrameBytes: number = stunHeaderBytes + 0xffff

/**
 * Cuts a TCP or TLS stream into STUN messages and ChannelData (RFC 8656 §12.5, RFC 8489 §6.2.2). Holds at most one frame.
 *
 * @example
 *   for (const frame of framer.push(chunk)) receive(frame)
 *   if (framer.isBroken) socket.destroy()
 */
export class StreamFramer {
  /** Something that is neither STUN nor ChannelData, or a frame over the limit, has come; nothing after it is read. */
  isBroken = false
  /** Longer frames break the stream. May be raised once the other end is known. */
  maxBytes: number
  #held: Buffer = empty
  /** How much of `#held` is filled. */
  #filled = 0
  #rest: Uint8Array = empty
  #isStopped = false

  /** @param maxBytes of one frame */
  constructor(maxBytes: number = maxFrameBytes) {
    this.maxBytes = maxBytes
  }

  /**
   * The frames that a chunk completes, with a ChannelData frame's padding. They are views of the chunk or of memory of
   * the framer, valid until the next `push`. Stops early when `stop` is called between two frames.
   */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    this.#rest = chunk
    // Also when the limit was raised since.
    if (this.isBroken) return
    if (this.#filled > 0) {
      const frame = this.#complete()
      if (frame === undefined) return
      yield frame
    }
    while (!this.#isStopped && !this.isBroken) {
      const bytes = this.#rest
      const size = frameBytes(bytes)
      if (size === undefined || size > this.maxBytes) this.isBroken = true
      else if (size === 0 || size > bytes.length) {
        this.#hold(bytes, size)
        return
      } else {
        this.#rest = bytes.subarray(size)
        yield bytes.subarray(0, size)
      }
    }
  }

  /**
   * Ends the framing: gives the bytes behind the frame that was yielded last, also those that `push` has kept as the
   * begin of another. After a ConnectionBind they are no messages any more (RFC 6062 §5.4).
   */
  stop(): Uint8Array {
    this.#isStopped = true
    const rest =
      this.#filled === 0 ? this.#rest : Buffer.concat([this.#held.subarray(0, this.#filled), this.#rest])
    this.#rest = empty
    this.#held = empty
    this.#filled = 0
    return rest
  }

  /** Bytes of an unfinished frame that are kept. */
  get heldBytes(): number {
    return this.#filled
  }

  /** Completes the held frame from the chunk. */
  #complete(): Uint8Array | undefined {
    // Without its first four bytes a frame's size is not known.
    while (this.#filled < sizeBytes && this.#rest.length > 0) this.#take(1)
    const size = frameBytes(this.#held.subarray(0, this.#filled))
    if (size === undefined || size > this.maxBytes) {
      this.isBroken = true
      return undefined
    }
    if (size === 0) return undefined
    this.#reserve(size)
    this.#take(Math.min(size - this.#filled, this.#rest.length))
    if (this.#filled < size) return undefined
    this.#filled = 0
    const frame = this.#held
    this.#held = empty
    return frame.subarray(0, size)
  }

  #hold(bytes: Uint8Array, size: number): void {
    this.#rest = empty
    if (bytes.length === 0) return
    this.#reserve(size === 0 ? sizeBytes : size)
    this.#held.set(bytes)
    this.#filled = bytes.length
  }

  #take(count: number): void {
    this.#held.set(this.#rest.subarray(0, count), this.#filled)
    this.#filled += count
    this.#rest = this.#rest.subarray(count)
  }

  #reserve(size: number): void {
    if (this.#held.length >= size) return
    const held = Buffer.allocUnsafe(size)
    held.set(this.#held.subarray(0, this.#filled))
    this.#held = held
  }
}

const empty: Buffer = Buffer.alloc(0)

/** So many bytes tell how long a frame is. */
const sizeBytes = 4

/** How many bytes the frame takes that begins here; 0 when that cannot be told yet, undefined when it is none. */
function frameBytes(bytes: Uint8Array): number | undefined {
  const [first] = bytes
  if (first === undefined) return 0
  const isChannel = isChannelData(first)
  if (!isChannel && first >>> 6 !== 0) return undefined
  if (bytes.length < sizeBytes) return 0
  const length = ((bytes[2] as number) << 8) | (bytes[3] as number)
  if (isChannel) return channelHeaderBytes + ((length + 3) & ~3)
  return length % 4 === 0 ? stunHeaderBytes + length : undefined
}
