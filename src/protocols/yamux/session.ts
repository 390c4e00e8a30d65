import type { Side } from '../../foundation/errors.ts'
import type { YamuxCarrier } from './carrier.ts'
import { YamuxError, YamuxErrorCode } from './errors.ts'
import { Flag, FrameType, GoAwayCode } from './frame.ts'
import { type FrameHandler, FrameReader } from './frame-reader.ts'
import { completeLimits, type YamuxLimits } from './options.ts'
import { Outbox } from './outbox.ts'
import { Pings } from './pings.ts'
import { WindowPool } from './receive-window.ts'
import { SendTurns } from './send-turns.ts'
import type { StreamHost } from './stream-host.ts'
import { StreamTable } from './stream-table.ts'
import { YamuxStream } from './stream.ts'

/** What a session is made of. */
export interface YamuxSessionParts {
  /** The client's streams have odd ids, the server's even ones. */
  readonly role: 'client' | 'server'
  readonly carrier: YamuxCarrier
  /** Asks for a call of `turn`, soon and once, and never within this call. */
  readonly schedule: () => void
  /** A stream that the peer opened; without this they are refused with RST. */
  readonly onStream?: (stream: YamuxStream) => void
  /** `open` can be tried again. */
  readonly onOpenable?: () => void
  /**
   * The session is over; its last frames have been given to the carrier, and nothing is read any more. Streams are told by the
   * next `turn`.
   */
  readonly onOver: (error: YamuxError) => void
  /** @defaultValue those of `YamuxLimits` */
  readonly limits?: Partial<YamuxLimits>
  readonly nowMs: number
}

/** Frames that wait to be read by a peer that provokes more of them. */
const mostAnswers = 1024

/**
 * A yamux session: bytes and time in, bytes to the carrier out, streams for the users. It neither keeps time nor sockets: call
 * `receive` with what arrives, `drained` when the carrier can take more, `turn` when it was asked for, and `tick` at
 * `nextDeadlineMs`.
 */
export class YamuxSession implements FrameHandler, StreamHost<YamuxStream> {
  readonly limits: YamuxLimits
  readonly outbox: Outbox
  readonly turns: SendTurns
  readonly pool: WindowPool
  readonly peerSide: Side
  readonly #parts: YamuxSessionParts
  readonly #reader: FrameReader
  readonly #pings: Pings
  readonly #table: StreamTable
  #settling: YamuxStream[] = []
  #closing: YamuxStream[] = []
  #isTurnDue = false
  #keptBytes = 0
  /** Streams with bytes that wait for their reader, also such as both sides have ended. */
  readonly #keeping = new Set<YamuxStream>()
  #nowMs: number
  /** Whose payload is being read. */
  #receiving: YamuxStream | undefined
  #isFinAhead = false
  #isRefusing = false
  #hasPeerGoneAway = false
  #error: YamuxError | undefined

  /** Throws `YAMUX_BAD_OPTION`. */
  constructor(parts: YamuxSessionParts) {
    this.#parts = parts
    this.#nowMs = parts.nowMs
    this.limits = completeLimits(parts.limits ?? {})
    this.peerSide = parts.role === 'client' ? 'origin' : 'client'
    this.outbox = new Outbox(parts.carrier, () => this.soon())
    this.turns = new SendTurns(this.outbox)
    this.pool = new WindowPool(this.limits.sessionWindowBytes)
    this.#reader = new FrameReader(this)
    this.#table = new StreamTable(parts.role, this.limits)
    const send = (value: number): void => this.outbox.frame(FrameType.ping, Flag.syn, 0, value)
    const { keepaliveMs, pingTimeoutMs } = this.limits
    this.#pings = new Pings({ keepaliveMs, timeoutMs: pingTimeoutMs, send }, parts.nowMs)
  }

  /** Streams that either side has not ended or reset yet. */
  get streamCount(): number {
    return this.#table.size
  }

  /** Why the session is over; undefined while it is not. */
  get error(): YamuxError | undefined {
    return this.#error
  }

  /** Bytes that wait for readers. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  /** When `tick` has something to do; infinite when never. */
  get nextDeadlineMs(): number {
    if (this.#error !== undefined) return Number.POSITIVE_INFINITY
    return Math.min(this.#pings.nextDeadlineMs, this.#table.nextDeadlineMs)
  }

  /**
   * Opens a stream, which may be written to at once. Undefined while the peer has too many to acknowledge: `onOpenable` tells.
   * Throws `YAMUX_CLOSED`, `YAMUX_GONE_AWAY` or `YAMUX_TOO_MANY_STREAMS`.
   */
  open(nowMs: number): YamuxStream | undefined {
    if (this.#error !== undefined) throw this.#error
    if (this.#hasPeerGoneAway) {
      const options = { side: this.peerSide, retryable: true }
      throw new YamuxError(YamuxErrorCode.goneAway, 'the peer takes no further streams', options)
    }
    if (!this.#table.canOpen) return undefined
    const stream = new YamuxStream(this.#table.nextId(), this)
    this.#table.open(stream, nowMs)
    this.outbox.frame(FrameType.windowUpdate, Flag.syn, stream.id, 0)
    return stream
  }

  /** Takes what the carrier got, cut anywhere. False when memory of it is kept. */
  receive(chunk: Uint8Array, nowMs: number): boolean {
    if (this.#error !== undefined) return true
    this.#nowMs = nowMs
    this.#pings.heard(nowMs)
    return this.#reader.read(chunk)
  }

  /** The carrier no longer keeps what it was given. */
  drained(nowMs: number): void {
    this.#nowMs = nowMs
    this.outbox.drained()
    this.#settle()
    this.turns.serve()
    this.outbox.flush()
  }

  /** What `schedule` asked for: grants, gathered frames, closes. */
  turn(nowMs: number): void {
    this.#isTurnDue = false
    this.#nowMs = nowMs
    if (!this.outbox.isBusy) {
      this.turns.serve()
      this.#settle()
      this.outbox.flush()
    }
    const closing = this.#closing
    this.#closing = []
    for (const stream of closing) stream.tellClosed()
  }

  /** Time has passed: pings, and what took too long. */
  tick(nowMs: number): void {
    if (this.#error !== undefined) return
    this.#nowMs = nowMs
    if (!this.#pings.tick(nowMs)) {
      this.#timeout(`no answer to a ping within ${this.limits.pingTimeoutMs} ms`)
      return
    }
    if (this.#table.isOpenOverdue(nowMs)) {
      this.#timeout(`no answer to an opened stream within ${this.limits.openTimeoutMs} ms`)
      return
    }
    for (let late = this.#table.overdueLinger(nowMs); late; late = this.#table.overdueLinger(nowMs))
      late.reset()
  }

  /** Takes no further streams of the peer, and tells it so (go-away 0). */
  goAway(): void {
    if (this.#isRefusing || this.#error !== undefined) return
    this.#isRefusing = true
    this.outbox.frame(FrameType.goAway, 0, 0, GoAwayCode.normal)
  }

  /** The carrier has ended, or is to; streams end with the error. */
  end(error: YamuxError): void {
    this.#over(error)
  }

  /** @internal */
  onFrame(type: FrameType, flags: number, streamId: number, length: number): void {
    if (type === FrameType.data || type === FrameType.windowUpdate) {
      this.#onStreamFrame(type, flags, streamId, length)
    } else if (type === FrameType.ping) {
      this.#onPing(flags, length)
    } else {
      this.#onGoAway(length)
    }
  }

  /** @internal */
  onPayload(bytes: Uint8Array): boolean {
    return this.#receiving === undefined || this.#receiving.receive(bytes)
  }

  /** @internal */
  onPayloadEnd(): void {
    const stream = this.#receiving
    this.#receiving = undefined
    if (this.#isFinAhead) stream?.peerEnded()
  }

  /** @internal */
  onFault(reason: string): void {
    this.#fault(`not yamux: ${reason}`)
  }

  /** @internal */
  soon(): void {
    if (this.#isTurnDue) return
    this.#isTurnDue = true
    this.#parts.schedule()
  }

  /** @internal */
  settleSoon(stream: YamuxStream): void {
    if (stream.isSettleDue) return
    stream.isSettleDue = true
    this.#settling.push(stream)
    this.soon()
  }

  /** @internal */
  closeSoon(stream: YamuxStream): void {
    this.#closing.push(stream)
    this.soon()
  }

  /** @internal */
  kept(stream: YamuxStream, bytes: number): void {
    this.#keptBytes += bytes
    if (stream.keptBytes > 0) this.#keeping.add(stream)
    else this.#keeping.delete(stream)
    if (bytes <= 0 || this.#keptBytes <= this.limits.maxKeptBytes) return
    let most = stream
    for (const other of this.#keeping) if (other.keptBytes > most.keptBytes) most = other
    const message = `more than ${this.limits.maxKeptBytes} bytes wait for slow readers, most of them in stream ${most.id}`
    most.destroy(new YamuxError(YamuxErrorCode.readOverflow, message, { side: 'self' }))
  }

  /** @internal */
  accepted(stream: YamuxStream): void {
    this.#table.accepted(stream)
  }

  /** @internal */
  retire(stream: YamuxStream): void {
    if (this.#table.remove(stream) && this.#error === undefined) this.#parts.onOpenable?.()
  }

  /** @internal */
  linger(stream: YamuxStream): void {
    this.#table.linger(stream, this.#nowMs)
  }

  #onStreamFrame(type: FrameType, flags: number, streamId: number, length: number): void {
    const isData = type === FrameType.data
    const stream = (flags & Flag.syn) === 0 ? this.#table.get(streamId) : this.#onSyn(streamId)
    this.#receiving = undefined
    this.#isFinAhead = false
    // Of a stream that is over, or was refused: dropped.
    if (stream === undefined) return
    if ((flags & Flag.ack) !== 0 && this.#table.acknowledged(stream)) this.#parts.onOpenable?.()
    if ((flags & Flag.rst) !== 0) {
      stream.peerReset()
      return
    }
    if (isData) {
      if (!stream.expect(length)) {
        this.#fault(`stream ${streamId}: ${length} bytes are more than the window`)
        return
      }
      this.#receiving = stream
      this.#isFinAhead = (flags & Flag.fin) !== 0
      return
    }
    if (!stream.grant(length)) this.#fault(`stream ${streamId}: a window above 2^32`)
    else if ((flags & Flag.fin) !== 0) stream.peerEnded()
  }

  /** A new stream, or none when it is refused. */
  #onSyn(streamId: number): YamuxStream | undefined {
    if (!this.#table.isOfPeer(streamId) || this.#table.get(streamId) !== undefined) {
      this.#fault(`stream ${streamId} cannot be opened by the peer`)
      return undefined
    }
    const { onStream } = this.#parts
    if (onStream === undefined || this.#isRefusing || !this.#table.canAccept) {
      this.#answer(FrameType.windowUpdate, Flag.rst, streamId, 0)
      return undefined
    }
    const stream = new YamuxStream(streamId, this)
    this.#table.accept(stream)
    this.#answer(FrameType.windowUpdate, Flag.ack, streamId, 0)
    if (this.#error === undefined) onStream(stream)
    return this.#table.get(streamId)
  }

  #onPing(flags: number, value: number): void {
    if ((flags & Flag.syn) !== 0) this.#answer(FrameType.ping, Flag.ack, 0, value)
    else this.#pings.answered(value, this.#nowMs)
  }

  #onGoAway(code: number): void {
    if (code === GoAwayCode.normal) {
      this.#hasPeerGoneAway = true
      this.#parts.onOpenable?.()
      return
    }
    const reason = code === GoAwayCode.protocolError ? 'protocol error' : `internal error (code ${code})`
    this.#over(this.#protocolError(`the peer ended the session: ${reason}`))
  }

  #answer(type: FrameType, flags: number, streamId: number, length: number): void {
    this.outbox.answer(type, flags, streamId, length)
    if (!this.outbox.isBusy || this.outbox.answers <= mostAnswers) return
    const message = `the peer does not read ${mostAnswers} answers that it asked for`
    this.#over(new YamuxError(YamuxErrorCode.flood, message, { side: this.peerSide }))
  }

  /** Grants what readers have taken. While the carrier is busy it waits, and merges. */
  #settle(): void {
    const settling = this.#settling
    if (settling.length === 0) return
    this.#settling = []
    for (const stream of settling) {
      stream.isSettleDue = false
      if (stream.settle(this.#nowMs, this.#pings.roundTripMs)) this.#pings.measure(this.#nowMs)
    }
  }

  #timeout(message: string): void {
    this.#over(new YamuxError(YamuxErrorCode.timeout, message, { side: this.peerSide, retryable: true }))
  }

  #fault(message: string): void {
    if (this.#error !== undefined) return
    this.outbox.frame(FrameType.goAway, 0, 0, GoAwayCode.protocolError)
    this.#over(this.#protocolError(message))
  }

  #protocolError(message: string): YamuxError {
    return new YamuxError(YamuxErrorCode.protocol, message, { side: this.peerSide })
  }

  #over(error: YamuxError): void {
    if (this.#error !== undefined) return
    this.#error = error
    this.#reader.stop()
    this.outbox.flush()
    for (const stream of this.#table.all()) stream.sessionEnded(error)
    this.soon()
    this.#parts.onOver(error)
  }
}
