import { type FSWatcher, watch } from 'node:fs'
import { readFile, realpath } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Clock, systemClock, type Timer } from '../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../foundation/errors.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import type { ConfigSource } from './config-source.ts'
import { StunnerdError } from './errors.ts'

/** After a change so long is waited for more, since an editor writes in several steps. */
const SETTLE_MS = 100
/** File systems that tell of no changes, and files that are not there yet, are looked at so often. */
const LOOK_MS = 5000
const MAX_BYTES = 4 * 1024 * 1024

export interface FileSourceOptions {
  readonly file: string
  readonly logger: Logger
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

/**
 * A configuration file. Watched are the folders that hold it and what it links to: Kubernetes swaps a link beside a mounted
 * file, and editors put another file in its place.
 */
export class FileSource implements ConfigSource {
  readonly name: string
  readonly #log: Logger
  readonly #clock: Clock

  constructor({ file, logger, clock = systemClock }: FileSourceOptions) {
    this.name = file
    this.#log = logger.child({ component: 'config-file-client' })
    this.#clock = clock
  }

  async load(): Promise<string> {
    let text: string
    try {
      text = await readFile(this.name, 'utf8')
    } catch (error) {
      throw new StunnerdError('STUNNERD_CONFIG_UNAVAILABLE', `${this.name}: ${errorMessage(error)}`, error)
    }
    if (text.trim() === '') throw new StunnerdError('STUNNERD_CONFIG_UNAVAILABLE', `${this.name} is empty`)
    if (text.length > MAX_BYTES) {
      throw new StunnerdError('STUNNERD_CONFIG_UNAVAILABLE', `${this.name} is over ${MAX_BYTES} bytes long`)
    }
    return text
  }

  watch(deliver: (text: string) => void): () => void {
    const watched = new WatchedFile(this, { log: this.#log, clock: this.#clock, deliver })
    void watched.look()
    return () => watched.stop()
  }
}

interface WatchedFileOptions {
  readonly log: Logger
  readonly clock: Clock
  readonly deliver: (text: string) => void
}

/** One watch of a file, from `look` to `stop`. */
class WatchedFile {
  readonly #source: ConfigSource
  readonly #options: WatchedFileOptions
  readonly #folders = new Map<string, FSWatcher>()
  #timer: Timer | undefined
  #last: string | undefined
  #lastProblem = ''
  #isLooking = false
  /** Something was touched, and is looked at soon. */
  #isSettling = false
  /** What is being read may have changed meanwhile. */
  #isStale = false
  #isStopped = false

  constructor(source: ConfigSource, options: WatchedFileOptions) {
    this.#source = source
    this.#options = options
  }

  async look(): Promise<void> {
    this.#isSettling = false
    if (this.#isLooking) {
      this.#isStale = true
      return
    }
    this.#isLooking = true
    do {
      this.#isStale = false
      await this.#watchFolders()
      await this.#read()
    } while (this.#isStale && !this.#isStopped)
    this.#isLooking = false
    if (!this.#isSettling) this.#lookAfter(LOOK_MS)
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
    for (const folder of this.#folders.values()) folder.close()
    this.#folders.clear()
  }

  #lookAfter(delayMs: number): void {
    this.#timer?.cancel()
    if (!this.#isStopped) this.#timer = this.#options.clock.after(delayMs, () => void this.look())
  }

  async #watchFolders(): Promise<void> {
    const file = this.#source.name
    const target = await realpath(file).catch(() => file)
    const wanted = new Set([dirname(file), dirname(target)])
    for (const [folder, watcher] of this.#folders) {
      if (wanted.has(folder)) continue
      watcher.close()
      this.#folders.delete(folder)
    }
    for (const folder of wanted) {
      if (this.#isStopped || this.#folders.has(folder)) continue
      try {
        const watcher = watch(folder, { persistent: false }, () => this.#touched())
        watcher.on('error', () => {
          watcher.close()
          this.#folders.delete(folder)
        })
        this.#folders.set(folder, watcher)
      } catch (error) {
        this.#options.log.debug({ folder, code: errorCode(error) }, 'cannot be watched, is looked at instead')
      }
    }
  }

  async #read(): Promise<void> {
    try {
      const text = await this.#source.load()
      this.#lastProblem = ''
      if (this.#isStopped || text === this.#last) return
      this.#last = text
      this.#options.deliver(text)
    } catch (error) {
      this.#report(errorMessage(error))
    }
  }

  /** Further changes do not put the look off: a folder may never come to rest. */
  #touched(): void {
    if (this.#isSettling) return
    this.#isSettling = true
    this.#lookAfter(SETTLE_MS)
  }

  #report(problem: string): void {
    if (problem === this.#lastProblem || this.#isStopped) return
    this.#lastProblem = problem
    this.#options.log.warn({ reason: problem }, 'no configuration to be read, waiting for it')
  }
}
