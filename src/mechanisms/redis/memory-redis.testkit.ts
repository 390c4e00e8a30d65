import { ManualClock } from '../../foundation/clock.ts'
import type { Redis, RedisArgument, RedisScript } from './contract.ts'
import { RedisError } from './errors.ts'

/** What a script does, written once more: `args` as texts, as Lua has them. */
export type MemoryScript = (
  server: MemoryRedisServer,
  keys: readonly string[],
  args: readonly string[],
) => unknown

/** Texts with their time to live, in memory, that many clients share. It knows what is asked of texts, and the scripts it is given. */
export class MemoryRedisServer {
  readonly clock: ManualClock
  readonly scripts: Readonly<Record<string, MemoryScript>>
  /** Every command and script that reached it, by name. */
  readonly log: string[] = []
  /** Scripts that it knows, as it does after their first use; others a client has to send again. */
  readonly known: Set<string>
  readonly #values = new Map<string, { readonly text: string; readonly expiresMs: number }>()

  constructor(scripts: Readonly<Record<string, MemoryScript>> = {}, clock: ManualClock = new ManualClock()) {
    this.scripts = scripts
    this.known = new Set(Object.keys(scripts))
    this.clock = clock
  }

  connect(): MemoryRedis {
    return new MemoryRedis(this)
  }

  /** Keys that live, in alphabetical order. */
  get keys(): readonly string[] {
    return [...this.#values.keys()].filter((key) => this.get(key) !== null).toSorted()
  }

  get(key: string): string | null {
    const value = this.#values.get(key)
    return value === undefined || value.expiresMs <= this.clock.nowMs() ? null : value.text
  }

  set(key: string, text: string, ttlMs = Infinity): void {
    this.#values.set(key, { text, expiresMs: this.clock.nowMs() + ttlMs })
  }

  del(key: string): boolean {
    const wasThere = this.get(key) !== null
    this.#values.delete(key)
    return wasThere
  }

  /** Time that a key has left, in milliseconds; undefined when it is not there. */
  ttlMs(key: string): number | undefined {
    const value = this.#values.get(key)
    return this.get(key) === null || value === undefined ? undefined : value.expiresMs - this.clock.nowMs()
  }

  expire(key: string, ttlMs: number): boolean {
    const text = this.get(key)
    if (text !== null) this.set(key, text, ttlMs)
    return text !== null
  }

  flush(): void {
    this.#values.clear()
  }
}

/** One connection. Answers come some turns of the event loop after the question. */
export class MemoryRedis implements Redis {
  isUp = true
  /** Commands are done, but their answers come too late. */
  isSlow = false
  readonly #server: MemoryRedisServer
  readonly #listeners = new Set<(isUp: boolean) => void>()

  constructor(server: MemoryRedisServer) {
    this.#server = server
  }

  setUp(isUp: boolean): void {
    if (this.isUp === isUp) return
    this.isUp = isUp
    for (const listener of [...this.#listeners]) listener(isUp)
  }

  key(name: string): string {
    return `p:${name}`
  }

  command(name: string, ...args: readonly RedisArgument[]): Promise<unknown> {
    return this.#ask(name, () => this.#command(name, args.map(String)))
  }

  async run(
    { name }: RedisScript,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    const script = this.#server.scripts[name]
    if (script === undefined) throw new RedisError('REDIS_REFUSED', `no script ${name} here`)
    if (this.isUp && !this.#server.known.has(name)) {
      await new Promise((resolve) => void setImmediate(resolve))
      this.#server.known.add(name)
    }
    return await this.#ask(name, () => script(this.#server, keys, args.map(String)))
  }

  scan(): Promise<readonly string[]> {
    return Promise.resolve(this.#server.keys)
  }

  subscribe(): () => void {
    return () => {}
  }

  publish(): Promise<void> {
    return Promise.resolve()
  }

  onChange(listener: (isUp: boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Done when it is asked, in the order of asking, as on one connection. */
  async #ask(name: string, act: () => unknown): Promise<unknown> {
    if (!this.isUp) throw new RedisError('REDIS_AWAY', `${name}: Redis is away`)
    this.#server.log.push(name)
    const answer = act()
    const { isSlow } = this
    await new Promise((resolve) => void setImmediate(resolve))
    if (isSlow) throw new RedisError('REDIS_SLOW', `${name}: no answer in time`)
    return answer
  }

  #command(name: string, [key = '', ...rest]: readonly string[]): unknown {
    const server = this.#server
    switch (name) {
      case 'GET':
        return server.get(key)
      case 'SET':
        return this.#set(key, rest)
      case 'DEL':
        return server.del(key) ? 1 : 0
      case 'PEXPIRE':
        return server.expire(key, Number(rest[0])) ? 1 : 0
      default:
        throw new RedisError('REDIS_REFUSED', `no ${name} here`)
    }
  }

  #set(key: string, [text = '', ...options]: readonly string[]): 'OK' | null {
    if (options.includes('NX') && this.#server.get(key) !== null) return null
    const at = options.indexOf('PX')
    this.#server.set(key, text, at < 0 ? Infinity : Number(options[at + 1]))
    return 'OK'
  }
}
