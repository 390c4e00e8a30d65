import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import { YamuxError, YamuxErrorCode } from './errors.ts'
import { Flag, FrameType } from './frame.ts'
import { Inbox } from './inbox.ts'
import { ReceiveWindow } from './receive-window.ts'
import { SendSide, type SendSideEvents } from './send-side.ts'
import type { StreamHost } from './stream-host.ts'

/**
 * One stream of a session. The members of `ByteStream` are for its user, those after them for its session.
 *
 * `end` sends FIN and leaves the other side open. `destroy` without an error sends FIN too, which is how frp closes; what the
 * peer still sends is dropped, and once it has sent all it was granted, or after `closeTimeoutMs`, it is reset. When bytes
 * are lost by it, and with an error, `destroy` resets.
 */
export class YamuxStream implements ByteStream, SendSideEvents {
  readonly id: number
  /** The session is to look at the window. */
  isSettleDue = false
  readonly #host: StreamHost<YamuxStream>
  readonly #sending: SendSide
  readonly #window: ReceiveWindow
  #sink: ByteSink | undefined
  #inbox: Inbox | undefined
  #isPaused = true
  #isGiving = false
  #hasPeerEnded = false
  #isEndGiven = false
  /** Destroyed or reset: nothing is read or written any more. */
  #isOver = false
  #isRetired = false
  #isCloseDue = false
  #isClosed = false
  #error: Error | undefined

  constructor(id: number, host: StreamHost<YamuxStream>) {
    this.id = id
    this.#host = host
    this.#sending = new SendSide(id, host, this)
    this.#window = new ReceiveWindow(host.pool, host.limits.maxWindowBytes)
  }

  attach(sink: ByteSink): void {
    if (this.#sink === undefined) this.#host.accepted(this)
    this.#sink = sink
    if (this.#isClosed) {
      this.#isClosed = false
      this.#isCloseDue = false
      this.#closeSoon()
    } else if (!this.#isPaused) {
      this.#give()
    }
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#give()
  }

  unread(bytes: Uint8Array): void {
    if (this.#isOver || bytes.length === 0) return
    this.#inbox ??= new Inbox()
    this.#inbox.unshift(bytes)
    this.#host.kept(this, bytes.length)
  }

  write(bytes: Uint8Array): boolean {
    if (this.#sending.isEnding || bytes.length === 0) return true
    const isTaken = this.#sending.write(bytes)
    if (isTaken !== undefined) return isTaken
    const message = `stream ${this.id}: more than ${this.#host.limits.maxHeldBytes} bytes written that cannot be sent yet`
    this.destroy(new YamuxError(YamuxErrorCode.writeOverflow, message, { side: 'self' }))
    return true
  }

  end(): void {
    this.#sending.end()
  }

  destroy(error?: Error): void {
    if (this.#isOver || this.#isClosed) return
    const isLossless = error === undefined && this.#sending.heldBytes === 0
    if (isLossless) this.#sending.end()
    this.#stop(error)
    if (this.#isRetired) return
    if (!isLossless || this.#window.grantedBytes === 0) this.reset()
    else this.#host.linger(this)
  }

  /** Bytes that wait for the reader. */
  get keptBytes(): number {
    return this.#inbox?.bytes ?? 0
  }

  /** The window that the peer is given. */
  get windowBytes(): number {
    return this.#window.sizeBytes
  }

  /** A data frame begins; false when it is longer than the peer was granted. */
  expect(bytes: number): boolean {
    if (!this.#window.take(bytes)) return false
    if (this.#isOver && this.#window.grantedBytes === 0) this.reset()
    return true
  }

  /** Bytes of the data frame; false when their memory is kept. */
  receive(bytes: Uint8Array): boolean {
    // A peer that closes from one thread while another writes sends data behind its FIN; it means nothing.
    if (this.#isOver || this.#hasPeerEnded) return true
    const sink = this.#sink
    if (this.#isPaused || this.#isGiving || sink === undefined) {
      this.#inbox ??= new Inbox()
      const isFree = this.#inbox.push(bytes)
      this.#host.kept(this, bytes.length)
      return isFree
    }
    this.#isGiving = true
    const isFree = sink.onBytes(bytes)
    this.#isGiving = false
    this.#host.settleSoon(this)
    if (this.keptBytes > 0) this.#give()
    return isFree
  }

  /** The peer ended its side. A second FIN means nothing. */
  peerEnded(): void {
    if (this.#hasPeerEnded) return
    this.#hasPeerEnded = true
    this.#retireWhenBothEnded()
    this.#give()
  }

  /** The peer reset the stream. */
  peerReset(): void {
    const message = `stream ${this.id} was reset by the peer`
    this.#retire()
    this.#stop(new YamuxError(YamuxErrorCode.reset, message, { side: this.#host.peerSide, retryable: true }))
  }

  /** RST to the peer; our side is over already. */
  reset(): void {
    if (this.#isRetired) return
    this.#host.outbox.frame(FrameType.windowUpdate, Flag.rst, this.id, 0)
    this.#retire()
  }

  /** The session is over. What the peer had sent up to its FIN can still be read. */
  sessionEnded(error: Error): void {
    this.#retire()
    if (!this.#hasPeerEnded || this.#isEndGiven || this.#isOver) {
      this.#stop(error)
      return
    }
    this.#sending.stop()
    this.#error = error
  }

  grant(bytes: number): boolean {
    return this.#isOver || this.#sending.grant(bytes)
  }

  /** Gives the peer back what was read. */
  settle(nowMs: number, roundTripMs: number | undefined): boolean {
    if (this.#isOver || this.#hasPeerEnded || this.#isRetired) return false
    const bytes = this.#window.settle(this.keptBytes, nowMs, roundTripMs)
    if (bytes === 0) return false
    this.#host.outbox.frame(FrameType.windowUpdate, 0, this.id, bytes)
    return true
  }

  tellClosed(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#sink?.onClose(this.#error)
  }

  onDrained(): void {
    this.#sink?.onDrain()
  }

  onFinished(): void {
    this.#retireWhenBothEnded()
    this.#closeWhenBothEnded()
  }

  #give(): void {
    if (this.#isGiving) return
    const before = this.keptBytes
    this.#isGiving = true
    while (!this.#isPaused && !this.#isOver && this.#sink !== undefined) {
      const bytes = this.#inbox?.shift()
      if (bytes === undefined) break
      this.#host.kept(this, -bytes.length)
      this.#sink.onBytes(bytes)
    }
    this.#isGiving = false
    if (before > 0) this.#host.settleSoon(this)
    this.#giveEnd()
  }

  #giveEnd(): void {
    if (!this.#hasPeerEnded || this.#isEndGiven || this.#isPaused || this.#isOver) return
    if (this.keptBytes > 0 || this.#sink === undefined) return
    this.#isEndGiven = true
    this.#sink.onEnd()
    this.#closeWhenBothEnded()
  }

  #closeWhenBothEnded(): void {
    if (!this.#isEndGiven || !this.#sending.isFinished || this.#isOver) return
    this.#stop(this.#error)
  }

  #stop(error: Error | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#error = error
    this.#sending.stop()
    const { keptBytes } = this
    this.#inbox = undefined
    if (keptBytes > 0) this.#host.kept(this, -keptBytes)
    this.#window.release()
    this.#closeSoon()
  }

  #closeSoon(): void {
    if (this.#isCloseDue) return
    this.#isCloseDue = true
    this.#host.closeSoon(this)
  }

  #retireWhenBothEnded(): void {
    if (this.#hasPeerEnded && this.#sending.isFinished) this.#retire()
  }

  #retire(): void {
    if (this.#isRetired) return
    this.#isRetired = true
    this.#window.release()
    this.#host.retire(this)
  }
}
