import { ManualClock } from '../../foundation/clock.ts'
import { SluiceError } from '../../foundation/errors.ts'
import type { Redis, RedisArgument, RedisScript } from '../redis/index.ts'

/** A Redis in memory that knows what a fleet asks of it, with the effect of its scripts written once more. */
export class FakeRedisServer {
  readonly hashes = new Map<string, Map<string, string>>()
  readonly channels = new Map<string, Set<(message: string) => void>>()
  readonly clients = new Set<FakeRedis>()
  readonly clock: ManualClock

  constructor(clock: ManualClock = new ManualClock()) {
    this.clock = clock
  }

  connect(): FakeRedis {
    const client = new FakeRedis(this)
    this.clients.add(client)
    return client
  }

  /** All that is kept is lost. */
  flush(): void {
    this.hashes.clear()
  }

  /** For all clients at once. */
  setUp(isUp: boolean): void {
    for (const client of this.clients) client.setUp(isUp)
  }

  hash(key: string): Map<string, string> {
    const found = this.hashes.get(key) ?? new Map<string, string>()
    this.hashes.set(key, found)
    return found
  }
}

export class FakeRedis implements Redis {
  readonly #server: FakeRedisServer
  readonly #listeners = new Set<(isUp: boolean) => void>()
  readonly #subscriptions = new Set<() => void>()
  isUp = true
  /** Commands fail as if Redis took too long, though it is not away. */
  isSlow = false
  /** Runs and commands that were tried. */
  asked = 0

  constructor(server: FakeRedisServer) {
    this.#server = server
  }

  setUp(isUp: boolean): void {
    if (this.isUp === isUp) return
    this.isUp = isUp
    for (const listener of [...this.#listeners]) listener(isUp)
  }

  /** What is left of those who closed: nothing. */
  get listening(): number {
    return this.#listeners.size + this.#subscriptions.size
  }

  key(name: string): string {
    return `p:${name}`
  }

  async command(name: string, ...args: readonly RedisArgument[]): Promise<unknown> {
    await this.#reach()
    const [key = '', ...fields] = args.map(String)
    if (name !== 'HMGET') throw refused(`no ${name} here`)
    return fields.map((field) => this.#server.hash(key).get(field) ?? null)
  }

  async run(
    { name }: RedisScript,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    await this.#reach()
    const hash = this.#server.hash(keys[0] ?? '')
    const texts = args.map(String)
    if (name === 'fleet-renew') return renew(hash, texts, this.#server.clock.wallMs())
    if (name === 'fleet-leave') return leave(hash, texts)
    throw refused(`no script ${name} here`)
  }

  scan(): Promise<readonly string[]> {
    return Promise.resolve([...this.#server.hashes.keys()])
  }

  subscribe(channel: string, onMessage: (message: string) => void): () => void {
    const listeners = this.#server.channels.get(channel) ?? new Set()
    this.#server.channels.set(channel, listeners)
    const hear = (message: string): void => {
      if (this.isUp) onMessage(message)
    }
    listeners.add(hear)
    const end = (): void => {
      listeners.delete(hear)
      this.#subscriptions.delete(end)
    }
    this.#subscriptions.add(end)
    return end
  }

  async publish(channel: string, message: string): Promise<void> {
    await this.#reach()
    for (const hear of [...(this.#server.channels.get(channel) ?? [])]) hear(message)
  }

  onChange(listener: (isUp: boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async #reach(): Promise<void> {
    this.asked++
    await Promise.resolve()
    if (!this.isUp) throw new SluiceError('REDIS_AWAY', 'away', { side: 'self', retryable: true })
    if (this.isSlow) throw new SluiceError('REDIS_SLOW', 'slow', { side: 'self', retryable: true })
  }
}

function renew(hash: Map<string, string>, args: readonly string[], nowMs: number): readonly string[] {
  const [id = '', entry = '', leaseMs, most, longest] = args
  const reply = ['ok', '']
  for (const [field, value] of hash) {
    const [, until = '', text = ''] = /^(\d+) (.*)$/s.exec(value) ?? []
    const isLease = until !== '' && Number(until) > nowMs && Number(until) <= nowMs + 86_400_000
    if (!isLease || value.length > Number(longest) + 20) hash.delete(field)
    else if (field === id) reply[1] = text
    else reply.push(field, text)
  }
  if (hash.size >= Number(most) && reply[1] === '') return ['full']
  hash.set(id, `${nowMs + Number(leaseMs)} ${entry}`)
  return reply
}

function leave(hash: Map<string, string>, [id = '', mark = '']: readonly string[]): number {
  return hash.get(id)?.includes(mark) === true && hash.delete(id) ? 1 : 0
}

function refused(message: string): SluiceError {
  return new SluiceError('REDIS_REFUSED', message, { side: 'self', retryable: false })
}
