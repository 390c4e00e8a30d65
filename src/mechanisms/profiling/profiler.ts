import { readdir, readFile } from 'node:fs/promises'
import type { Profiler as V8Profiler } from 'node:inspector'
import { Session } from 'node:inspector/promises'
import { type Clock, systemClock } from '../../foundation/clock.ts'
import type { Lifecycle } from '../../foundation/lifecycle.ts'
import { profilingError } from './errors.ts'
import { PprofProfile } from './pprof-profile.ts'
import { cpuProfile, heapProfile, type HeapSamples } from './v8-profiles.ts'

/** Go's rate too: 100 samples a second would miss short work, 10,000 cost too much. */
const CPU_INTERVAL_MICROS = 1000
/** One sample in so many bytes, as Go takes them. */
const HEAP_INTERVAL_BYTES = 512 * 1024
/** A trace is cut there. */
const MAX_TRACE_EVENTS = 500_000
const TRACE_CATEGORIES = ['v8', 'node', 'node.async_hooks', 'node.perf', 'node.net.native', 'node.http']

/**
 * Profiles of this process, by an inspector session within it: no port is opened, and nothing is asked of the process
 * until somebody wants a profile but the sampling of its heap, which costs next to nothing. One at a time of each kind.
 */
export class Profiler implements Lifecycle {
  readonly #clock: Clock
  #session: Session | undefined
  #heapSinceMs = 0
  readonly #running = new Set<string>()

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  async start(): Promise<void> {
    if (this.#session !== undefined) return
    this.#session = new Session()
    this.#session.connect()
    await this.#sampleHeap(false)
  }

  async close(): Promise<void> {
    this.#session?.disconnect()
    this.#session = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Where the CPU time of the next `seconds` goes. @throws PROFILING_BUSY, PROFILING_ABORTED */
  cpu(seconds: number, signal: AbortSignal): Promise<Buffer> {
    return this.#alone('profile', async (session) => {
      const startMs = this.#clock.wallMs()
      await session.post('Profiler.enable')
      await session.post('Profiler.setSamplingInterval', { interval: CPU_INTERVAL_MICROS })
      await session.post('Profiler.start')
      let profile: V8Profiler.Profile
      try {
        await this.#pause(seconds, signal)
      } finally {
        ;({ profile } = await session.post('Profiler.stop'))
        await session.post('Profiler.disable')
      }
      return cpuProfile(profile, CPU_INTERVAL_MICROS, { startMs, durationMs: seconds * 1000 })
    })
  }

  /** What lives in the heap of what was allocated since the start, or since the last `allocations`. */
  heap(): Promise<Buffer> {
    return this.#alone('heap', async (session) => {
      await session.post('HeapProfiler.collectGarbage')
      return heapProfile(await heapSamples(session), HEAP_INTERVAL_BYTES, false, this.#heapTimes())
    })
  }

  /** What is allocated within the next `seconds`, whether it lives on or not. @throws PROFILING_BUSY, PROFILING_ABORTED */
  allocations(seconds: number, signal: AbortSignal): Promise<Buffer> {
    return this.#alone('heap', async (session) => {
      await this.#sampleHeap(true)
      let profile: HeapSamples
      const times = { startMs: this.#heapSinceMs, durationMs: seconds * 1000 }
      try {
        await this.#pause(seconds, signal)
      } finally {
        profile = await heapSamples(session)
        await this.#sampleHeap(false)
      }
      return heapProfile(profile, HEAP_INTERVAL_BYTES, true, times)
    })
  }

  /** What the event loop waits for: sockets, timers, requests, by kind. What a goroutine is in Go. */
  tasks(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1)
    return counts
  }

  /** The threads of the process by name: V8's, libuv's, the engine's. Empty where the system does not tell. */
  async threads(): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>()
    const folder = '/proc/self/task'
    for (const id of await readdir(folder).catch(() => [])) {
      const name = (await readFile(`${folder}/${id}/comm`, 'utf8').catch(() => '')).trim()
      if (name !== '') counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    return counts
  }

  /** Counts by kind as a profile: each kind is a frame. */
  counted(type: string, counts: ReadonlyMap<string, number>): Buffer {
    const pprof = new PprofProfile([{ type, unit: 'count' }], { type, unit: 'count', value: 1 })
    for (const [name, count] of counts) pprof.add([{ name, file: '', line: 0 }], [count])
    return pprof.encode({ startMs: this.#clock.wallMs(), durationMs: 0 })
  }

  /** Events of V8 and Node within the next `seconds`, as Chromium's trace viewer and Perfetto take them. */
  trace(seconds: number, signal: AbortSignal): Promise<string> {
    return this.#alone('trace', async (session) => {
      const events: object[] = []
      const collect = ({ params }: { params: { value: object[] } }): void => {
        for (const event of params.value) if (events.length < MAX_TRACE_EVENTS) events.push(event)
      }
      const complete = new Promise((resolve) => session.once('NodeTracing.tracingComplete', resolve))
      session.on('NodeTracing.dataCollected', collect)
      try {
        await session.post('NodeTracing.start', { traceConfig: { includedCategories: TRACE_CATEGORIES } })
        try {
          await this.#pause(seconds, signal)
        } finally {
          await session.post('NodeTracing.stop')
          await complete
        }
      } finally {
        session.off('NodeTracing.dataCollected', collect)
      }
      return JSON.stringify({ traceEvents: events })
    })
  }

  async #alone<T>(kind: string, work: (session: Session) => Promise<T>): Promise<T> {
    const session = this.#session
    if (session === undefined) throw profilingError('PROFILING_ABORTED', 'the profiler is closed', 503)
    if (this.#running.has(kind)) {
      throw profilingError('PROFILING_BUSY', 'another profile of this kind is being taken', 409)
    }
    this.#running.add(kind)
    try {
      return await work(session)
    } finally {
      this.#running.delete(kind)
    }
  }

  async #sampleHeap(isAll: boolean): Promise<void> {
    await this.#session?.post('HeapProfiler.stopSampling').catch(() => {})
    await this.#session?.post('HeapProfiler.startSampling', {
      samplingInterval: HEAP_INTERVAL_BYTES,
      includeObjectsCollectedByMajorGC: isAll,
      includeObjectsCollectedByMinorGC: isAll,
    })
    this.#heapSinceMs = this.#clock.wallMs()
  }

  #heapTimes(): { startMs: number; durationMs: number } {
    const now = this.#clock.wallMs()
    return { startMs: now, durationMs: now - this.#heapSinceMs }
  }

  #pause(seconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        timer.cancel()
        reject(profilingError('PROFILING_ABORTED', 'whoever asked has left', 499))
      }
      const timer = this.#clock.after(seconds * 1000, () => {
        signal.removeEventListener('abort', abort)
        resolve()
      })
      if (signal.aborted) abort()
      else signal.addEventListener('abort', abort, { once: true })
    })
  }
}

async function heapSamples(session: Session): Promise<HeapSamples> {
  const { profile } = await session.post('HeapProfiler.getSamplingProfile')
  return profile as unknown as HeapSamples
}
