import { createHash } from 'node:crypto'
import type { Clock, Timer } from '../../foundation/clock.ts'
import { errorCode } from '../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import { type Fleet, type GatewayId, isGatewayId } from '../fleet/index.ts'
import type { Redis } from '../redis/index.ts'
import { LinePace, type Logger, type Registry } from '../telemetry/index.ts'
import { registerCountMetrics, type TakeResult } from './count-metrics.ts'
import { MAX_NUMBER, SAY_COUNT } from './count-script.ts'

export interface SharedCountsOptions {
  readonly redis: Redis
  readonly fleet: Pick<Fleet, 'id' | 'gone' | 'onReturn'>
  /** What keys begin with, before `:` and the user. */
  readonly name: string
  /** How many a user may hold in the fleet; 0 is no limit. Asked each time. */
  readonly most: (user: string) => number
  readonly clock: Clock
  readonly logger: Logger
  readonly registry: Registry
  /**
   * How long a question may take that is asked again because those who hold the rest may be gone, in milliseconds from its
   * beginning; after that it is refused. The first question has the deadline of the connection. @defaultValue 1000
   */
  readonly deadlineMs?: number
}

const DEFAULTS = { deadlineMs: 1000 }

/**
 * Counts what each user holds over all gateways. What this gateway holds it knows by itself; Redis has the count of each
 * gateway, told as a whole number whenever it changes and again long before it lapses, so that whatever was lost comes
 * right. While Redis does not answer, this gateway's own count decides.
 */
export class SharedCounts implements Lifecycle {
  readonly #options: SharedCountsOptions & typeof DEFAULTS
  readonly #log: Logger
  readonly #pace: LinePace
  /** By key in Redis, which is short however long the name of a user is. */
  readonly #held = new Map<string, Held>()
  /** Those whose count Redis does not have, or not for certain. */
  readonly #untold = new Set<Held>()
  /** Those of them who hold nothing any more, oldest first. */
  readonly #leaving = new Set<Held>()
  /** When Redis was told last, oldest first. */
  readonly #told = new Map<Held, number>()
  readonly #takes: Record<TakeResult, number> = { granted: 0, refused: 0, 'granted-alone': 0 }
  #number = 0
  #telling = 0
  #isOpen = false
  #ends: readonly (() => void)[] = []
  #retry: Timer | undefined
  #renewal: Timer | undefined

  constructor(options: SharedCountsOptions) {
    this.#options = { ...DEFAULTS, ...options }
    this.#log = options.logger.child({ component: 'quota' })
    this.#pace = new LinePace(options.clock)
    registerCountMetrics(options.registry, { takes: this.#takes, untold: () => this.#untold.size })
  }

  start(_options?: StartOptions): Promise<void> {
    if (this.#isOpen) return Promise.resolve()
    this.#isOpen = true
    const { redis, fleet } = this.#options
    this.#ends = [
      fleet.onReturn(() => this.#tellAll()),
      redis.onChange((isUp) => {
        if (isUp) this.#tell()
      }),
    ]
    this.#renewSoon()
    return Promise.resolve()
  }

  /** Tells nothing more: the others learn from the fleet that this gateway is gone. */
  close(_options?: CloseOptions): Promise<void> {
    this.#isOpen = false
    for (const end of this.#ends) end()
    this.#ends = []
    this.#retry?.cancel()
    this.#retry = undefined
    this.#renewal?.cancel()
    this.#renewal = undefined
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** How many this gateway holds of a user. */
  held(user: string): number {
    return this.#held.get(this.#keyOf(user))?.count ?? 0
  }

  /**
   * Takes one more for a user. False when it has all that it may have in the fleet; asks Redis once, and not at all for users
   * without a limit or when this gateway alone holds as many already. Those that it is being asked about count as held, so at the
   * bound one of several at once may be refused that would just have fitted. A refusal asks again where gateways that hold
   * the rest turn out to be gone. Never rejects.
   */
  take(user: string): boolean | Promise<boolean> {
    const most = this.#options.most(user)
    const held = this.#hold(user)
    if (most <= 0) return true
    if (held.count > most) {
      this.#release(held)
      this.#takes.refused++
      return false
    }
    return this.#take(held, most)
  }

  /** Gives one back; the others see it soon. */
  give(user: string): void {
    const held = this.#held.get(this.#keyOf(user))
    if (held !== undefined && held.count > 0) this.#release(held)
  }

  /** Limits have changed: what users hold who had none before has to be told. */
  recheck(): void {
    for (const held of this.#held.values()) this.#settle(held)
  }

  /** Tells Redis everything again: it has lost it, or may have. */
  #tellAll(): void {
    for (const held of this.#held.values()) {
      if (held.told === 0 && this.#options.most(held.user) <= 0) continue
      held.told = undefined
      this.#mark(held)
    }
    this.#tell()
  }

  async #take(held: Held, most: number): Promise<boolean> {
    const beganMs = this.#options.clock.nowMs()
    try {
      const { isGranted, others } = await this.#say(held, 1, most, [])
      const isTaken = isGranted || (await this.#takeAgain(held, most, others, beganMs))
      this.#takes[isTaken ? 'granted' : 'refused']++
      return isTaken
    } catch (error) {
      // It was within the bound by what this gateway holds; that is told when Redis answers again.
      this.#warn(error)
      this.#takes['granted-alone']++
      return true
    } finally {
      this.#settle(held)
    }
  }

  /**
   * Asks again without those of the others that are gone. A refusal when that takes too long; what is granted after that is
   * given back. Never rejects.
   */
  #takeAgain(held: Held, most: number, others: readonly GatewayId[], beganMs: number): Promise<boolean> {
    const { clock, deadlineMs } = this.#options
    return new Promise((resolve) => {
      let isLate = false
      const timer = clock.after(beganMs + deadlineMs - clock.nowMs(), () => {
        isLate = true
        resolve(false)
      })
      void this.#takeFromGone(held, most, others).then((isGranted) => {
        timer.cancel()
        if (!isGranted || isLate) this.#release(held)
        resolve(isGranted)
      })
    })
  }

  async #takeFromGone(held: Held, most: number, others: readonly GatewayId[]): Promise<boolean> {
    if (others.length === 0) return false
    try {
      const gone = await this.#options.fleet.gone(others)
      return gone.size > 0 && (await this.#say(held, 1, most, [...gone])).isGranted
    } catch (error) {
      // Redis has said that the bound is reached, as far as it knows.
      this.#warn(error)
      return false
    }
  }

  /** Tells Redis the count of a user, and takes one that is counted already; `#settle` comes after. @throws RedisError */
  async #say(held: Held, more: 0 | 1, most: number, gone: readonly GatewayId[]): Promise<Answer> {
    const { redis, fleet, clock } = this.#options
    held.inFlight++
    try {
      const args = [fleet.id, ++this.#number, held.count - more, more, most, KEEP_SECONDS, ...gone]
      const answer = answerOf(await redis.run(SAY_COUNT, [held.key], args))
      // Whatever is there in this gateway's name, it must be able to say something newer.
      this.#number = Math.max(this.#number, answer.ownNumber)
      held.told = answer.own
      this.#told.delete(held)
      this.#told.set(held, clock.nowMs())
      return answer
    } catch (error) {
      // It may have been done, or not.
      held.told = undefined
      throw error
    } finally {
      held.inFlight--
    }
  }

  #hold(user: string): Held {
    const key = this.#keyOf(user)
    let held = this.#held.get(key)
    if (held === undefined) {
      held = { user, key, count: 0, told: 0, inFlight: 0 }
      this.#held.set(key, held)
    }
    held.count++
    this.#leaving.delete(held)
    return held
  }

  #release(held: Held): void {
    held.count--
    this.#settle(held)
  }

  /** What Redis has to be told goes out; of whom nothing is left to tell nothing is kept. */
  #settle(held: Held): void {
    if (held.inFlight > 0 || this.#held.get(held.key) !== held) return
    const isTold = held.told === held.count || (held.told === 0 && this.#options.most(held.user) <= 0)
    if (!isTold) {
      this.#mark(held)
      this.#tell()
      return
    }
    this.#untold.delete(held)
    this.#leaving.delete(held)
    if (held.count === 0) this.#forget(held)
  }

  #mark(held: Held): void {
    this.#untold.add(held)
    if (held.count > 0) return
    this.#leaving.add(held)
    // While Redis is away users come and go. What it has of the oldest lapses there by itself.
    for (const oldest of this.#leaving) {
      if (this.#leaving.size <= MAX_LEAVING) break
      this.#forget(oldest)
    }
  }

  #forget(held: Held): void {
    this.#untold.delete(held)
    this.#leaving.delete(held)
    this.#told.delete(held)
    if (this.#held.get(held.key) === held) this.#held.delete(held.key)
  }

  /** Tells what is untold, a few at a time. */
  #tell(): void {
    if (!this.#isOpen || this.#retry !== undefined || !this.#options.redis.isUp) return
    for (const held of this.#untold) {
      if (this.#telling >= MAX_TELLING) return
      this.#untold.delete(held)
      this.#telling++
      void this.#say(held, 0, 0, [])
        .catch((error: unknown) => {
          this.#warn(error)
          if (!this.#isOpen) return
          this.#retry ??= this.#options.clock.after(RETRY_MS, () => {
            this.#retry = undefined
            this.#tell()
          })
        })
        .then(() => {
          this.#telling--
          this.#settle(held)
          this.#tell()
        })
    }
  }

  #renewSoon(): void {
    const { clock } = this.#options
    this.#renewal = clock.after(RENEW_LOOK_MS, () => {
      const nowMs = clock.nowMs()
      for (const [held, toldMs] of this.#told) {
        if (nowMs - toldMs < RENEW_MS) break
        this.#told.delete(held)
        if (held.count === 0 || this.#options.most(held.user) <= 0) continue
        held.told = undefined
        this.#mark(held)
      }
      this.#tell()
      this.#renewSoon()
    })
  }

  #warn(error: unknown): void {
    const code = errorCode(error)
    const due = this.#pace.due(code)
    if (due !== undefined) this.#log.warn({ code, ...due }, 'users are counted by this gateway alone')
  }

  /** Names that are short and plain stay readable in Redis; of others, which may be any bytes, there is a hash. */
  #keyOf(user: string): string {
    const name = plainName.test(user) ? user : `#${createHash('sha256').update(user).digest('base64url')}`
    return this.#options.redis.key(`${this.#options.name}:${name}`)
  }
}

/** What this gateway holds of one user. */
interface Held {
  readonly user: string
  readonly key: string
  /** With those that Redis is being asked about. */
  count: number
  /** What Redis has; undefined when that is not certain. */
  told: number | undefined
  /** Questions without an answer so far. */
  inFlight: number
}

interface Answer {
  readonly isGranted: boolean
  readonly own: number
  readonly ownNumber: number
  /** Who holds the rest, of a refusal. */
  readonly others: readonly GatewayId[]
}

function answerOf(reply: unknown): Answer {
  const [granted, own, ownNumber, ...others] = Array.isArray(reply) ? (reply as readonly unknown[]) : []
  return {
    isGranted: granted === 1,
    own: typeof own === 'number' ? own : 0,
    ownNumber: typeof ownNumber === 'number' && ownNumber <= MAX_NUMBER ? ownNumber : 0,
    others: others.flatMap((id) => (typeof id === 'string' && isGatewayId(id) ? [id] : [])),
  }
}

const plainName = /^[\w.@-]{1,64}$/

/** A count that is not told again is worth nothing after so long. */
const KEEP_SECONDS = 1800
/** A count is told again after so long. */
const RENEW_MS = 600_000
const RENEW_LOOK_MS = 10_000
/** After a failure. */
const RETRY_MS = 1000
/** Counts on their way to Redis at a time: the next goes out when one is there, so that it sets the pace. */
const MAX_TELLING = 8
/** Users who hold nothing any more and whose last count is not told. */
const MAX_LEAVING = 10_000
