import { SluiceError } from '../../foundation/errors.ts'
import type { Fleet, GatewayId } from '../fleet/index.ts'
import type { Redis, RedisArgument, RedisScript } from '../redis/index.ts'
import { SAY_COUNT } from './count-script.ts'

/** What a Redis keeps of counts, in memory, for the one script that counts; each gateway has a connection of its own to it. */
export class FakeCounts {
  /** By key, then by gateway: count and number. */
  readonly hashes: Map<string, Map<string, { count: number; number: number }>> = new Map()
  /** Scripts that were run. */
  runs = 0

  /** What the gateways of a key have there, summed. */
  sum(key: string): number {
    return [...(this.hashes.get(key)?.values() ?? [])].reduce((sum, { count }) => sum + count, 0)
  }

  say(key: string, args: readonly RedisArgument[]): unknown {
    this.runs++
    const [me = '', number, mine, more, most, , ...gone] = args.map(String)
    const hash = this.hashes.get(key) ?? new Map<string, { count: number; number: number }>()
    this.hashes.set(key, hash)
    for (const id of gone) hash.delete(id)
    const own = hash.get(me) ?? { count: 0, number: 0 }
    const others = [...hash].filter(([id]) => id !== me)
    const sum = others.reduce((all, [, { count }]) => all + count, 0)
    if (Number(more) > 0 && sum + Number(mine) + Number(more) > Number(most)) {
      return [0, own.count, own.number, ...others.map(([id]) => id)]
    }
    if (Number(number) <= own.number) return [Number(more), own.count, own.number]
    const count = Number(mine) + Number(more)
    if (count > 0) hash.set(me, { count, number: Number(number) })
    else hash.delete(me)
    return [Number(more), count, Number(number)]
  }
}

/** The connection of one gateway, which can be cut, be slow and lose answers. */
export class FakeConnection implements Redis {
  readonly #counts: FakeCounts
  readonly #listeners = new Set<(isUp: boolean) => void>()
  #isUp = true
  /** Scripts that wait, when `isHeld`. */
  readonly #waiting: (() => void)[] = []
  isHeld = false
  /** Does what it is asked for, and answers with REDIS_SLOW. */
  losesAnswers = false

  constructor(counts: FakeCounts) {
    this.#counts = counts
  }

  get isUp(): boolean {
    return this.#isUp
  }

  get listeners(): number {
    return this.#listeners.size
  }

  get waiting(): number {
    return this.#waiting.length
  }

  set isUp(isUp: boolean) {
    this.#isUp = isUp
    for (const listener of this.#listeners) listener(isUp)
  }

  key(name: string): string {
    return name
  }

  async run(
    script: RedisScript,
    [key = '']: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    if (script !== SAY_COUNT) throw new TypeError(script.name)
    if (!this.#isUp) throw failure('REDIS_AWAY')
    if (this.isHeld) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    const answer = this.#counts.say(key, args)
    if (this.losesAnswers) throw failure('REDIS_SLOW')
    return answer
  }

  /** Lets the oldest that waits go on. */
  letOne(): void {
    this.#waiting.shift()?.()
  }

  letAll(): void {
    this.isHeld = false
    for (const go of this.#waiting.splice(0)) go()
  }

  onChange(listener: (isUp: boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  command(): Promise<unknown> {
    return Promise.reject(new TypeError('only scripts'))
  }

  scan(): Promise<readonly string[]> {
    return Promise.reject(new TypeError('only scripts'))
  }

  publish(): Promise<void> {
    return Promise.reject(new TypeError('only scripts'))
  }

  subscribe(): () => void {
    throw new TypeError('only scripts')
  }
}

/** A gateway of a fleet whose dead are named by hand. */
export class FakeFleet implements Pick<Fleet, 'id' | 'gone' | 'onReturn'> {
  readonly id: GatewayId
  readonly dead: Set<string>
  readonly #listeners = new Set<() => void>()
  /** Its next answer waits for this. */
  holds: Promise<void> = Promise.resolve()

  constructor(id: string, dead: Set<string>) {
    this.id = id as GatewayId
    this.dead = dead
  }

  get listeners(): number {
    return this.#listeners.size
  }

  async gone(ids: readonly GatewayId[]): Promise<ReadonlySet<GatewayId>> {
    await this.holds
    return new Set(ids.filter((id) => this.dead.has(id)))
  }

  onReturn(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  comeBack(): void {
    for (const listener of this.#listeners) listener()
  }
}

function failure(code: string): SluiceError {
  return new SluiceError(code, code, { side: 'origin', retryable: true })
}
