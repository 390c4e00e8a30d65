import type { Socket } from 'node:net'
import type { Clock } from '../../../../foundation/clock.ts'
import { errorCode } from '../../../../foundation/errors.ts'
import type { SessionInfo } from '../../../../foundation/session-info.ts'
import type { Hold } from '../../../../mechanisms/balancer/index.ts'
import type { Logger } from '../../../../mechanisms/telemetry/index.ts'
import type { Admission } from '../../access/index.ts'
import { BodyJoin } from './body-join.ts'
import type { HttpErrorCode } from '../errors.ts'
import type { LiveSplice } from './live-splice.ts'
import type { Answer, Ask, OriginSearch } from './origin-search.ts'
import type { StreamReturn, Waiter } from './stream-return.ts'

/** How long one question to an origin may take while viewers wait for a stream to come back. */
const ASK_MS = 2000
/** Between two questions; doubled with each up to the second. */
const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 2000
/** From one resumption to the next question. */
const LEAST_STAY_MS = 1000

export interface LiveViewerOptions {
  readonly id: string
  readonly ask: Ask
  readonly admission: Admission
  readonly client: Socket
  /** Whether the client was told of chunked framing. */
  readonly isChunked: boolean
  /** Absent for a body that cannot be gone on with: a refusal, a file. */
  readonly splice: LiveSplice | undefined
  readonly search: OriginSearch
  readonly returns: StreamReturn
  readonly resumeMs: number
  readonly stallMs: number
  readonly idleMs: number
  readonly clock: Clock
  readonly logger: Logger
  /** Called once. */
  readonly onOver: (code: HttpErrorCode | undefined) => void
}

/** An origin that a viewer is at. */
export interface Stay {
  /** Set once the claim is kept. */
  hold: Hold | undefined
  /** The stream is elsewhere now. */
  isMoved: boolean
}

/**
 * A client whose response head has been sent, and who gets a body. When the origin of a live body breaks off, or the stream has
 * moved, the viewer is kept, and led to wherever the stream comes back within `resumeMs`.
 */
export class LiveViewer {
  readonly #options: LiveViewerOptions
  readonly #join: BodyJoin
  readonly #sinceMs: number
  readonly #over = new AbortController()
  #originId = ''
  #stay: Stay | undefined
  /** When a wait must be over; a new one begins only after an origin has sent something. */
  #deadlineMs = 0
  #bytesAtBreak = -1
  #resumedAtMs = -Infinity

  constructor(options: LiveViewerOptions) {
    this.#options = options
    const { client, isChunked, splice, clock, stallMs, idleMs, admission } = options
    this.#sinceMs = clock.wallMs()
    this.#join = new BodyJoin({
      client,
      isChunked,
      splice: options.resumeMs > 0 ? splice : undefined,
      limits: admission.limits,
      clock,
      stallMs,
      idleMs,
      onBreak: () => this.#onBreak(),
      onOver: (code) => this.#onOver(code),
    })
  }

  get bytesOut(): number {
    return this.#join.bytesOut
  }

  get info(): SessionInfo {
    const { id, ask } = this.#options
    return {
      id,
      protocol: 'http',
      role: 'play',
      streamKey: ask.key,
      originId: this.#originId,
      address: ask.client.address,
      sinceMs: this.#sinceMs,
      bytesIn: 0,
      bytesOut: this.#join.bytesOut,
    }
  }

  /** Starts the body. A claim that was kept has a stay; it is the viewer's from now on. */
  start({ claim, exchange, framing }: Answer, stay: Stay | undefined): void {
    const { signal } = this.#options.admission
    this.#originId = claim.origin.id
    this.#stay = stay
    signal.addEventListener('abort', this.#onAccessOver)
    this.#join.start(exchange, framing)
    if (signal.aborted) this.#onAccessOver()
    if (stay?.isMoved === true) this.#move()
  }

  /** Keeps a claim for this viewer. */
  async keep({ claim }: Answer): Promise<Stay> {
    const stay: Stay = { hold: undefined, isMoved: false }
    stay.hold = await claim.keep(() => {
      stay.isMoved = true
      if (this.#stay === stay) this.#move()
    })
    return stay
  }

  check(nowMs: number): void {
    this.#join.check(nowMs)
  }

  cut(code: HttpErrorCode): void {
    this.#join.cut(code)
  }

  readonly #onAccessOver = (): void => this.#join.cut('HTTP_ACCESS_ENDED')

  #onBreak(): boolean {
    const waiter = this.#options.returns.wait(this.#options.ask.key)
    if (waiter === undefined) return false
    this.#wait(waiter)
    return true
  }

  /** The stream is at another origin now. Who cannot go on from here stays, and sees what still comes. */
  #move(): void {
    const waiter = this.#options.returns.wait(this.#options.ask.key)
    if (waiter === undefined) return
    if (this.#join.leaveOrigin()) this.#wait(waiter)
    else waiter.leave()
  }

  #wait(waiter: Waiter): void {
    const { clock, resumeMs, logger, id, ask } = this.#options
    logger.debug({ id, streamKey: ask.key, originId: this.#originId }, 'viewer waits for the stream')
    this.#stay?.hold?.end()
    this.#stay = undefined
    if (this.#bytesAtBreak !== this.#join.bytesOut) this.#deadlineMs = clock.nowMs() + resumeMs
    this.#bytesAtBreak = this.#join.bytesOut
    void this.#goOn(waiter)
  }

  async #goOn(waiter: Waiter): Promise<void> {
    const { clock } = this.#options
    const late = new AbortController()
    const timer = clock.after(Math.max(0, this.#deadlineMs - clock.nowMs()), () => late.abort())
    const signal = AbortSignal.any([late.signal, this.#over.signal])
    let isTaken = false
    try {
      // An origin that breaks off again and again is not asked as often as it does.
      await pause(clock, this.#resumedAtMs + LEAST_STAY_MS - clock.nowMs(), signal)
      const answer = await this.#askUntilBack(waiter, signal)
      if (answer !== undefined) isTaken = await this.#take(answer, signal)
    } catch {
      // Nobody wants the answer any more, or the balancer took no further stream: below, the viewer is let go.
    } finally {
      timer.cancel()
      waiter.leave()
      if (!isTaken) this.#join.giveUp()
    }
  }

  /** The head of a body that goes on; undefined when an origin says that there is none for this viewer. */
  async #askUntilBack(waiter: Waiter, signal: AbortSignal): Promise<Answer | undefined> {
    const { search, ask, clock } = this.#options
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      await waiter.turn(signal)
      const answer = await search.find(ask, ASK_MS, signal).catch((error: unknown) => {
        if (signal.aborted) throw error
        return errorCode(error)
      })
      if (typeof answer !== 'string') {
        if (isLiveBody(answer)) {
          waiter.found()
          return answer
        }
        answer.exchange.destroy()
        await answer.claim.release()
        if (answer.head.status === 401 || answer.head.status === 403) return undefined
      }
      waiter.notFound()
      await pause(clock, pauseMs * (0.75 + Math.random() / 2), signal)
    }
  }

  /** Says whether the body goes on from there. */
  async #take(answer: Answer, signal: AbortSignal): Promise<boolean> {
    const { id, ask, logger } = this.#options
    let stay: Stay
    try {
      stay = await this.keep(answer)
    } catch (error) {
      answer.exchange.destroy()
      await answer.claim.release()
      throw error
    }
    if (signal.aborted) {
      answer.exchange.destroy()
      stay.hold?.end()
      return false
    }
    this.#stay = stay
    this.#originId = answer.claim.origin.id
    logger.debug({ id, streamKey: ask.key, originId: this.#originId }, 'viewer goes on')
    this.#resumedAtMs = this.#options.clock.nowMs()
    this.#join.resume(answer.exchange, answer.framing)
    if (stay.isMoved && this.#stay === stay) this.#move()
    return true
  }

  #onOver(code: HttpErrorCode | undefined): void {
    this.#over.abort()
    this.#stay?.hold?.end()
    this.#stay = undefined
    this.#options.admission.signal.removeEventListener('abort', this.#onAccessOver)
    this.#options.admission.end()
    this.#options.onOver(code)
  }
}

/** Whether an answer is a body without an end, and no file. */
export function isLiveBody({ head, framing }: Pick<Answer, 'head' | 'framing'>): boolean {
  if (head.status !== 200 || (framing.kind !== 'chunked' && framing.kind !== 'until-close')) return false
  return !head.headers.some(({ name }) => OF_FILES.has(name.toLowerCase()))
}

/** Headers that no live body has. A file that was sent to its end must not be asked for again. */
const OF_FILES = new Set(['etag', 'last-modified', 'accept-ranges', 'content-range', 'content-encoding'])

function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(ms, done)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}
