import type { Clock } from '../../../foundation/clock.ts'
import { errorCode, errorMessage, type SluiceError } from '../../../foundation/errors.ts'
import type { OriginId } from '../../../mechanisms/balancer/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { BandwidthLimit } from '../access/index.ts'
import { rtmpServiceError } from './errors.ts'
import type { CompleteRtmpOptions } from './options.ts'
import type { OriginFound, OriginReady } from './origin-search.ts'
import { type JoinSide, RtmpJoin } from './rtmp-join.ts'

/** Between two searches for an origin of a player that waits for one, in milliseconds: the first time, and the longest. */
const SEARCH_AGAIN_MS = 500
const SEARCH_AT_LEAST_EVERY_MS = 4000

/** What a carried stream is made for. */
export interface CarriedStreamParts {
  readonly role: 'publish' | 'play'
  readonly client: JoinSide
  readonly found: OriginReady
  readonly limits: readonly BandwidthLimit[]
  readonly log: Logger
  /** Looks for an origin once more. */
  readonly search: (signal: AbortSignal) => Promise<OriginFound>
  readonly onError: (code: string) => void
}

/**
 * A client joined to an origin; a player also to one after another, where it is to be kept. Without that a player whose
 * stream has moved is cut. A publisher never moves: what its decoders need was said to the origin that is lost, and an
 * encoder that connects again says it anew.
 */
export class CarriedStream {
  readonly #parts: CarriedStreamParts
  readonly #options: CompleteRtmpOptions
  readonly #join: RtmpJoin
  readonly #over = new AbortController()
  #origin: OriginReady

  constructor(parts: CarriedStreamParts, options: CompleteRtmpOptions) {
    this.#parts = parts
    this.#options = options
    this.#origin = parts.found
    const { role, client, found, limits } = parts
    this.#join = new RtmpJoin(client, found, {
      ...options,
      role,
      limits,
      onOriginGone: (error) => this.#onOriginGone(error),
    })
    this.#watchMove()
  }

  /** Where it is now, or was last. */
  get originId(): OriginId {
    return this.#origin.origin.id
  }

  /** Bytes that came from the client. */
  get bytesIn(): number {
    return this.#join.bytesIn
  }

  /** Bytes that the client has taken. */
  get bytesOut(): number {
    return this.#join.bytesOut
  }

  /** Resolves when the stream is over in order. @throws what `RtmpJoin.run` does */
  async run(): Promise<void> {
    try {
      await this.#join.run()
    } finally {
      this.#over.abort()
      this.#origin.hold.end()
    }
  }

  destroy(error: SluiceError): void {
    this.#over.abort()
    this.#join.destroy(error)
  }

  get #isKept(): boolean {
    return this.#parts.role === 'play' && this.#options.resumeMs > 0 && !this.#over.signal.aborted
  }

  #watchMove(): void {
    const { moved } = this.#origin
    if (this.#parts.role !== 'play') return
    const onMoved = (): void => {
      if (this.#isKept) this.#join.dropOrigin()
      else this.destroy(failure('RTMP_STREAM_MOVED', 'the stream is published at another origin now'))
    }
    if (moved.aborted) onMoved()
    else moved.addEventListener('abort', onMoved, { once: true })
  }

  #onOriginGone(error: unknown): boolean {
    if (!this.#isKept) return false
    this.#origin.hold.end()
    this.#parts.onError('RTMP_BROKEN')
    this.#parts.log.debug({ origin: this.originId, reason: errorMessage(error ?? 'closed') }, 'player waits')
    void this.#resume()
    return true
  }

  async #resume(): Promise<void> {
    const { clock, resumeMs } = this.#options
    const { signal } = this.#over
    const deadline = clock.after(resumeMs, () =>
      this.destroy(failure('RTMP_NOT_RESUMED', `no origin gave the stream within ${resumeMs} ms`)),
    )
    // Many players may have lost the same origin.
    for (
      let pauseMs = SEARCH_AGAIN_MS;
      !signal.aborted;
      pauseMs = Math.min(2 * pauseMs, SEARCH_AT_LEAST_EVERY_MS)
    ) {
      const found = await this.#search(signal)
      if (found !== undefined) {
        this.#take(found)
        break
      }
      await pause(clock, pauseMs, signal)
    }
    deadline.cancel()
  }

  /** Undefined when no origin gives the stream at present. */
  async #search(signal: AbortSignal): Promise<OriginReady | undefined> {
    try {
      const found = await this.#parts.search(signal)
      return found.kind === 'ready' ? found : undefined
    } catch (error) {
      if (!signal.aborted) this.#parts.log.debug({ code: errorCode(error) }, 'player waits on')
      return undefined
    }
  }

  #take(found: OriginReady): void {
    if (this.#over.signal.aborted) {
      found.hold.end()
      found.socket.destroy()
      return
    }
    this.#origin = found
    this.#parts.log.debug({ origin: this.originId }, 'player goes on')
    this.#join.resume(found, found.messages)
    this.#watchMove()
  }
}

/** Resolves after so long, or when `signal` is aborted. */
function pause(clock: Clock, forMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel()
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = clock.after(forMs, end)
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
  })
}

function failure(code: 'RTMP_STREAM_MOVED' | 'RTMP_NOT_RESUMED', message: string): SluiceError {
  return rtmpServiceError(code, message, { side: 'origin', retryable: true })
}
