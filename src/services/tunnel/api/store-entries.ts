import { errorMessage } from '../../../foundation/errors.ts'
import { WebError } from './web-error.ts'

type Json = Readonly<Record<string, unknown>>

/** A proxy or a visitor of the store. */
export interface StoreEntry<Config> {
  /** As it was given: an entry of a configuration file. */
  readonly raw: Json
  readonly config: Config
  /** `enabled = false` keeps it from running, and hides the one of the configuration file. */
  readonly isEnabled: boolean
}

/** More are refused: each is written to the file at every change. */
const MAX_ENTRIES = 10_000

/** The proxies, or the visitors, of a store by name. */
export class StoreEntries<Config extends { readonly name: string }> {
  readonly #kind: 'proxy' | 'visitor'
  readonly #parse: (entry: unknown) => Config
  #byName = new Map<string, StoreEntry<Config>>()

  constructor(kind: 'proxy' | 'visitor', parse: (entry: unknown) => Config) {
    this.#kind = kind
    this.#parse = parse
  }

  /** Takes what a file holds. @throws with what is wrong */
  load(list: unknown): void {
    if (list !== null && !Array.isArray(list))
      throw new Error(`a list was expected for ${this.#kind} entries`)
    const entries: readonly unknown[] = list ?? []
    if (entries.length > MAX_ENTRIES) throw new Error(`it has more than ${MAX_ENTRIES} ${this.#kind} entries`)
    this.#byName = new Map(
      entries.map((raw, index) => {
        try {
          const entry = this.#entryOf(raw)
          return [entry.config.name, entry] as const
        } catch (cause) {
          throw new Error(`${this.#kind} at index ${index}: ${errorMessage(cause)}`, { cause })
        }
      }),
    )
  }

  get(name: string): StoreEntry<Config> | undefined {
    return this.#byName.get(name)
  }

  list(): readonly StoreEntry<Config>[] {
    return [...this.#byName.values()]
  }

  /** @throws WebError 400, 409 */
  add(raw: Json): StoreEntry<Config> {
    const entry = this.#checked(raw)
    const { name } = entry.config
    if (this.#byName.has(name)) throw new WebError(409, `conflict: already exists: ${this.#kind} "${name}"`)
    if (this.#byName.size >= MAX_ENTRIES) {
      throw new WebError(400, `invalid argument: the store holds at most ${MAX_ENTRIES}`)
    }
    this.#byName.set(name, entry)
    return entry
  }

  /** @throws WebError 400, 404 */
  replace(raw: Json): StoreEntry<Config> {
    const entry = this.#checked(raw)
    if (!this.#byName.has(entry.config.name)) throw this.missing(entry.config.name)
    this.#byName.set(entry.config.name, entry)
    return entry
  }

  /** @throws WebError 404 */
  remove(name: string): void {
    if (!this.#byName.delete(name)) throw this.missing(name)
  }

  missing(name: string): WebError {
    return new WebError(404, `not found: ${this.#kind} "${name}"`)
  }

  /** Those of the configuration file whose names are not here, and these. */
  over(configs: readonly Config[]): readonly Config[] {
    return [
      ...configs.filter(({ name }) => !this.#byName.has(name)),
      ...this.list().flatMap(({ config, isEnabled }) => (isEnabled ? [config] : [])),
    ]
  }

  toJson(): readonly Json[] {
    return this.list().map(({ raw }) => raw)
  }

  /** Calling it makes the entries what they are now. */
  snapshot(): () => void {
    const kept = new Map(this.#byName)
    return () => {
      this.#byName = kept
    }
  }

  #checked(raw: Json): StoreEntry<Config> {
    try {
      return this.#entryOf(raw)
    } catch (cause) {
      throw new WebError(400, `invalid argument: validation error: ${errorMessage(cause)}`, cause)
    }
  }

  #entryOf(raw: unknown): StoreEntry<Config> {
    if (typeof raw !== 'object' || raw === null) throw new Error('an object was expected')
    const { plugin, ...entry } = raw as Json
    // frpc writes that there is none.
    const kept = plugin === null || plugin === undefined ? entry : { ...entry, plugin }
    return { raw: kept, config: this.#parse(kept), isEnabled: entry['enabled'] !== false }
  }
}
