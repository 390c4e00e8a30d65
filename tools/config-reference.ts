import { writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { configJsonSchema } from '../src/mechanisms/config/index.ts'

/** The page that is generated, from the repository's root. */
export const REFERENCE_PAGE = 'docs/configuration.md'

interface SchemaNode {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly anyOf?: readonly SchemaNode[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly items?: SchemaNode
  readonly required?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
}

/** The reference page of the configuration, made from the schema's own descriptions. */
export function configReference(): string {
  const lines = [
    '# Configuration',
    '',
    '<!-- Generated from src/mechanisms/config/schema.ts by `npm run docs:config`. -->',
    '',
    'One file: `sluice.toml`, or YAML or JSON with the same keys. `sluice run -c FILE` reads it; without `-c`, `sluice.toml`',
    'in the working directory; without that, every default below. `sluice check -c FILE` says what is wrong with a file, and',
    '`sluice schema` prints a JSON Schema for editors. Unknown keys are errors.',
    '',
    'Listeners are written `8080` (that port on every address), `127.0.0.1:8080` or `[::1]:8080`; port 0 takes a free one.',
    '',
  ]
  addTable(lines, '', configJsonSchema())
  return `${lines.join('\n').trimEnd()}\n`
}

/** A list of tables is described in the row of its key, any other table under its own title. */
function addTable(lines: string[], path: string, table: SchemaNode, isList = false): void {
  const { description } = table
  const entries = Object.entries(table.properties ?? {})
  const keys = entries.filter(([, node]) => node.properties === undefined)
  if (keys.length > 0) {
    lines.push(isList ? `## [[${path}]]` : `## [${path}]`, '')
    if (description !== undefined) lines.push(description, '')
    lines.push('| key | type | default | meaning |', '|---|---|---|---|')
    for (const [key, node] of keys) lines.push(row(key, node, table))
    lines.push('')
  }
  for (const [key, node] of entries) {
    const inner = path === '' ? key : `${path}.${key}`
    if (node.properties !== undefined) addTable(lines, inner, node)
    else if (node.items?.properties !== undefined) addTable(lines, inner, node.items, true)
  }
}

function row(key: string, node: SchemaNode, table: SchemaNode): string {
  const isNeeded = node.default === undefined && table.required?.includes(key) === true
  const absent = isNeeded ? 'must be there' : 'none'
  const value = node.default === undefined ? absent : `\`${JSON.stringify(node.default)}\``
  // A bar would end the cell, also within code.
  const cells = [`\`${key}\``, typeOf(node), value, node.description ?? ''].map((it) =>
    it.replaceAll('|', '\\|'),
  )
  return `| ${cells.join(' | ')} |`
}

function typeOf(node: SchemaNode): string {
  if (node.anyOf !== undefined) return node.anyOf.map(typeOf).join(', or ')
  if (node.const !== undefined) return `\`${JSON.stringify(node.const)}\``
  if (node.enum !== undefined) return node.enum.map((value) => `\`${JSON.stringify(value)}\``).join(', ')
  if (node.type === 'array') return `list of ${node.items === undefined ? 'values' : itemsOf(node.items)}`
  if (node.properties !== undefined)
    return `table of ${Object.keys(node.properties)
      .map((key) => `\`${key}\``)
      .join(', ')}`
  if (node.type === 'string') return 'text'
  if (node.type !== 'number' && node.type !== 'integer') return node.type ?? ''
  const kind = node.type === 'integer' ? 'whole number' : 'number'
  if (node.minimum === undefined && node.exclusiveMinimum === undefined) return kind
  const least = node.exclusiveMinimum === undefined ? node.minimum : `over ${node.exclusiveMinimum}`
  return node.maximum === undefined || node.maximum >= Number.MAX_SAFE_INTEGER
    ? `${kind}, ${least} or more`
    : `${kind}, ${least} to ${node.maximum}`
}

function itemsOf(node: SchemaNode): string {
  if (node.properties !== undefined) return 'tables, below'
  if (node.type === 'string' && node.enum === undefined) return 'texts'
  return node.anyOf === undefined ? typeOf(node) : node.anyOf.map(typeOf).join(' or ')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  writeFileSync(REFERENCE_PAGE, configReference())
