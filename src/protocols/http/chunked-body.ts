export type ChunkedProgress =
  | { readonly kind: 'more' }
  /** `consumed` bytes of the last input belong to the body with its framing; whatever follows does not. */
  | { readonly kind: 'end'; readonly consumed: number }
  | { readonly kind: 'bad'; readonly reason: string }

const MORE: ChunkedProgress = { kind: 'more' }

/** Most bytes of a chunk's size line, with its extensions, and of the trailer section. */
const MAX_LINE_BYTES = 4096
const MAX_TRAILER_BYTES = 16_384
/** A chunk size has at most this many hexadecimal digits, so that it stays an exact number. */
const MAX_SIZE_DIGITS = 12

const CR = 13
const LF = 10
const SEMICOLON = 59
const TAB = 9
const SPACE = 32

type State =
  | 'size'
  | 'extension'
  | 'size-lf'
  | 'data'
  | 'data-cr'
  | 'data-lf'
  | 'trailer-start'
  | 'trailer'
  | 'trailer-lf'
  | 'end-lf'
  | 'done'

/** Where in an input the data of the body is now. */
export interface ChunkedData {
  readonly start: number
  readonly end: number
  readonly progress: ChunkedProgress
}

/**
 * Takes the chunked framing out of a body (RFC 9112 §7.1), over inputs that are cut anywhere. Bare line feeds, sizes
 * without digits and endless lines are refused.
 */
export class ChunkedBody {
  #state: State = 'size'
  #size = 0
  #digits = 0
  /** Data bytes of the current chunk that are still to come. */
  #left = 0
  /** Bytes of the current size line or of the trailer section. */
  #lineBytes = 0

  /**
   * Moves the data of the body together within `bytes`, over the framing, and says where it is. The first piece stays where it
   * is, so that an input with one chunk, as live bodies come, is not moved at all.
   */
  decode(bytes: Uint8Array): ChunkedData {
    let at = 0
    let start = 0
    let end = 0
    let progress = MORE
    while (at < bytes.length) {
      if (this.#state === 'data') {
        const pieceEnd = Math.min(bytes.length, at + this.#left)
        if (end === start) start = end = at
        else bytes.copyWithin(end, at, pieceEnd)
        end += pieceEnd - at
        this.#left -= pieceEnd - at
        at = pieceEnd
        if (this.#left === 0) this.#state = 'data-cr'
        continue
      }
      const fault = this.#framingByte(bytes[at] ?? 0)
      if (fault !== undefined) {
        progress = { kind: 'bad', reason: fault }
        break
      }
      at++
      if (this.#state === 'done') {
        progress = { kind: 'end', consumed: at }
        break
      }
    }
    return { start, end, progress }
  }

  /** Takes one byte that is not data; gives the reason when it cannot stand there. */
  #framingByte(byte: number): string | undefined {
    switch (this.#state) {
      case 'size':
        return this.#sizeByte(byte)
      case 'extension':
        if (byte === CR) this.#state = 'size-lf'
        else if (byte === LF) return 'bare line feed in a chunk size'
        else if (++this.#lineBytes > MAX_LINE_BYTES) return 'chunk extension too long'
        return undefined
      case 'size-lf':
        if (byte !== LF) return 'carriage return without line feed'
        this.#beginChunk()
        return undefined
      case 'data-cr':
        if (byte !== CR) return 'chunk longer than its size'
        this.#state = 'data-lf'
        return undefined
      case 'data-lf':
        if (byte !== LF) return 'carriage return without line feed'
        this.#state = 'size'
        this.#size = this.#digits = this.#lineBytes = 0
        return undefined
      case 'trailer-start':
      case 'trailer':
        if (++this.#lineBytes > MAX_TRAILER_BYTES) return 'trailers too long'
        if (byte === LF) return 'bare line feed in the trailers'
        if (byte === CR) this.#state = this.#state === 'trailer' ? 'trailer-lf' : 'end-lf'
        else this.#state = 'trailer'
        return undefined
      case 'trailer-lf':
        if (byte !== LF) return 'carriage return without line feed'
        this.#state = 'trailer-start'
        return undefined
      case 'end-lf':
        if (byte !== LF) return 'carriage return without line feed'
        this.#state = 'done'
        return undefined
      case 'data':
      case 'done':
        return 'body has ended'
      default:
        return this.#state satisfies never
    }
  }

  #sizeByte(byte: number): string | undefined {
    const digit = hexDigit(byte)
    if (digit >= 0) {
      if (++this.#digits > MAX_SIZE_DIGITS) return 'chunk size too long'
      this.#size = this.#size * 16 + digit
      return undefined
    }
    if (this.#digits === 0) return 'chunk size missing'
    if (byte === CR) this.#state = 'size-lf'
    // Some origins pad the size with blanks; what follows is read like an extension.
    else if (byte === SEMICOLON || byte === SPACE || byte === TAB) this.#state = 'extension'
    else return 'bad chunk size'
    return undefined
  }

  #beginChunk(): void {
    this.#left = this.#size
    this.#state = this.#size === 0 ? 'trailer-start' : 'data'
    this.#lineBytes = 0
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const lower = byte | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}
