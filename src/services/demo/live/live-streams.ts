import type { Clock } from '../../../foundation/clock.ts'
import { DemoError, DemoErrorCode } from '../errors.ts'
import { streamPath } from '../stream-name.ts'
import type { StreamEntry, StreamName } from '../stream-name.ts'
import { LiveStream } from './live-stream.ts'
import type { LiveStreamOptions } from './live-stream.ts'

/** The streams that are published by RTMP, and the players who wait for one that is not published yet. */
export class LiveStreams {
  readonly #clock: Clock
  readonly #options: LiveStreamOptions
  readonly #streams = new Map<string, { readonly name: StreamName; readonly stream: LiveStream }>()
  readonly #waiting = new Map<string, Set<(stream: LiveStream) => void>>()

  constructor(clock: Clock, options: LiveStreamOptions) {
    this.#clock = clock
    this.#options = options
  }

  /** Begins a stream; `unpublish` ends it. @throws DemoError `DEMO_STREAM_BUSY` */
  publish(name: StreamName): LiveStream {
    const path = streamPath(name)
    if (this.#streams.has(path)) {
      throw new DemoError(DemoErrorCode.streamBusy, `${path} is published already`, 409)
    }
    const stream = new LiveStream(this.#options)
    this.#streams.set(path, { name, stream })
    for (const arrived of this.#waiting.get(path) ?? []) arrived(stream)
    return stream
  }

  unpublish(name: StreamName, stream: LiveStream): void {
    const path = streamPath(name)
    if (this.#streams.get(path)?.stream === stream) this.#streams.delete(path)
    stream.end()
  }

  get(name: StreamName): LiveStream | undefined {
    return this.#streams.get(streamPath(name))?.stream
  }

  /**
   * Calls `done` once: with the stream as soon as it is published, or with undefined after `waitMs`. Gives the way to
   * stop waiting, after which `done` is not called.
   */
  awaitStream(name: StreamName, waitMs: number, done: (stream: LiveStream | undefined) => void): () => void {
    const existing = this.get(name)
    if (existing !== undefined) {
      done(existing)
      return () => undefined
    }
    const path = streamPath(name)
    const stop = (): void => {
      timer.cancel()
      const waiting = this.#waiting.get(path)
      waiting?.delete(arrived)
      if (waiting?.size === 0) this.#waiting.delete(path)
    }
    const arrived = (stream: LiveStream): void => {
      stop()
      done(stream)
    }
    const timer = this.#clock.after(waitMs, () => {
      stop()
      done(undefined)
    })
    const waiting = this.#waiting.get(path) ?? new Set()
    this.#waiting.set(path, waiting.add(arrived))
    return stop
  }

  list(): StreamEntry[] {
    return [...this.#streams.values()].map(({ name, stream }) => ({
      ...name,
      protocol: 'rtmp',
      players: stream.playerCount,
    }))
  }
}
