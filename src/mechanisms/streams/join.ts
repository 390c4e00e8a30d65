import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import { systemClock } from '../../foundation/clock.ts'
import type { Clock, Timer } from '../../foundation/clock.ts'
import { SocketStream } from './socket-stream.ts'
import type { TcpJoin, TcpJoiner, TcpJoinListener } from './tcp-joiner.ts'

/** How two streams are joined. */
export interface JoinOptions {
  /**
   * Whether one side may go on for as long as it wants after the other has ended; otherwise for `lingerMs`. Tell it `false`
   * when a side is a program that ends both directions together. @defaultValue true
   */
  readonly halfClose?: boolean
  /** In milliseconds. @defaultValue 10,000 */
  readonly lingerMs?: number
  /** The join ends when no byte came from either side for so long, up to a quarter later. @defaultValue never */
  readonly idleMs?: number
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
  /** Takes over joins of plain TCP sockets that have moved much. @defaultValue none, all is done in JavaScript */
  readonly engine?: TcpJoiner | undefined
  /** How many bytes a join has moved when the engine takes it over. @defaultValue 262,144 */
  readonly engineAfterBytes?: number
}

/**
 * Why a join ended: both sides said their end; one side broke or was reset (`error` has why, if known); a timeout; one side
 * went on longer than `lingerMs`; or `destroy` was called (`error` as given).
 */
export interface JoinEnd {
  readonly reason: 'ended' | 'first-broken' | 'second-broken' | 'idle' | 'lingered' | 'destroyed'
  readonly error?: Error
}

/** Two streams joined. */
export interface StreamJoin {
  /** Bytes read from the first stream so far. */
  readonly bytesFromFirst: number
  readonly bytesFromSecond: number
  /** Resolves, never rejects, when both streams are closed. */
  readonly done: Promise<JoinEnd>
  /** Ends both now; what is on its way is lost. With an error both peers see a reset. */
  destroy(error?: Error): void
}

const defaults = { lingerMs: 10_000, engineAfterBytes: 262_144 } as const
const checksPerTimeout = 4

/**
 * Sends what comes from each stream to the other, until both have ended. A side that does not take what it is sent makes the
 * other wait; its end is passed on after all that came before; a reset of one resets the other. Both streams belong to the
 * join from now on.
 */
export function joinStreams(first: ByteStream, second: ByteStream, options: JoinOptions = {}): StreamJoin {
  const join = new Join(first, second, options)
  join.begin()
  return join
}

class Join implements StreamJoin, TcpJoinListener {
  readonly #first: Direction
  readonly #second: Direction
  readonly #options: JoinOptions
  #idleTimer: Timer | undefined
  #lingerTimer: Timer | undefined
  #tcpJoin: TcpJoin | undefined
  #openStreams = 2
  #end: JoinEnd | undefined
  #settle: (end: JoinEnd) => void = () => undefined
  readonly done: Promise<JoinEnd>

  constructor(first: ByteStream, second: ByteStream, options: JoinOptions) {
    this.#options = options
    const canUseEngine =
      options.engine !== undefined && first instanceof SocketStream && second instanceof SocketStream
    const engineAtBytes = canUseEngine ? (options.engineAfterBytes ?? defaults.engineAfterBytes) : Infinity
    this.#first = new Direction(this, first, second, engineAtBytes)
    this.#second = new Direction(this, second, first, engineAtBytes)
    this.#first.opposite = this.#second
    this.#second.opposite = this.#first
    this.done = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  get bytesFromFirst(): number {
    return this.#first.bytes + (this.#tcpJoin?.bytesFromFirst ?? 0)
  }

  get bytesFromSecond(): number {
    return this.#second.bytes + (this.#tcpJoin?.bytesFromSecond ?? 0)
  }

  begin(): void {
    const { idleMs } = this.#options
    if (idleMs !== undefined) this.#checkLater(idleMs / checksPerTimeout, 0, 0)
    this.#first.source.attach(this.#first)
    this.#second.source.attach(this.#second)
    this.#first.source.resume()
    this.#second.source.resume()
  }

  destroy(error?: Error): void {
    this.#finish(withError('destroyed', error))
  }

  onEnded(): void {
    const isHalf = !(this.#first.isEnded && this.#second.isEnded)
    if (isHalf && this.#options.halfClose === false) this.#linger()
  }

  onClosed(closed: Direction, error: Error | undefined): void {
    const reason = closed === this.#first ? 'first-broken' : 'second-broken'
    if (error !== undefined || !closed.isEnded) this.#finish(withError(reason, error))
    else if (!closed.opposite.isEnded) this.#linger()
    if (--this.#openStreams > 0) return
    this.#finish({ reason: 'ended' })
    this.#settle(this.#end ?? { reason: 'ended' })
  }

  /**
   * Hands both sockets to the engine, unless something that they have read or should write is held here; says whether it has
   * them now, and nobody here reads them any more.
   */
  tryEngine(): boolean {
    const { engine } = this.#options
    const { source: first } = this.#first
    const { source: second } = this.#second
    if (this.#tcpJoin !== undefined) return true
    if (engine === undefined || this.#end !== undefined) return false
    if (!(first instanceof SocketStream && second instanceof SocketStream)) return false
    const [firstDescriptor, secondDescriptor] = [first.descriptor, second.descriptor]
    if (firstDescriptor === undefined || secondDescriptor === undefined) return false
    this.#tcpJoin = engine.join(
      { descriptor: firstDescriptor, isEnded: this.#first.isEnded },
      { descriptor: secondDescriptor, isEnded: this.#second.isEnded },
      this,
    )
    if (this.#tcpJoin === undefined) {
      // It has enough; it is asked again when as much again has passed.
      const again = this.#options.engineAfterBytes ?? defaults.engineAfterBytes
      for (const direction of [this.#first, this.#second]) direction.engineAtBytes = direction.bytes + again
      return false
    }
    first.pause()
    second.pause()
    return true
  }

  onTcpEnded(side: 'first' | 'second'): void {
    const direction = side === 'first' ? this.#first : this.#second
    direction.isEnded = true
    if (this.#first.isEnded && this.#second.isEnded) this.#finish({ reason: 'ended' })
    else this.onEnded()
  }

  onTcpBroken(side: 'first' | 'second', error: Error): void {
    this.#finish({ reason: side === 'first' ? 'first-broken' : 'second-broken', error })
  }

  #linger(): void {
    const { clock = systemClock, lingerMs = defaults.lingerMs } = this.#options
    if (this.#end !== undefined) return
    this.#lingerTimer ??= clock.after(lingerMs, () => this.#finish({ reason: 'lingered' }))
  }

  #checkLater(delayMs: number, bytesBefore: number, idleChecks: number): void {
    this.#idleTimer = (this.#options.clock ?? systemClock).after(delayMs, () => {
      const bytes = this.bytesFromFirst + this.bytesFromSecond
      const idle = bytes === bytesBefore ? idleChecks + 1 : 0
      if (idle >= checksPerTimeout) this.#finish({ reason: 'idle' })
      else this.#checkLater(delayMs, bytes, idle)
    })
  }

  #finish(end: JoinEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#idleTimer?.cancel()
    this.#lingerTimer?.cancel()
    this.#tcpJoin?.destroy()
    this.#first.source.destroy(end.error)
    this.#second.source.destroy(end.error)
  }
}

function withError(reason: JoinEnd['reason'], error: Error | undefined): JoinEnd {
  return error === undefined ? { reason } : { reason, error }
}

/** What is read from one stream and written to the other. */
class Direction implements ByteSink {
  readonly source: ByteStream
  bytes = 0
  /** The source has ended, and the target was told. */
  isEnded = false
  /** How many bytes make the join worth the engine's while. */
  engineAtBytes: number
  opposite: Direction = this
  readonly #join: Join
  readonly #target: ByteStream
  #isBlocked = false

  constructor(join: Join, source: ByteStream, target: ByteStream, engineAtBytes: number) {
    this.#join = join
    this.source = source
    this.#target = target
    this.engineAtBytes = engineAtBytes
  }

  onBytes(bytes: Uint8Array): boolean {
    this.bytes += bytes.length
    if (this.#target.write(bytes)) {
      if (this.bytes >= this.engineAtBytes) this.#join.tryEngine()
      return true
    }
    this.#isBlocked = true
    this.source.pause()
    return false
  }

  onEnd(): void {
    this.isEnded = true
    this.#target.end()
    this.#join.onEnded()
  }

  /** What the other direction had written to this one's source has gone. */
  onDrain(): void {
    this.opposite.#unblock()
  }

  onClose(error?: Error): void {
    this.#join.onClosed(this, error)
    // What it is sent has nowhere to go; the end of who sends is waited for.
    this.opposite.#unblock()
  }

  #unblock(): void {
    if (!this.#isBlocked) return
    this.#isBlocked = false
    if (this.bytes < this.engineAtBytes || !this.#join.tryEngine()) this.source.resume()
  }
}
