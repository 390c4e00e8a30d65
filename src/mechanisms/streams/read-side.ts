import type { ByteSink } from '../../foundation/byte-stream.ts'

/** Where the bytes of a `ReadSide` come from. */
export interface ReadSource {
  pause(): void
  resume(): void
}

/**
 * The reading half of a `ByteStream` that stands upon something else: the sink, what was put back or arrived while
 * the stream was paused, and an end that has to wait for it. What is held is bounded by the source, which is paused
 * meanwhile.
 */
export class ReadSide {
  readonly #source: ReadSource
  #sink: ByteSink | undefined
  #isPaused = true
  /** Read before anything of the source; ours. */
  readonly #held: Uint8Array[] = []
  #end: 'none' | 'held' | 'told' = 'none'
  /** It is to be closed, soon or when what is held has been read. */
  #closing: { readonly error: Error | undefined } | undefined
  /** Nothing is handed on any more but the close. */
  #isOver = false
  #isClosed = false

  constructor(source: ReadSource) {
    this.#source = source
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** What waits for the sink to resume. */
  get heldBytes(): number {
    return this.#held.reduce((sum, bytes) => sum + bytes.length, 0)
  }

  attach(sink: ByteSink): void {
    this.#sink = sink
    if (!this.#isClosed) return
    queueMicrotask(() => {
      if (this.#sink === sink) sink.onClose(this.#closing?.error)
    })
  }

  pause(): void {
    this.#isPaused = true
    this.#source.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#giveHeld()
    if (!this.#isPaused && this.#closing === undefined) this.#source.resume()
  }

  unread(bytes: Uint8Array): void {
    if (bytes.length > 0 && !this.#isOver) this.#held.unshift(Buffer.from(bytes))
  }

  /**
   * Hands bytes to the sink, or holds them while it is paused; `isOurs` says that they may be held as they are. The
   * answer is that of `onBytes`.
   */
  deliver(bytes: Uint8Array, isOurs: boolean): boolean {
    if (bytes.length === 0 || this.#isOver || this.#end !== 'none') return true
    if (!this.#isPaused && this.#held.length === 0 && this.#sink !== undefined)
      return this.#sink.onBytes(bytes)
    this.#held.push(isOurs ? bytes : Buffer.from(bytes))
    return !isOurs
  }

  /** The peer has ended its side. */
  end(): void {
    if (this.#isOver || this.#end !== 'none') return
    this.#end = 'held'
    if (!this.#isPaused) this.#giveHeld()
  }

  drain(): void {
    if (!this.#isOver) this.#sink?.onDrain()
  }

  /** Both sides have ended in order: told soon, or when what is held has been read. */
  finish(): void {
    if (this.#closing !== undefined) return
    this.#closing = { error: undefined }
    this.#closeWhenRead()
  }

  /** Both sides are over, told soon; what is held is lost. */
  close(error: Error | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#held.length = 0
    this.#closing = { error }
    queueMicrotask(() => {
      this.#isClosed = true
      this.#sink?.onClose(error)
    })
  }

  #giveHeld(): void {
    while (!this.#isPaused && this.#sink !== undefined) {
      const bytes = this.#held.shift()
      if (bytes === undefined) break
      this.#sink.onBytes(bytes)
    }
    if (this.#isPaused || this.#isOver || this.#held.length > 0) return
    if (this.#end === 'held') {
      this.#end = 'told'
      this.#sink?.onEnd()
    }
    this.#closeWhenRead()
  }

  #closeWhenRead(): void {
    if (this.#closing !== undefined && this.#held.length === 0 && this.#end !== 'held') {
      this.close(this.#closing.error)
    }
  }
}
