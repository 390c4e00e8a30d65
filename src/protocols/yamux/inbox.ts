/** Blocks that small pieces are gathered in, at first and at most. */
const firstBlockBytes = 512
const mostBlockBytes = 32_768

/**
 * What arrived for a reader that stands still. A piece is kept as it is when it makes up half of its memory or more;
 * otherwise it is copied, small ones into common blocks, so that they neither pin a large buffer nor cost an object each.
 */
export class Inbox {
  readonly #pieces: Uint8Array[] = []
  #bytes = 0
  /** The last piece is the beginning of this block, which has room behind it. */
  #block: Uint8Array | undefined
  #blockFill = 0
  #nextBlockBytes = firstBlockBytes

  get bytes(): number {
    return this.#bytes
  }

  /** False when the memory itself is kept. */
  push(piece: Uint8Array): boolean {
    const length = piece.length
    this.#bytes += length
    if (length > firstBlockBytes && length * 2 >= piece.buffer.byteLength) {
      this.#block = undefined
      this.#pieces.push(piece)
      return false
    }
    const block = this.#block
    const room = block === undefined ? 0 : block.length - this.#blockFill
    if (block !== undefined && length <= room) {
      block.set(piece, this.#blockFill)
      this.#blockFill += length
      this.#pieces[this.#pieces.length - 1] = block.subarray(0, this.#blockFill)
      return true
    }
    this.#begin(piece)
    return true
  }

  /** Puts a copy before all the rest. */
  unshift(piece: Uint8Array): void {
    if (piece.length === 0) return
    this.#bytes += piece.length
    this.#pieces.unshift(Uint8Array.from(piece))
  }

  shift(): Uint8Array | undefined {
    const piece = this.#pieces.shift()
    if (piece === undefined) return undefined
    this.#bytes -= piece.length
    // It is its reader's now, the room behind it as well.
    if (this.#pieces.length === 0) {
      this.#block = undefined
      this.#nextBlockBytes = firstBlockBytes
    }
    return piece
  }

  clear(): void {
    this.#pieces.length = 0
    this.#bytes = 0
    this.#block = undefined
  }

  #begin(piece: Uint8Array): void {
    const block = new Uint8Array(Math.max(piece.length, this.#nextBlockBytes))
    this.#nextBlockBytes = Math.min(this.#nextBlockBytes * 2, mostBlockBytes)
    block.set(piece)
    this.#block = block
    this.#blockFill = piece.length
    this.#pieces.push(block.subarray(0, piece.length))
  }
}
