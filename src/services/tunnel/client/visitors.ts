import { isDeepStrictEqual } from 'node:util'
import type { Timer } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { VisitorConfig } from '../../../mechanisms/frp-config/index.ts'
import { StcpVisitor } from './stcp-visitor.ts'
import { SudpVisitor } from './sudp-visitor.ts'
import type { Visitor, VisitorParts } from './visitor.ts'

/** A port that could not be had is tried again so much later, in milliseconds. */
const retryMs = 10_000

interface Running {
  readonly visitor: Visitor
  /** Until the first attempt to open its port is over: a port that is being opened cannot be closed. Never rejects. */
  starting: Promise<unknown>
  retry: Timer | undefined
  isClosed: boolean
}

/** The visitors of a client, by name. They keep their ports while the client has no login. */
export class Visitors {
  readonly #parts: Omit<VisitorParts, 'visitor'>
  #running = new Map<string, Running>()
  readonly #closing = new Set<Promise<void>>()

  constructor(parts: Omit<VisitorParts, 'visitor'>) {
    this.#parts = parts
  }

  /** Puts other visitors in force; those that are equal go on untouched. */
  update(configs: readonly VisitorConfig[]): void {
    const before = this.#running
    const next = new Map<string, Running>()
    const added: Running[] = []
    for (const config of configs) {
      if (next.has(config.name)) continue
      const running = before.get(config.name)
      if (running !== undefined && isDeepStrictEqual(running.visitor.config, config)) {
        next.set(config.name, running)
        continue
      }
      const visitor = this.#make(config)
      const fresh = { visitor, starting: Promise.resolve(), retry: undefined, isClosed: false }
      next.set(config.name, fresh)
      added.push(fresh)
    }
    const removed = [...before.values()].filter((running) => next.get(nameOf(running)) !== running)
    this.#running = next
    for (const running of removed) this.#close(running)
    // Behind it: those that come may want the ports.
    const released = Promise.all(removed.map(({ starting }) => starting))
    for (const running of added) running.starting = released.then(() => this.#start(running))
    const { log } = this.#parts
    if (removed.length > 0) log.info({ visitors: removed.map(nameOf) }, 'visitor removed')
    if (added.length > 0) log.info({ visitors: added.map(nameOf) }, 'visitor added')
  }

  /** Closes all ports. Resolves when the user connections, which run on, are over. */
  async close(): Promise<void> {
    for (const running of this.#running.values()) this.#close(running)
    this.#running = new Map()
    await Promise.all(this.#closing)
  }

  #make(config: VisitorConfig): Visitor {
    const parts = {
      ...this.#parts,
      log: this.#parts.log.child({ proxy: config.name }),
      visitor: (name: string) => this.#running.get(name)?.visitor,
    }
    return config.type === 'stcp' ? new StcpVisitor(config, parts) : new SudpVisitor(config, parts)
  }

  /** Never rejects. */
  async #start(running: Running): Promise<void> {
    const { log, clock } = this.#parts
    const proxy = nameOf(running)
    if (running.isClosed) return
    try {
      await running.visitor.start()
      if (!running.isClosed) log.info({ proxy }, 'start visitor success')
    } catch (error) {
      if (running.isClosed) return
      log.warn({ proxy, error: errorMessage(error) }, 'start error')
      running.retry = clock.after(retryMs, () => {
        running.starting = this.#start(running)
      })
    }
  }

  #close(running: Running): void {
    running.isClosed = true
    running.retry?.cancel()
    const closing: Promise<void> = running.starting
      .then(() => running.visitor.close())
      .finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
  }
}

function nameOf({ visitor }: Running): string {
  return visitor.config.name
}
