import type { ConfigSource } from './config-source.ts'

/** A configuration that was given and does not change. */
export class FixedSource implements ConfigSource {
  readonly name: string
  readonly #text: string

  constructor(name: string, text: string) {
    this.name = name
    this.#text = text
  }

  load(): Promise<string> {
    return Promise.resolve(this.#text)
  }

  watch(deliver: (text: string) => void): () => void {
    deliver(this.#text)
    return () => {}
  }
}
