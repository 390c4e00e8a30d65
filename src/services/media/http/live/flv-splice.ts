import type { LiveSplice, Seam, Span } from './live-splice.ts'

const HEADER_BYTES = 9
/** Most bytes that a header says it has; real ones have 9. */
const MAX_HEADER_BYTES = 1024
const TAG_HEAD_BYTES = 11
/** With the first two of the payload, which tell what carries a time from what only sets a decoder up. */
const PEEK_BYTES = 13
const SIZE_BYTES = 4
/** Between the last tag before the seam and the first one behind it, in milliseconds: about a frame. */
const SEAM_MS = 40

const SIGNATURE = [0x46, 0x4c, 0x56]
const AUDIO = 8
const VIDEO = 9
const SCRIPT = 18

/**
 * FLV. The head of each tag says where the next one begins, so a read costs a look at a few bytes, and the place of the break
 * is known to the byte. Of a tag that has begun when its origin dies the rest is sent as zeros: its size was said, and cannot
 * be taken back. Holding each tag back until it is whole would cost a buffer of its size for every viewer, all the time; and
 * it would save one frame in the rare case of a break within a tag, since origins write whole tags and the system still
 * delivers what a killed process had written. Decoders conceal that frame, and the next origin begins with a keyframe.
 *
 * Behind the seam the other body's header is dropped, and its timestamps are moved so that they go on from the last one.
 */
export class FlvSplice implements LiveSplice {
  /** The first bytes of a header, and later the head of a tag that was not whole. */
  readonly #held = new Uint8Array(PEEK_BYTES)
  #heldBytes = 0
  #state: 'header' | 'tags' | 'foreign' = 'header'
  /** Bytes until the next tag. */
  #left = 0
  /** Of them those of the header, which do not go to the viewer behind a seam. */
  #dropped = 0
  #tagBytes = 0
  #hasSeam = false
  /** The greatest timestamp that the viewer has. */
  #lastMs: number | undefined
  /** No tag behind the seam is before it. */
  #floorMs = 0
  /** What is added to timestamps behind the seam; known with the first frame. */
  #shiftMs: number | undefined

  get canResume(): boolean {
    return this.#state === 'tags' || (this.#state === 'header' && this.#hasSeam)
  }

  pass(span: Span): boolean {
    if (this.#state === 'header') this.#readHeader(span)
    if (this.#state === 'header') return true
    if (this.#state === 'foreign') return !this.#hasSeam
    this.#putHeldBack(span)
    if (this.#dropped > 0) this.#dropHeader(span)
    const { buffer, end } = span
    let at = span.start
    for (;;) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, end - at)
        this.#left -= taken
        at += taken
      }
      if (at >= end) return true
      const size = end - at < TAG_HEAD_BYTES ? undefined : u24(buffer, at + 1)
      if (size === undefined || end - at < TAG_HEAD_BYTES + Math.min(size, 2)) {
        this.#hold(span, at)
        return true
      }
      const type = byte(buffer, at) & 0x1f
      if (type !== AUDIO && type !== VIDEO && type !== SCRIPT) {
        this.#state = 'foreign'
        return !this.#hasSeam
      }
      this.#time(buffer, at, type, size)
      this.#tagBytes = TAG_HEAD_BYTES + size
      this.#left = this.#tagBytes + SIZE_BYTES
    }
  }

  takeHeld(): Uint8Array {
    const held = this.#held.slice(0, this.#state === 'tags' ? this.#heldBytes : 0)
    this.#heldBytes = 0
    return held
  }

  resume(): Seam {
    const seam = this.#restOfTag()
    this.#state = 'header'
    this.#heldBytes = this.#left = this.#dropped = 0
    this.#hasSeam = true
    this.#floorMs = ((this.#lastMs ?? 0) + SEAM_MS) >>> 0
    this.#shiftMs = undefined
    return seam
  }

  /** The size behind a tag is real: readers go by it. */
  #restOfTag(): Seam {
    const left = this.#dropped > 0 ? 0 : this.#left
    const tail = new Uint8Array(SIZE_BYTES)
    new DataView(tail.buffer).setUint32(0, this.#tagBytes)
    return { zeros: Math.max(0, left - SIZE_BYTES), tail: tail.subarray(Math.max(0, SIZE_BYTES - left)) }
  }

  /** A viewer who has no header yet gets it as it comes; behind a seam none of it is passed on. */
  #readHeader(span: Span): void {
    const taken = Math.min(HEADER_BYTES - this.#heldBytes, span.end - span.start)
    this.#held.set(span.buffer.subarray(span.start, span.start + taken), this.#heldBytes)
    this.#heldBytes += taken
    if (this.#hasSeam) span.start += taken
    const isFlv = SIGNATURE.every((letter, at) => at >= this.#heldBytes || this.#held[at] === letter)
    if (isFlv && this.#heldBytes < HEADER_BYTES) return
    const length = new DataView(this.#held.buffer).getUint32(5)
    this.#heldBytes = 0
    if (!isFlv || length < HEADER_BYTES || length > MAX_HEADER_BYTES) {
      this.#state = 'foreign'
      return
    }
    this.#state = 'tags'
    this.#left = length - HEADER_BYTES + SIZE_BYTES
    if (this.#hasSeam) this.#dropped = this.#left
    else this.#left += taken
  }

  #dropHeader(span: Span): void {
    const dropped = Math.min(this.#dropped, span.end - span.start)
    span.start += dropped
    this.#dropped -= dropped
    this.#left -= dropped
  }

  #putHeldBack(span: Span): void {
    if (this.#heldBytes === 0) return
    span.start -= this.#heldBytes
    span.buffer.set(this.#held.subarray(0, this.#heldBytes), span.start)
    this.#heldBytes = 0
  }

  #hold(span: Span, at: number): void {
    this.#held.set(span.buffer.subarray(at, span.end))
    this.#heldBytes = span.end - at
    span.end = at
  }

  #time(buffer: Uint8Array, at: number, type: number, size: number): void {
    let ms = (u24(buffer, at + 4) + byte(buffer, at + 7) * 0x1000000) >>> 0
    // Metadata of the whole stream has the time 0 also in its midst: with another one ffmpeg takes it for a subtitle.
    if (this.#hasSeam && !(type === SCRIPT && ms === 0)) {
      ms = this.#shifted(ms, isFrame(buffer, at, type, size))
      buffer[at + 4] = ms >>> 16
      buffer[at + 5] = ms >>> 8
      buffer[at + 6] = ms
      buffer[at + 7] = ms >>> 24
    }
    // Metadata may carry any time. They wrap after 49 days.
    if (type !== SCRIPT && (this.#lastMs === undefined || isBefore(this.#lastMs, ms))) this.#lastMs = ms
  }

  /** What comes before the first frame, to set decoders up, often says 0 where frames say hours. */
  #shifted(ms: number, isFrame: boolean): number {
    if (this.#shiftMs === undefined) {
      if (!isFrame) return this.#floorMs
      this.#shiftMs = this.#floorMs - ms
    }
    const shifted = (ms + this.#shiftMs) >>> 0
    return isBefore(shifted, this.#floorMs) ? this.#floorMs : shifted
  }
}

/** Whether a tag holds media, and not what sets a decoder up, in the codes of Adobe and of Enhanced RTMP. */
function isFrame(buffer: Uint8Array, at: number, type: number, size: number): boolean {
  if (type === SCRIPT || size < 2) return false
  const first = byte(buffer, at + TAG_HEAD_BYTES)
  const second = byte(buffer, at + TAG_HEAD_BYTES + 1)
  if (type === AUDIO) {
    if (first >> 4 === 9) return (first & 15) === 1
    return first >> 4 !== 10 || second !== 0
  }
  if ((first & 0x80) !== 0) return (first & 15) !== 0 && (first & 15) !== 4
  const codec = first & 15
  return !(codec === 7 || codec === 12) || second !== 0
}

/** On a clock that wraps at 32 bits. */
function isBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0
}

function u24(buffer: Uint8Array, at: number): number {
  return (byte(buffer, at) << 16) | (byte(buffer, at + 1) << 8) | byte(buffer, at + 2)
}

function byte(buffer: Uint8Array, at: number): number {
  return buffer[at] ?? 0
}
