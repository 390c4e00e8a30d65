import { Registry } from 'prom-client'
import type { Fleet, GatewayId } from '../../fleet/index.ts'
import { gatewayId } from '../../fleet/index.ts'
import { type MemoryRedis, MemoryRedisServer, type MemoryScript } from '../../redis/memory-redis.testkit.ts'
import { createLogger, type Logger } from '../../telemetry/index.ts'
import { OURS_MARK } from './srs-rtc-value.ts'

/** The effect of the scripts of sessions, written once more. */
const SCRIPTS: Readonly<Record<string, MemoryScript>> = {
  'keep-session': (server, [key = ''], [ttlMs, mark = '', value = '']) => {
    const there = server.get(key)
    if (there?.includes(OURS_MARK) === true && !there.includes(mark)) return 'other'
    if (value !== '') server.set(key, value, Number(ttlMs))
    else if (!server.expire(key, Number(ttlMs))) return 'gone'
    return 'kept'
  },
  'take-session': (server, [key = ''], [ttlMs, value = '', how, mark = '']) => {
    const former = server.get(key)
    if (how === 'unserved') {
      if (former === null) return [0, '']
      if (former.includes(OURS_MARK) && !former.includes(mark)) return [0, former]
    }
    server.set(key, value, Number(ttlMs))
    return [1, former ?? '']
  },
  'remove-value': (server, [key = ''], [part = '', how]) => {
    const value = server.get(key)
    if (value === null) return null
    if (value !== part && (how === 'all' || !value.includes(part))) return null
    server.del(key)
    return value
  },
}

/** Several gateways on one Redis in memory, and what goes between them. */
export class TestGateways {
  readonly server = new MemoryRedisServer(SCRIPTS)
  readonly #fleets = new Map<string, TestFleet>()
  readonly gone = new Set<string>()

  /** Gateways whose messages do not arrive. */
  readonly deaf = new Set<string>()

  open(name: string): TestGateway {
    const redis = this.server.connect()
    const fleet = new TestFleet(gatewayId(name), this)
    this.#fleets.set(name, fleet)
    const lines: Record<string, unknown>[] = []
    const logger = createLogger({
      stream: { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
    })
    return { redis, fleet, lines, logger, registry: new Registry(), clock: this.server.clock }
  }

  deliver(from: GatewayId, to: string, topic: string, data: unknown): void {
    if (this.deaf.has(to)) return
    this.#fleets.get(to)?.hear(topic, JSON.parse(JSON.stringify(data)), from)
  }

  /** Until all that is under way has been answered. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => void setImmediate(resolve))
  }
}

export interface TestGateway {
  readonly redis: MemoryRedis
  readonly fleet: TestFleet
  readonly lines: readonly Record<string, unknown>[]
  readonly logger: Logger
  readonly registry: Registry
  readonly clock: MemoryRedisServer['clock']
}

export class TestFleet implements Pick<Fleet, 'id' | 'gone' | 'send' | 'on' | 'onReturn'> {
  readonly id: GatewayId
  readonly sent: unknown[] = []
  readonly #gateways: TestGateways
  readonly #handlers = new Map<string, (data: unknown, from: GatewayId) => void>()
  readonly #returns = new Set<() => void>()

  constructor(id: GatewayId, gateways: TestGateways) {
    this.id = id
    this.#gateways = gateways
  }

  gone(ids: readonly GatewayId[]): Promise<ReadonlySet<GatewayId>> {
    return Promise.resolve(new Set(ids.filter((id) => this.#gateways.gone.has(id))))
  }

  send(to: GatewayId | 'all', topic: string, data: unknown): void {
    this.sent.push({ to, data })
    this.#gateways.deliver(this.id, to, topic, data)
  }

  on(topic: string, handler: (data: unknown, from: GatewayId) => void): () => void {
    this.#handlers.set(topic, handler)
    return () => void this.#handlers.delete(topic)
  }

  onReturn(listener: () => void): () => void {
    this.#returns.add(listener)
    return () => void this.#returns.delete(listener)
  }

  /** What is left of those who closed: nothing. */
  get listening(): number {
    return this.#handlers.size + this.#returns.size
  }

  hear(topic: string, data: unknown, from: GatewayId): void {
    this.#handlers.get(topic)?.(data, from)
  }

  /** Redis is back, or has lost what it had. */
  return(): void {
    for (const listener of [...this.#returns]) listener()
  }
}
