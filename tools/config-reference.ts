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
  addTable(lines, [], configJsonSchema())
  return `${lines.join('\n').trimEnd()}\n`
}

function addTable(lines: string[], path: readonly string[], table: SchemaNode): void {
  const entries = Object.entries(table.properties ?? {})
  const keys = entries.filter(([, node]) => node.properties === undefined)
  if (keys.length > 0) {
    lines.push(`## [${path.join('.')}]`, '', '| key | type | default | meaning |', '|---|---|---|---|')
    for (const [key, node] of keys) lines.push(row(key, node))
    lines.push('')
  }
  for (const [key, node] of entries) {
    if (node.properties !== undefined) addTable(lines, [...path, key], node)
  }
}

function row(key: string, node: SchemaNode): string {
  const value = node.default === undefined ? 'none' : `\`${JSON.stringify(node.default)}\``
  return `| \`${key}\` | ${typeOf(node)} | ${value} | ${describe(node)} |`
}

function describe(node: SchemaNode): string {
  const fields = Object.entries(node.items?.properties ?? {})
  const own = node.description ?? ''
  if (fields.length === 0) return own
  return `${own} Fields: ${fields.map(([name, field]) => `\`${name}\`: ${field.description ?? ''}`).join(' ')}`
}

function typeOf(node: SchemaNode): string {
  if (node.anyOf !== undefined) return node.anyOf.map(typeOf).join(', or ')
  if (node.const !== undefined) return `\`${JSON.stringify(node.const)}\``
  if (node.enum !== undefined) return node.enum.map((value) => `\`${JSON.stringify(value)}\``).join(', ')
  if (node.type === 'array') return `list of ${node.items?.properties === undefined ? 'texts' : 'tables'}`
  if (node.type === 'string') return 'text'
  if (node.type !== 'number' && node.type !== 'integer') return node.type ?? ''
  const kind = node.type === 'integer' ? 'whole number' : 'number'
  const least = node.exclusiveMinimum === undefined ? node.minimum : `over ${node.exclusiveMinimum}`
  return node.maximum === undefined || node.maximum >= Number.MAX_SAFE_INTEGER
    ? `${kind}, ${least} or more`
    : `${kind}, ${least} to ${node.maximum}`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  writeFileSync(REFERENCE_PAGE, configReference())
