import { setTimeout as delay } from 'node:timers/promises'
import type { Gateway } from './gateway.ts'
import { until } from './until.ts'

/** How often gateways are looked at. */
const LOOK_MS = 100
/** A gateway that says nothing for so long is out. */
const DEADLINE_MS = 2000

/**
 * The gateways behind balancers, looked at again and again as a balancer does: `/readyz` says who gets clients, `/healthz`
 * who lives.
 */
export class Rotation implements AsyncDisposable {
  readonly #gateways = new Map<Gateway, 'ready' | 'alive' | 'away'>()
  readonly #end = new AbortController()
  readonly #over: Promise<void>
  #told: readonly (() => void)[] = []

  constructor() {
    this.#over = this.#run()
  }

  /** Those that clients are led to, in the order in which they came. */
  get ready(): readonly Gateway[] {
    return this.#those((state) => state === 'ready')
  }

  /** These and those that live and are not ready, as one that has no origin yet. */
  get alive(): readonly Gateway[] {
    return this.#those((state) => state !== 'away')
  }

  /** Called after every round of looks. */
  onLook(listener: () => void): void {
    this.#told = [...this.#told, listener]
  }

  /** Resolves when it was found alive. */
  async add(gateway: Gateway): Promise<void> {
    this.#gateways.set(gateway, 'away')
    await until('a look at a gateway', () => this.alive.includes(gateway))
  }

  remove(gateway: Gateway): void {
    this.#gateways.delete(gateway)
  }

  /** Resolves when exactly these get clients. */
  async untilReady(gateways: readonly Gateway[]): Promise<void> {
    const isReady = (): boolean =>
      this.ready.length === gateways.length && gateways.every((gateway) => this.ready.includes(gateway))
    await until('gateways in rotation', isReady, { deadlineMs: 30_000 })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort()
    await this.#over
  }

  #those(are: (state: string) => boolean): readonly Gateway[] {
    return [...this.#gateways].filter(([, state]) => are(state)).map(([gateway]) => gateway)
  }

  async #run(): Promise<void> {
    while (!this.#end.signal.aborted) {
      await Promise.all([...this.#gateways.keys()].map((gateway) => this.#look(gateway)))
      for (const tell of this.#told) tell()
      await delay(LOOK_MS, undefined, { signal: this.#end.signal }).catch(() => {})
    }
  }

  async #look(gateway: Gateway): Promise<void> {
    const [isReady, isAlive] = [await this.#is(gateway, '/readyz'), await this.#is(gateway, '/healthz')]
    if (!this.#gateways.has(gateway)) return
    this.#gateways.set(gateway, isReady ? 'ready' : isAlive ? 'alive' : 'away')
  }

  async #is(gateway: Gateway, path: string): Promise<boolean> {
    const signal = AbortSignal.any([this.#end.signal, AbortSignal.timeout(DEADLINE_MS)])
    try {
      const response = await fetch(`http://127.0.0.1:${gateway.ports.admin}${path}`, { signal })
      await response.arrayBuffer()
      return response.ok
    } catch {
      return false
    }
  }
}
