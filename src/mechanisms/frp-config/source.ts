import { parse as parseToml, TomlError } from 'smol-toml'
import {
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type ScalarTag,
  type Tags,
} from 'yaml'
import type { ConfigSource } from './config-source.ts'
import { FrpConfigError, FrpConfigErrorCode } from './errors.ts'
import { isRecord } from './fold-keys.ts'
import { iniSource, isIni, type IniRole } from './ini-source.ts'
import { LineIndex } from './line-index.ts'
import { renderTemplate } from './template/render.ts'
import { tomlLines } from './toml-lines.ts'

export interface SourceOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly role: IniRole
  /** Whether it is INI even without a section `[common]`. */
  readonly isIni?: boolean
}

/** Longest text of one file, in characters. */
const MAX_TEXT = 8 * 1024 * 1024

/**
 * Renders the template of a file and reads it: INI if it has a section `[common]`, else TOML, JSON or YAML, whichever it
 * is, whatever the file is called.
 * @throws FrpConfigError FRP_CONFIG_TEMPLATE, FRP_CONFIG_SYNTAX, FRP_CONFIG_INVALID
 */
export function parseSource(file: string, text: string, options: SourceOptions): ConfigSource {
  if (text.length > MAX_TEXT) throw syntaxError(file, `is longer than ${MAX_TEXT} characters`)
  const plain = text.replace(/^\uFEFF/, '')
  const rendered = renderTemplate(plain, { env: options.env, file })
  if (options.isIni === true || isIni(plain)) return iniSource(file, rendered, options.role)
  return plainSource(file, rendered)
}

function plainSource(file: string, text: string): ConfigSource {
  let tomlError: TomlError
  try {
    return { file, format: 'toml', value: parseToml(text), lines: tomlLines(text), notes: [] }
  } catch (error) {
    if (!(error instanceof TomlError)) throw syntaxError(file, String(error))
    tomlError = error
  }
  // What is neither a table of YAML nor begins as JSON was meant to be TOML, so its error is the one that helps.
  const refusal = (): FrpConfigError => {
    const [reason = 'not valid TOML'] = tomlError.message.split('\n')
    return syntaxError(file, reason, tomlError.line)
  }
  if (/\.toml$/i.test(file)) throw refusal()
  return text.trimStart().startsWith('{') ? jsonSource(file, text) : yamlSource(file, text, refusal)
}

function jsonSource(file: string, text: string): ConfigSource {
  try {
    const value: unknown = JSON.parse(text)
    return {
      file,
      format: 'json',
      value,
      lines: new LineIndex((lines) => fillLines(lines, yamlDocument(text))),
      notes: [],
    }
  } catch (error) {
    const at = /position (\d+)/.exec(String(error))?.[1]
    const line = at === undefined ? undefined : text.slice(0, Number(at)).split('\n').length
    throw syntaxError(file, error instanceof Error ? error.message : 'not valid JSON', line)
  }
}

/** frp's YAML library has these words of YAML 1.1, besides true and false. */
const yesAndNo: ScalarTag = {
  tag: 'tag:yaml.org,2002:bool',
  default: true,
  test: /^(?:yes|Yes|YES|on|On|ON|no|No|NO|off|Off|OFF)$/,
  resolve: (word) => /^(?:yes|on)$/i.test(word),
}

interface YamlText {
  readonly document: Document
  readonly counter: LineCounter
}

function yamlDocument(text: string): YamlText {
  const counter = new LineCounter()
  const options = { lineCounter: counter, merge: true, customTags: (tags: Tags): Tags => [yesAndNo, ...tags] }
  return { document: parseDocument(text, options), counter }
}

function yamlSource(file: string, text: string, refusal: () => FrpConfigError): ConfigSource {
  const yaml = yamlDocument(text)
  const { document, counter } = yaml
  if (document.contents !== null && !isMap(document.contents)) throw refusal()
  const [error] = document.errors
  if (error !== undefined) {
    // A line such as `key = value` is no YAML, but says what the file was meant to be.
    if (/^[ \t]*(?:\[\[?[\w.]+\]|[\w.]+[ \t]*=)/m.test(text)) throw refusal()
    const [reason = 'not valid YAML'] = error.message.split('\n')
    const plain = reason.replace(/ at line \d+, column \d+:?$/, '')
    throw syntaxError(file, plain, counter.linePos(error.pos[0]).line)
  }
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 10_000 })
  } catch (error_) {
    throw syntaxError(file, error_ instanceof Error ? error_.message : 'not valid YAML')
  }
  const shown = isRecord(value)
    ? Object.fromEntries(Object.entries(value).filter(([key]) => !key.startsWith('.')))
    : (value ?? {})
  return {
    file,
    format: 'yaml',
    value: shown,
    lines: new LineIndex((lines) => fillLines(lines, yaml)),
    notes: [],
  }
}

function fillLines(lines: LineIndex, { document, counter }: YamlText): void {
  const walk = (node: unknown, path: readonly PropertyKey[], depth: number): void => {
    if (depth > 20) return
    if (isSeq(node)) for (const [index, item] of node.items.entries()) walkItem(item, [...path, index], depth)
    if (!isMap(node)) return
    for (const item of node.items) {
      if (!isPair(item) || !isScalar(item.key)) continue
      const inner = [...path, String(item.key.value)]
      if (item.key.range) lines.set(inner, counter.linePos(item.key.range[0]).line)
      walk(item.value, inner, depth + 1)
    }
  }
  const walkItem = (node: unknown, path: readonly PropertyKey[], depth: number): void => {
    const isNode = isMap(node) || isSeq(node) || isScalar(node)
    if (isNode && node.range) lines.set(path, counter.linePos(node.range[0]).line)
    walk(node, path, depth + 1)
  }
  walk(document.contents, [], 0)
}

function syntaxError(file: string, message: string, line?: number): FrpConfigError {
  return new FrpConfigError([{ code: FrpConfigErrorCode.syntax, file, line, key: '', message }])
}
