import { FrameType, headerBytes, knownFlags } from './frame.ts'

/** Told of what a `FrameReader` finds. */
export interface FrameHandler {
  /** A frame begins; of a data frame `length` bytes of payload follow by `onPayload`, in as many pieces as they arrive. */
  onFrame(type: FrameType, flags: number, streamId: number, length: number): void
  /** Bytes of the payload, a view; false when their memory is kept. */
  onPayload(bytes: Uint8Array): boolean
  /** The data frame is over, also one without payload. */
  onPayloadEnd(): void
  /** What arrives is not yamux; nothing is read after it. */
  onFault(reason: string): void
}

/** Takes a session's bytes apart, cut anywhere. It holds at most a header; payloads are handed on as they come. */
export class FrameReader {
  readonly #handler: FrameHandler
  readonly #partial = new Uint8Array(headerBytes)
  #partialBytes = 0
  #payloadLeft = 0
  #isStopped = false

  constructor(handler: FrameHandler) {
    this.#handler = handler
  }

  /** Nothing is read any more. */
  stop(): void {
    this.#isStopped = true
  }

  /** False when the memory of a part of the chunk is kept. */
  read(chunk: Uint8Array): boolean {
    const end = chunk.length
    let at = 0
    let isFree = true
    while (at < end && !this.#isStopped) {
      if (this.#payloadLeft > 0) {
        const until = Math.min(end, at + this.#payloadLeft)
        this.#payloadLeft -= until - at
        const bytes = at === 0 && until === end ? chunk : chunk.subarray(at, until)
        at = until
        if (!this.#handler.onPayload(bytes)) isFree = false
        if (this.#payloadLeft === 0 && !this.#isStopped) this.#handler.onPayloadEnd()
      } else if (this.#partialBytes === 0 && end - at >= headerBytes) {
        this.#header(chunk, at)
        at += headerBytes
      } else {
        this.#partial[this.#partialBytes++] = chunk[at++] as number
        if (this.#partialBytes === headerBytes) {
          this.#partialBytes = 0
          this.#header(this.#partial, 0)
        }
      }
    }
    return isFree
  }

  #header(bytes: Uint8Array, at: number): void {
    const version = bytes[at] as number
    const type = bytes[at + 1] as number
    const flags = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
    if (version !== 0) return this.#fault(`version ${version}`)
    if (type > FrameType.goAway) return this.#fault(`frame type ${type}`)
    if ((flags & ~knownFlags) !== 0) return this.#fault(`flags 0x${flags.toString(16)}`)
    const length = u32(bytes, at + 8)
    if (type === FrameType.data) this.#payloadLeft = length
    this.#handler.onFrame(type as FrameType, flags, u32(bytes, at + 4), length)
    if (type === FrameType.data && length === 0 && !this.#isStopped) this.#handler.onPayloadEnd()
  }

  #fault(reason: string): void {
    this.#isStopped = true
    this.#handler.onFault(reason)
  }
}

function u32(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
  const low = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
  return high * 65_536 + low
}
