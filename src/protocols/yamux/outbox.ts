import type { YamuxCarrier } from './carrier.ts'
import { type FrameType, FrameType as Types, headerBytes, writeHeader } from './frame.ts'

/** Small frames are gathered up to this. */
const gatherBytes = 65_536
/** Once so much is gathered, it is not held until the end of the turn. */
const flushBytes = 32_768
/** Room for the largest data frame behind some small ones. */
const bufferBytes = 69_632

/**
 * Gathering buffers that nobody uses. A session has one only from its first frame until that has been written, so an idle
 * session holds none.
 */
const spareBuffers: Uint8Array[] = []
const mostSpareBuffers = 16

/**
 * The way out: gathers frames into one write per turn, or sooner when they are many, and writes nothing while the carrier is
 * busy. Payloads are copied behind their headers, large ones too: over TCP that costs less than a second write or a pair of
 * buffers in one (measured with 64 KB: 1.3, 1.0 and 1.2 GB per CPU-second of two ends).
 */
export class Outbox {
  readonly #carrier: YamuxCarrier
  /** Asks for a flush at the end of the turn. */
  readonly #onGathered: () => void
  #buffer: Uint8Array | undefined
  #fill = 0
  /** The carrier keeps it until it has drained. */
  #lentBuffer: Uint8Array | undefined
  #isBusy = false
  #answers = 0

  constructor(carrier: YamuxCarrier, onGathered: () => void) {
    this.#carrier = carrier
    this.#onGathered = onGathered
  }

  get isBusy(): boolean {
    return this.#isBusy
  }

  /** Frames that the peer asked for and the carrier has not taken yet. */
  get answers(): number {
    return this.#answers
  }

  /** A frame without payload. It is always taken: there are few for each stream. */
  frame(type: FrameType, flags: number, streamId: number, length: number): void {
    writeHeader(this.#reserve(headerBytes), this.#fill, type, flags, streamId, length)
    this.#fill += headerBytes
  }

  /** The same for one that the peer provokes at will. */
  answer(type: FrameType, flags: number, streamId: number, length: number): void {
    this.frame(type, flags, streamId, length)
    this.#answers++
  }

  /** Whether a small payload can be gathered, also while the carrier is busy. */
  hasRoom(payloadBytes: number): boolean {
    const bytes = headerBytes + payloadBytes
    if (this.#fill + bytes <= gatherBytes) return true
    this.flush()
    return this.#fill + bytes <= gatherBytes
  }

  /** A data frame, copied: one that `hasRoom`, or any while the carrier is not busy. */
  data(streamId: number, payload: Uint8Array): void {
    const bytes = headerBytes + payload.length
    if (this.#fill + bytes > bufferBytes) this.flush()
    const buffer = this.#reserve(bytes)
    writeHeader(buffer, this.#fill, Types.data, 0, streamId, payload.length)
    buffer.set(payload, this.#fill + headerBytes)
    this.#fill += bytes
    if (this.#fill >= flushBytes) this.flush()
  }

  /** Writes what is gathered, unless the carrier is busy. */
  flush(): void {
    const buffer = this.#buffer
    if (this.#isBusy || buffer === undefined || this.#fill === 0) return
    const bytes = buffer.subarray(0, this.#fill)
    this.#fill = 0
    this.#answers = 0
    this.#written(buffer, this.#carrier.write(bytes))
  }

  drained(): void {
    this.#isBusy = false
    if (this.#lentBuffer !== undefined) giveSpare(this.#lentBuffer)
    this.#lentBuffer = undefined
  }

  #written(buffer: Uint8Array, isTaken: boolean): void {
    this.#buffer = undefined
    if (isTaken) {
      giveSpare(buffer)
    } else {
      this.#isBusy = true
      this.#lentBuffer = buffer
    }
  }

  /** The buffer, with so much room behind what is gathered. */
  #reserve(bytes: number): Uint8Array {
    const buffer = this.#buffer
    if (buffer === undefined) {
      this.#onGathered()
      return (this.#buffer = spareBuffers.pop() ?? Buffer.allocUnsafeSlow(bufferBytes))
    }
    if (this.#fill + bytes <= buffer.length) return buffer
    // Frames without payload come to this while the carrier is busy.
    const larger = Buffer.allocUnsafeSlow(Math.max(buffer.length * 2, this.#fill + bytes))
    larger.set(buffer.subarray(0, this.#fill))
    giveSpare(buffer)
    this.#buffer = larger
    return larger
  }
}

function giveSpare(buffer: Uint8Array): void {
  if (buffer.length === bufferBytes && spareBuffers.length < mostSpareBuffers) spareBuffers.push(buffer)
}
