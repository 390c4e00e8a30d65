/** Lines of the keys of a file. Keys are found whatever their case, as everywhere in frp's files. */
export class LineIndex {
  readonly #lines = new Map<string, number>()
  #fill: ((lines: LineIndex) => void) | undefined

  /** `fill` sets the lines when one is first asked for, as most files are never asked. */
  constructor(fill?: (lines: LineIndex) => void) {
    this.#fill = fill
  }

  /** Keeps the first line of a key. */
  set(path: readonly PropertyKey[], line: number): void {
    const key = keyOf(path)
    if (!this.#lines.has(key)) this.#lines.set(key, line)
  }

  /** 1-based line of the key, or of the nearest table or list around it that the file has. */
  lineOf(path: readonly PropertyKey[]): number | undefined {
    const fill = this.#fill
    this.#fill = undefined
    fill?.(this)
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(keyOf(path.slice(0, length)))
      if (line !== undefined) return line
    }
    return undefined
  }
}

function keyOf(path: readonly PropertyKey[]): string {
  return path.map((part) => String(part).toLowerCase()).join('\0')
}
