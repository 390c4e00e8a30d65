import { YamuxError, YamuxErrorCode } from './errors.ts'
import type { YamuxLimits } from './options.ts'
import type { YamuxStream } from './stream.ts'

/** The streams of a session by id, and which of them wait for something of the peer. */
export class StreamTable {
  readonly #limits: YamuxLimits
  readonly #streams = new Map<number, YamuxStream>()
  /** Ours that the peer has not acknowledged, and until when it may; the oldest is first. */
  readonly #unacknowledged = new Map<YamuxStream, number>()
  /** Destroyed ones whose peer has not ended, and until when it may; the oldest is first. */
  readonly #lingering = new Map<YamuxStream, number>()
  /** The peer's that nobody reads yet. */
  readonly #unaccepted = new Set<YamuxStream>()
  readonly #ownParity: 0 | 1
  #nextId: number

  constructor(role: 'client' | 'server', limits: YamuxLimits) {
    this.#limits = limits
    this.#ownParity = role === 'client' ? 1 : 0
    this.#nextId = role === 'client' ? 1 : 2
  }

  get size(): number {
    return this.#streams.size
  }

  get nextDeadlineMs(): number {
    return Math.min(firstOf(this.#unacknowledged), firstOf(this.#lingering))
  }

  get canOpen(): boolean {
    return this.#unacknowledged.size < this.#limits.maxUnacknowledged
  }

  get canAccept(): boolean {
    return this.#streams.size < this.#limits.maxStreams && this.#unaccepted.size < this.#limits.acceptBacklog
  }

  get(id: number): YamuxStream | undefined {
    return this.#streams.get(id)
  }

  all(): Iterable<YamuxStream> {
    return this.#streams.values()
  }

  isOfPeer(id: number): boolean {
    return id !== 0 && (id & 1) !== this.#ownParity
  }

  /** Throws `YAMUX_TOO_MANY_STREAMS`. */
  nextId(): number {
    const id = this.#nextId
    if (this.#streams.size >= this.#limits.maxStreams) {
      throw tooMany(`${this.#limits.maxStreams} streams are open`)
    }
    if (id > 0xffff_fffe) throw tooMany('all stream ids of the session are used up')
    this.#nextId += 2
    return id
  }

  open(stream: YamuxStream, nowMs: number): void {
    this.#streams.set(stream.id, stream)
    this.#unacknowledged.set(stream, nowMs + this.#limits.openTimeoutMs)
  }

  accept(stream: YamuxStream): void {
    this.#streams.set(stream.id, stream)
    this.#unaccepted.add(stream)
  }

  accepted(stream: YamuxStream): void {
    this.#unaccepted.delete(stream)
  }

  /** True when it was awaited. */
  acknowledged(stream: YamuxStream): boolean {
    return this.#unacknowledged.delete(stream)
  }

  linger(stream: YamuxStream, nowMs: number): void {
    this.#lingering.set(stream, nowMs + this.#limits.closeTimeoutMs)
  }

  /** True when one more may be opened by it. */
  remove(stream: YamuxStream): boolean {
    this.#streams.delete(stream.id)
    this.#lingering.delete(stream)
    this.#unaccepted.delete(stream)
    return this.#unacknowledged.delete(stream)
  }

  isOpenOverdue(nowMs: number): boolean {
    return firstOf(this.#unacknowledged) <= nowMs
  }

  /** A stream that has waited too long for the peer's end. */
  overdueLinger(nowMs: number): YamuxStream | undefined {
    for (const [stream, deadlineMs] of this.#lingering) return deadlineMs <= nowMs ? stream : undefined
    return undefined
  }
}

function firstOf(deadlines: ReadonlyMap<YamuxStream, number>): number {
  for (const deadlineMs of deadlines.values()) return deadlineMs
  return Number.POSITIVE_INFINITY
}

function tooMany(message: string): YamuxError {
  return new YamuxError(YamuxErrorCode.tooManyStreams, message, { side: 'self', retryable: true })
}
