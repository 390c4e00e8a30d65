/** A text in which each `*` stands for any characters, none included. */
export class Pattern {
  readonly text: string
  readonly #first: string
  /** What stands between the first `*` and the last, in this order. */
  readonly #middle: readonly string[]
  /** Behind the last `*`; undefined where there is none. */
  readonly #last: string | undefined

  constructor(text: string) {
    this.text = text
    const [first = '', ...rest] = text.split('*')
    this.#first = first
    this.#last = rest.pop()
    this.#middle = rest
  }

  /** Whether a text is of this form, in a time that grows only with its length and the pattern's. */
  matches(text: string): boolean {
    const last = this.#last
    if (last === undefined) return text === this.#first
    if (!text.startsWith(this.#first)) return false
    let at = this.#first.length
    // The earliest place of each leaves the most room to those behind it.
    for (const part of this.#middle) {
      const found = text.indexOf(part, at)
      if (found === -1) return false
      at = found + part.length
    }
    return text.endsWith(last) && at <= text.length - last.length
  }
}
