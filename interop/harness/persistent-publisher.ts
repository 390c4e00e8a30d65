import { publishByRtmp } from './ffmpeg.ts'
import type { Program } from './program.ts'

/** Publishes a file by RTMP and, like an encoder in the field, begins again at once whenever it is cut off. */
export class PersistentPublisher {
  readonly #path: string
  readonly #url: string
  #current: Program
  #isStopped = false
  /** How often it was cut off. */
  failures = 0

  constructor(path: string, url: string) {
    this.#path = path
    this.#url = url
    this.#current = this.#begin()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#current.stop()
  }

  #begin(): Program {
    const program = publishByRtmp(this.#path, this.#url)
    void program.ended.then(() => {
      if (this.#isStopped) return
      this.failures++
      this.#current = this.#begin()
    })
    return program
  }
}
