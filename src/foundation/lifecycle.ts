/** What `start` may be told. */
export interface StartOptions {
  /** Aborted when the caller no longer wants the component; `start` then rejects. */
  readonly signal?: AbortSignal
}

/** How `close` ends what is still running. */
export interface CloseOptions {
  /** How long running sessions may go on before they are cut, in milliseconds. @defaultValue 0 */
  readonly graceMs?: number
}

/**
 * A component that owns resources. Constructors only assign; `start` opens sockets and resolves when
 * ready; `close` stops accepting, waits up to `graceMs` for running sessions, then cuts them. Both may
 * be called twice.
 */
export interface Lifecycle {
  start(options?: StartOptions): Promise<void>
  close(options?: CloseOptions): Promise<void>
}

/**
 * Components that are started in the order they were added and closed in the reverse order. When one
 * fails to start, those that had started are closed before the error is passed on.
 */
export class LifecycleStack implements Lifecycle {
  readonly #components: Lifecycle[] = []
  #started: Lifecycle[] = []

  add<T extends Lifecycle>(component: T): T {
    this.#components.push(component)
    return component
  }

  async start(options: StartOptions = {}): Promise<void> {
    if (this.#started.length > 0) return
    for (const component of this.#components) {
      try {
        options.signal?.throwIfAborted()
        await component.start(options)
        this.#started.push(component)
      } catch (error) {
        await this.close()
        throw error
      }
    }
  }

  async close(options: CloseOptions = {}): Promise<void> {
    const started = this.#started
    this.#started = []
    const failures: unknown[] = []
    for (const component of started.toReversed()) {
      try {
        await component.close(options)
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'components failed to close')
  }
}
