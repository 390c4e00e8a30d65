import { LineIndex } from './line-index.ts'

const part = String.raw`(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)`
const keyPattern = new RegExp(String.raw`^\s*(${part}(?:\s*\.\s*${part})*)\s*=`)
const headerPattern = new RegExp(String.raw`^\s*(\[\[?)\s*(${part}(?:\s*\.\s*${part})*)\s*\]`)

/**
 * Lines of the keys in a TOML text that has parsed. The TOML library keeps no positions; tables and keys stand at the
 * start of a line, so a scan finds them. Keys of inline tables have the line of the key that holds them.
 */
export function tomlLines(text: string): LineIndex {
  return new LineIndex((lines) => fill(lines, text))
}

function fill(lines: LineIndex, text: string): void {
  /** Entries so far of each list of tables, by the path of the list with the indices of the lists around it. */
  const counts = new Map<string, number>()
  let table: PropertyKey[] = []
  for (const [index, line] of text.split('\n').entries()) {
    const header = headerPattern.exec(line)
    if (header !== null) {
      table = tablePath(splitKey(header[2] ?? ''), header[1] === '[[', counts)
      lines.set(table, index + 1)
      if (header[1] === '[[') lines.set(table.slice(0, -1), index + 1)
      continue
    }
    const assignment = keyPattern.exec(line)
    if (assignment === null) continue
    const keys = splitKey(assignment[1] ?? '')
    for (const [depth] of keys.entries()) lines.set([...table, ...keys.slice(0, depth + 1)], index + 1)
  }
}

/** `[a.b]` behind `[[a]]` is a table of the last entry of the list. */
function tablePath(keys: readonly string[], isEntry: boolean, counts: Map<string, number>): PropertyKey[] {
  const path: PropertyKey[] = []
  for (const [depth, key] of keys.entries()) {
    path.push(key)
    const name = path.map(String).join('\0')
    const count = counts.get(name) ?? 0
    if (isEntry && depth === keys.length - 1) {
      counts.set(name, count + 1)
      path.push(count)
    } else if (count > 0) path.push(count - 1)
  }
  return path
}

function splitKey(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)/g)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? '',
  )
}
