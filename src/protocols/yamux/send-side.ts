import { Flag, FrameType, initialWindowBytes, maxFrameBytes } from './frame.ts'
import type { SendHost } from './stream-host.ts'
import type { TurnTaker } from './send-turns.ts'

/** What the sending half tells its stream. */
export interface SendSideEvents {
  /** All that was held has gone. */
  onDrained(): void
  /** FIN is on its way. */
  onFinished(): void
}

/**
 * The sending half of a stream. What the peer's window and the carrier take leaves at once; of the rest it holds the memory of
 * the writer until its turn comes. It is one of the session's turn takers at most once.
 */
export class SendSide implements TurnTaker {
  readonly #id: number
  readonly #host: SendHost
  readonly #events: SendSideEvents
  #windowBytes = initialWindowBytes
  readonly #held: Uint8Array[] = []
  #heldBytes = 0
  #isQueued = false
  #owesDrain = false
  #isEnding = false
  #isFinished = false

  constructor(id: number, host: SendHost, events: SendSideEvents) {
    this.#id = id
    this.#host = host
    this.#events = events
  }

  get isEnding(): boolean {
    return this.#isEnding
  }

  get isFinished(): boolean {
    return this.#isFinished
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  get nextFrameBytes(): number {
    const first = this.#held[0]
    if (first === undefined) return 0
    return Math.min(first.length, this.#windowBytes, maxFrameBytes)
  }

  /** As `ByteStream.write`; undefined when it would hold more than it may. */
  write(bytes: Uint8Array): boolean | undefined {
    const { limits, turns } = this.#host
    const isAgainstAdvice = this.#owesDrain
    let from = 0
    while (from < bytes.length && this.#held.length === 0 && this.#windowBytes > 0) {
      const length = Math.min(bytes.length - from, this.#windowBytes, maxFrameBytes)
      if (!turns.isFree(length)) break
      this.#send(from === 0 && length === bytes.length ? bytes : bytes.subarray(from, from + length))
      from += length
    }
    if (from < bytes.length) {
      if (isAgainstAdvice && this.#heldBytes + bytes.length - from > limits.maxHeldBytes) return undefined
      this.#hold(from === 0 ? bytes : bytes.subarray(from))
    }
    if (this.#held.length === 0) return true
    this.#owesDrain = true
    return false
  }

  /** FIN, behind what is held. */
  end(): void {
    this.#isEnding = true
    if (this.#held.length === 0) this.#finish()
  }

  /** Drops what is held; nothing is sent any more. */
  stop(): void {
    this.#isEnding = true
    this.#isFinished = true
    this.#owesDrain = false
    this.#held.length = 0
    this.#heldBytes = 0
  }

  /** The peer grants more; false when that is more than the protocol can count. */
  grant(bytes: number): boolean {
    this.#windowBytes += bytes
    if (this.#windowBytes > 0xffff_ffff) return false
    this.#join()
    return true
  }

  takeTurn(): void {
    this.#isQueued = false
    const bytes = this.nextFrameBytes
    const first = this.#held[0]
    if (bytes === 0 || first === undefined) return
    this.#heldBytes -= bytes
    if (bytes === first.length) this.#held.shift()
    else this.#held[0] = first.subarray(bytes)
    this.#send(bytes === first.length ? first : first.subarray(0, bytes))
    if (this.#held.length > 0) this.#join()
    else this.#emptied()
  }

  #send(bytes: Uint8Array): void {
    this.#windowBytes -= bytes.length
    this.#host.outbox.data(this.#id, bytes)
  }

  #hold(bytes: Uint8Array): void {
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
    this.#join()
  }

  #join(): void {
    if (this.#isQueued || this.nextFrameBytes === 0) return
    this.#isQueued = true
    this.#host.turns.join(this)
    if (!this.#host.outbox.isBusy) this.#host.soon()
  }

  #emptied(): void {
    if (this.#isEnding) this.#finish()
    if (!this.#owesDrain) return
    this.#owesDrain = false
    this.#events.onDrained()
  }

  #finish(): void {
    if (this.#isFinished) return
    this.#isFinished = true
    this.#host.outbox.frame(FrameType.windowUpdate, Flag.fin, this.#id, 0)
    this.#events.onFinished()
  }
}
