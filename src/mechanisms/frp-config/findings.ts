import type { ConfigSource } from './config-source.ts'
import { FrpConfigError, FrpConfigErrorCode, type FrpConfigProblem } from './errors.ts'

/** Problems shown at once; a file with more has one cause. */
const MAX_PROBLEMS = 20

/** What comes to light while a configuration is read. */
export class Findings {
  readonly notes: string[] = []
  readonly #problems: FrpConfigProblem[] = []
  #left = 0

  problem(
    source: ConfigSource,
    path: readonly PropertyKey[],
    message: string,
    more: { readonly code?: FrpConfigErrorCode; readonly value?: string | undefined } = {},
  ): void {
    if (this.#problems.length >= MAX_PROBLEMS) {
      this.#left++
      return
    }
    this.#problems.push({
      code: more.code ?? FrpConfigErrorCode.invalid,
      file: source.file,
      line: source.lines.lineOf(path),
      key: keyText(path),
      value: more.value,
      message,
    })
  }

  note(source: ConfigSource, path: readonly PropertyKey[], message: string): void {
    const line = source.lines.lineOf(path)
    const place = source.file !== '' && line !== undefined ? `${source.file}:${line}` : source.file
    this.notes.push([place, keyText(path), message].filter((part) => part !== '').join(': '))
  }

  /** @throws FrpConfigError if there is any problem */
  throwIfAny(): void {
    const [first, ...rest] = inOrder(this.#problems)
    if (first === undefined) return
    if (this.#left === 0) throw new FrpConfigError([first, ...rest])
    const more = { code: first.code, file: first.file, key: '', message: `and ${this.#left} more problems` }
    throw new FrpConfigError([first, ...rest, more])
  }
}

/** File by file, and as the lines of each come. */
function inOrder(problems: readonly FrpConfigProblem[]): FrpConfigProblem[] {
  const files = [...new Set(problems.map(({ file }) => file))]
  const lineOf = ({ line = Infinity }: FrpConfigProblem): number => line
  return problems.toSorted(
    (a, b) => files.indexOf(a.file) - files.indexOf(b.file) || lineOf(a) - lineOf(b) || 0,
  )
}

/** `proxies[0].remotePort`. */
function keyText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number' ? `${text}[${part}]` : text === '' ? String(part) : `${text}.${String(part)}`,
    '',
  )
}
