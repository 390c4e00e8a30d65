import { signal } from '@preact/signals'
import type { Signal } from '@preact/signals'
import type { MediaStats } from '../media/rtc-stats.ts'
import { describeError } from '../media/session-error.ts'

export type Phase = 'idle' | 'connecting' | 'live' | 'ended' | 'failed'

/** A session that runs. */
export interface Running {
  stats(): Promise<MediaStats>
  end(): Promise<void>
}

/** Begins a session; it gives up when `abort` fires, and calls `onEnded` when the other side ends it later. */
export type Open = (abort: AbortSignal, onEnded: (reason: string) => void) => Promise<Running>

const STATS_INTERVAL_MS = 500

/** One session at a time, as the page shows it: where it stands, what went wrong, its numbers. */
export class Session {
  readonly phase: Signal<Phase> = signal('idle')
  readonly message: Signal<string> = signal('')
  readonly stats: Signal<MediaStats> = signal({})
  #abort = new AbortController()
  #running: Running | undefined
  #ticker: ReturnType<typeof setInterval> | undefined

  async start(open: Open): Promise<void> {
    await this.stop()
    const abort = new AbortController()
    this.#abort = abort
    this.phase.value = 'connecting'
    try {
      const running = await open(abort.signal, (reason) => {
        if (!abort.signal.aborted) void this.#finish('ended', reason)
      })
      if (abort.signal.aborted) {
        await running.end()
        return
      }
      this.#running = running
      this.phase.value = 'live'
      this.#ticker = setInterval(() => void this.#readStats(running), STATS_INTERVAL_MS)
    } catch (error) {
      if (!abort.signal.aborted) await this.#finish('failed', describeError(error))
    }
  }

  async stop(): Promise<void> {
    await this.#finish('idle', '')
  }

  async #finish(phase: Phase, message: string): Promise<void> {
    this.#abort.abort()
    clearInterval(this.#ticker)
    const running = this.#running
    this.#running = undefined
    this.phase.value = phase
    this.message.value = message
    this.stats.value = {}
    await running?.end()
  }

  async #readStats(running: Running): Promise<void> {
    const stats = await running.stats()
    if (running === this.#running) this.stats.value = stats
  }
}
