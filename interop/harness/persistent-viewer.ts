import { setTimeout as delay } from 'node:timers/promises'
import { FlvReader, FlvTagType } from '../../src/protocols/flv/index.ts'

/** How long it rests before it asks again. */
const REST_MS = 50

/** Plays HTTP-FLV and, like a player in the field, asks again whenever it is cut off. */
export class PersistentViewer implements AsyncDisposable {
  readonly #url: string
  readonly #end = new AbortController()
  readonly #over: Promise<void>
  /** Tags with media that have come, whatever the connection. */
  tags = 0
  /** How often it was cut off after it had been sent media. */
  cuts = 0
  /** The longest time without a tag since the first one or `forgetGaps`, in milliseconds. */
  longestGapMs = 0
  #lastMs: number | undefined

  constructor(url: string) {
    this.#url = url
    this.#over = this.#run()
  }

  forgetGaps(): void {
    this.longestGapMs = 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort()
    await this.#over
  }

  async #run(): Promise<void> {
    const { signal } = this.#end
    while (!signal.aborted) {
      const before = this.tags
      // Why it ended does not matter to a player.
      await this.#play().catch(() => {})
      if (signal.aborted) return
      if (this.tags > before) this.cuts++
      await delay(REST_MS, undefined, { signal }).catch(() => {})
    }
  }

  async #play(): Promise<void> {
    const response = await fetch(this.#url, { signal: this.#end.signal })
    if (!response.ok) return await response.body?.cancel()
    const reader = new FlvReader()
    for await (const bytes of response.body ?? []) {
      reader.push(bytes)
      for (let tag = reader.next(); tag; tag = reader.next()) if (tag.type !== FlvTagType.script) this.#note()
    }
  }

  #note(): void {
    const nowMs = performance.now()
    if (this.#lastMs !== undefined) this.longestGapMs = Math.max(this.longestGapMs, nowMs - this.#lastMs)
    this.#lastMs = nowMs
    this.tags++
  }
}
