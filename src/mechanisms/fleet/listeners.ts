import { errorCode, errorMessage } from '../../foundation/errors.ts'
import type { LinePace, Logger } from '../telemetry/index.ts'

/** Functions of others that are called at an event. What one throws is logged and keeps nothing from the rest. */
export class Listeners<Arguments extends readonly unknown[]> {
  readonly #log: Logger
  readonly #pace: LinePace
  readonly #event: string
  readonly #listeners = new Set<{ readonly call: (...args: Arguments) => void }>()

  constructor(event: string, { log, pace }: { readonly log: Logger; readonly pace: LinePace }) {
    this.#event = event
    this.#pace = pace
    this.#log = log
  }

  get size(): number {
    return this.#listeners.size
  }

  /** The function takes it out again. */
  add(call: (...args: Arguments) => void): () => void {
    const entry = { call }
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  call(...args: Arguments): void {
    for (const { call } of [...this.#listeners]) {
      try {
        call(...args)
      } catch (error) {
        const due = this.#pace.due(`listener ${this.#event}`)
        if (due === undefined) continue
        const fields = { event: this.#event, code: errorCode(error), reason: errorMessage(error), ...due }
        this.#log.error(fields, 'a listener failed')
      }
    }
  }
}
