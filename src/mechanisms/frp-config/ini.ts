/** The INI that old files of frp are written in. */
export interface IniSection {
  readonly name: string
  readonly line: number
  readonly entries: ReadonlyMap<string, IniValue>
}

export interface IniValue {
  readonly text: string
  readonly line: number
}

/** A line that is no INI. */
export class IniError extends Error {
  override readonly name = 'IniError'
  readonly line: number

  constructor(message: string, line: number) {
    super(message)
    this.line = line
  }
}

/**
 * Sections in the order of the file; one that comes twice is one. `#` and `;` begin a comment at the start of a line only,
 * a key alone is `true`, a value may stand in quotes, a line may go on behind a backslash. Keys before the first section are
 * in one with an empty name.
 * @throws IniError
 */
export function parseIni(text: string): IniSection[] {
  const sections = new Map<string, { line: number; entries: Map<string, IniValue> }>()
  let current = { line: 1, entries: new Map<string, IniValue>() }
  sections.set('', current)
  const reader = new LineReader(text)
  for (let line = reader.next(); line !== undefined; line = reader.next()) {
    const start = reader.line
    const content = line.trim()
    if (content === '' || content.startsWith('#') || content.startsWith(';')) continue
    if (content.startsWith('[')) {
      const name = sectionName(content, start)
      current = sections.get(name) ?? { line: start, entries: new Map() }
      sections.set(name, current)
      continue
    }
    const { key, value } = assignment(content, reader)
    current.entries.set(key, { text: value, line: start })
  }
  return [...sections].map(([name, section]) => ({ name, ...section }))
}

class LineReader {
  readonly #lines: readonly string[]
  /** 1-based number of the line that was read last. */
  line = 0

  constructor(text: string) {
    this.#lines = text.split(/\r?\n/)
  }

  next(): string | undefined {
    const line = this.#lines[this.line]
    if (line !== undefined) this.line++
    return line
  }
}

function sectionName(content: string, line: number): string {
  const end = content.lastIndexOf(']')
  if (end === -1) throw new IniError('the section has no closing "]"', line)
  if (end === 1) throw new IniError('the section has no name', line)
  return content.slice(1, end)
}

function assignment(content: string, reader: LineReader): { key: string; value: string } {
  const quoted = /^("{3}|["`])(.*?)\1\s*[=:]/.exec(content)
  const end = quoted === null ? content.search(/[=:]/) : quoted[0].length - 1
  // frp's options: a key alone is true.
  if (end === -1) return { key: valueOf(content, reader), value: 'true' }
  const key = quoted === null ? content.slice(0, end).trim() : (quoted[2] ?? '')
  if (key === '') throw new IniError('the key has no name', reader.line)
  return { key, value: valueOf(content.slice(end + 1).trim(), reader) }
}

function valueOf(content: string, reader: LineReader): string {
  const quote = content.startsWith('"""') && content.length > 3 ? '"""' : content.startsWith('`') ? '`' : ''
  if (quote !== '') return longValue(content.slice(quote.length), quote, reader)
  let text = content
  while (text.endsWith('\\')) {
    const next = reader.next()
    if (next === undefined) break
    text = text.slice(0, -1) + next.trim()
  }
  const first = text.charAt(0)
  const isQuoted =
    text.length >= 2 && (first === '"' || first === "'") && text.indexOf(first, 1) === text.length - 1
  return isQuoted ? text.slice(1, -1) : text
}

function longValue(head: string, quote: string, reader: LineReader): string {
  const start = reader.line
  const lines: string[] = []
  for (let line: string | undefined = head; line !== undefined; line = reader.next()) {
    const end = line.lastIndexOf(quote)
    if (end !== -1) return [...lines, line.slice(0, end)].join('\n')
    lines.push(line)
  }
  throw new IniError(`the value has no closing ${quote}`, start)
}
