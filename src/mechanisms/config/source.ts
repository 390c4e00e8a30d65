import { extname } from 'node:path'
import { parse as parseToml, TomlError } from 'smol-toml'
import { isNode, LineCounter, parseDocument } from 'yaml'

/** Where a value stands: its keys and list positions from the root. */
export type KeyPath = readonly PropertyKey[]

/** A file's content with the way back from a key to its line. */
export interface ConfigSource {
  readonly value: unknown
  /** 1-based line of the key, or of the nearest table or list around it that the file has. */
  lineOf(path: KeyPath): number | undefined
}

/** A syntax error with its place. */
export interface SyntaxProblem {
  readonly line?: number
  readonly message: string
}

/** Parses by the file's ending: `.yaml` and `.yml`, `.json`, everything else TOML. */
export function parseConfigSource(file: string, text: string): ConfigSource | SyntaxProblem {
  const ending = extname(file).toLowerCase()
  return ending === '.yaml' || ending === '.yml' || ending === '.json' ? yamlSource(text) : tomlSource(text)
}

function tomlSource(text: string): ConfigSource | SyntaxProblem {
  try {
    const value = parseToml(text)
    const lines = tomlLines(text)
    return { value, lineOf: (path) => nearest(path, (key) => lines.get(key)) }
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const [reason = 'not valid TOML'] = error.message.split('\n')
    return { line: error.line, message: reason }
  }
}

// JSON is read as YAML, which contains it, because that parser keeps positions.
function yamlSource(text: string): ConfigSource | SyntaxProblem {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter })
  const [error] = document.errors
  if (error !== undefined) {
    const [reason = 'not valid YAML'] = error.message.split('\n')
    return { line: lineCounter.linePos(error.pos[0]).line, message: reason }
  }
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 0 })
  } catch (error_) {
    return { message: error_ instanceof Error ? error_.message : 'not valid YAML' }
  }
  return {
    value: value ?? {},
    lineOf(path) {
      for (let length = path.length; length > 0; length--) {
        const node: unknown = document.getIn(path.slice(0, length), true)
        if (isNode(node) && node.range) return lineCounter.linePos(node.range[0]).line
      }
      return undefined
    },
  }
}

function nearest(path: KeyPath, find: (key: string) => number | undefined): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const line = find(path.slice(0, length).map(String).join('\0'))
    if (line !== undefined) return line
  }
  return undefined
}

/**
 * Lines of the keys in a TOML text that has parsed. The TOML library keeps no positions; tables and keys stand
 * at the start of a line, so a scan finds them. Keys of inline tables have the line of the key that holds them.
 */
function tomlLines(text: string): Map<string, number> {
  const lines = new Map<string, number>()
  const counts = new Map<string, number>()
  let table: string[] = []
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*(\[\[?)\s*([^\]]+?)\s*\]/.exec(line)
    if (header) {
      table = splitKey(header[2] ?? '')
      const name = table.join('\0')
      if (header[1] === '[[') {
        const count = counts.get(name) ?? 0
        counts.set(name, count + 1)
        table = [...table, String(count)]
      }
      remember(lines, table, index + 1)
      continue
    }
    const assignment =
      /^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=/.exec(line)
    if (assignment) remember(lines, [...table, ...splitKey(assignment[1] ?? '')], index + 1)
  }
  return lines
}

function remember(lines: Map<string, number>, path: readonly string[], line: number): void {
  const key = path.join('\0')
  if (!lines.has(key)) lines.set(key, line)
}

function splitKey(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)/g)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? '',
  )
}
