import { type Clock, systemClock, type Timer } from '../../foundation/clock.ts'
import type { Logger } from '../telemetry/index.ts'
import type { FleetLoad } from './contract.ts'

/** What still runs on a gateway. */
export type DrainLeft = Pick<FleetLoad, 'sessions' | 'allocations' | 'tunnelClients'>

export interface DrainOptions {
  readonly left: () => DrainLeft
  /** Called when it begins and when it is taken back: readiness and what other gateways know follow. */
  readonly onChange: (isDraining: boolean) => void
  /** Called once nothing is left, for a drain that is to end the gateway. @defaultValue there is no such drain */
  readonly onEmpty?: () => void
  readonly logger: Logger
  /**
   * How long load balancers may take to notice that this gateway is not ready, in milliseconds; what they send meanwhile is
   * served. @defaultValue 0
   */
  readonly noticeMs?: number
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

/** Where a drain stands. */
export interface DrainState {
  readonly isDraining: boolean
  /** The gateway ends when nothing is left. */
  readonly isToExit: boolean
  /** Wall time of its begin, in milliseconds. */
  readonly sinceMs: number | undefined
  readonly left: DrainLeft
}

/** How often it looks whether anything is left. */
const LOOK_MS = 1000

/**
 * Takes this gateway out of rotation. It refuses nothing: load balancers notice late, and whatever they still send has
 * nowhere else to go. Its sessions end, or other gateways take them over.
 */
export class Drain {
  readonly #options: DrainOptions
  readonly #log: Logger
  readonly #clock: Clock
  readonly #noticeMs: number
  /** By both clocks: deadlines by the one that does not jump, what is shown by the wall. */
  #since: { readonly nowMs: number; readonly wallMs: number } | undefined
  #isToExit = false
  #isFinal = false
  #timer: Timer | undefined

  constructor(options: DrainOptions) {
    const { clock = systemClock, noticeMs = 0, logger } = options
    this.#options = options
    this.#log = logger.child({ component: 'drain' })
    this.#clock = clock
    this.#noticeMs = noticeMs
  }

  get isDraining(): boolean {
    return this.#since !== undefined
  }

  /** Whether a drain can end the gateway. */
  get canExit(): boolean {
    return this.#options.onEmpty !== undefined
  }

  state(): DrainState {
    return {
      isDraining: this.isDraining,
      isToExit: this.#isToExit,
      sinceMs: this.#since?.wallMs,
      left: this.#options.left(),
    }
  }

  /** Begins, unless it has. `isToExit`: the gateway ends when nothing is left, where that can be; it sticks. */
  begin({ isToExit = false }: { readonly isToExit?: boolean } = {}): void {
    if (this.#since === undefined) {
      this.#since = { nowMs: this.#clock.nowMs(), wallMs: this.#clock.wallMs() }
      this.#log.info({ left: this.#options.left() }, 'this gateway drains')
      this.#options.onChange(true)
    }
    if (!isToExit || !this.canExit || this.#isToExit || this.#isFinal) return
    this.#isToExit = true
    this.#log.info('it ends when nothing is left')
    this.#look()
  }

  /** Takes it back. False on the way down, when that is too late. */
  end(): boolean {
    if (this.#isFinal) return false
    if (this.#since === undefined) return true
    this.#reset()
    this.#log.info('this gateway drains no more')
    this.#options.onChange(false)
    return true
  }

  /** It begins, if it has not, and cannot be taken back. Resolves when load balancers have noticed, after `graceMs` at most. */
  async close(graceMs: number): Promise<void> {
    this.#isFinal = true
    this.#timer?.cancel()
    this.begin()
    const passedMs = this.#clock.nowMs() - (this.#since?.nowMs ?? 0)
    const waitMs = Math.min(graceMs, this.#noticeMs - passedMs)
    if (waitMs <= 0) return
    this.#log.info({ waitMs: Math.round(waitMs) }, 'load balancers are given time to notice')
    await new Promise<void>((resolve) => this.#clock.after(waitMs, resolve))
  }

  /** For a gateway that starts again. */
  reopen(): void {
    this.#isFinal = false
    this.#reset()
  }

  #reset(): void {
    this.#timer?.cancel()
    this.#since = undefined
    this.#isToExit = false
  }

  #look(): void {
    this.#timer = this.#clock.after(LOOK_MS, () => {
      const isNoticed = this.#clock.nowMs() - (this.#since?.nowMs ?? 0) >= this.#noticeMs
      const { sessions, allocations, tunnelClients } = this.#options.left()
      if (!isNoticed || sessions + allocations + tunnelClients > 0) {
        this.#look()
        return
      }
      // What ends it has begun, and cannot be taken back.
      this.#isFinal = true
      this.#log.info('nothing is left, this gateway ends')
      this.#options.onEmpty?.()
    })
  }
}
