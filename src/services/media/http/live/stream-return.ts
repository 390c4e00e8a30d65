import type { StreamKey } from '../../../../mechanisms/balancer/index.ts'

interface Absence {
  waiting: number
  /** Somebody asks origins for the stream, for all who wait. */
  isAsked: boolean
  /** An origin has it again: everybody asks for itself. */
  isBack: boolean
  readonly wake: Set<() => void>
}

/**
 * Who waits for streams whose origin has gone. Of the viewers of one stream one asks the origins until they have it again, and
 * then all do; otherwise a thousand viewers would fall upon an origin that is just starting.
 */
export class StreamReturn {
  readonly #absences = new Map<StreamKey, Absence>()
  readonly #maxWaiting: number
  #waiting = 0

  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting
  }

  /** Viewers who wait. */
  get waiting(): number {
    return this.#waiting
  }

  /** Undefined when as many wait as may. */
  wait(key: StreamKey): Waiter | undefined {
    if (this.#waiting >= this.#maxWaiting) return undefined
    this.#waiting++
    const absence = this.#absences.get(key) ?? {
      waiting: 0,
      isAsked: false,
      isBack: false,
      wake: new Set(),
    }
    this.#absences.set(key, absence)
    absence.waiting++
    return new Waiter(absence, () => {
      this.#waiting--
      if (--absence.waiting === 0) this.#absences.delete(key)
    })
  }
}

export class Waiter {
  readonly #absence: Absence
  readonly #leave: () => void
  #asks = false
  #hasLeft = false

  constructor(absence: Absence, leave: () => void) {
    this.#absence = absence
    this.#leave = leave
  }

  /** Resolves when it is this viewer's turn to ask, at once if nobody else does. Rejects when the signal is aborted. */
  async turn(signal: AbortSignal): Promise<void> {
    const absence = this.#absence
    for (;;) {
      signal.throwIfAborted()
      if (this.#asks || absence.isBack) return
      if (!absence.isAsked) {
        absence.isAsked = this.#asks = true
        return
      }
      await untilWoken(absence.wake, signal)
    }
  }

  /** An origin has the stream. */
  found(): void {
    this.#absence.isBack = true
    this.#wakeAll()
  }

  /** No origin has it, or not any more. */
  notFound(): void {
    this.#absence.isBack = false
  }

  /** Waits no longer, for whatever reason; may be called twice. */
  leave(): void {
    if (this.#hasLeft) return
    this.#hasLeft = true
    if (this.#asks) {
      this.#absence.isAsked = false
      this.#wakeAll()
    }
    this.#leave()
  }

  #wakeAll(): void {
    for (const wake of [...this.#absence.wake]) wake()
  }
}

function untilWoken(wake: Set<() => void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      wake.delete(done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    wake.add(done)
    signal.addEventListener('abort', done)
  })
}
