import type { ConfigSource } from './config-source.ts'
import { FrpConfigError, FrpConfigErrorCode, type FrpConfigProblem } from './errors.ts'
import { IniError, type IniSection, type IniValue, parseIni } from './ini.ts'
import {
  frpcIniKeys,
  frpsIniKeys,
  type IniKeys,
  type IniKind,
  proxyIniKeys,
  quietIniKeys,
  visitorIniKeys,
} from './ini-keys.ts'
import { LineIndex } from './line-index.ts'
import { NumberRangeError, parseNumbers, parsePortRanges } from './port-ranges.ts'
import { foreignProxyKeys } from './proxy-schema.ts'

/** Whose file it is; the same names mean different things to frps and frpc. */
export type IniRole = 'frps' | 'frpc'

/** Old files of frp are told by this section, which each of them has. */
export function isIni(text: string): boolean {
  return /^[ \t]*\[common\]/m.test(text)
}

/**
 * An INI file in the shape of frp's JSON.
 * @throws FrpConfigError FRP_CONFIG_SYNTAX, FRP_CONFIG_INVALID for values that are not of their kind
 */
export function iniSource(file: string, text: string, role: IniRole): ConfigSource {
  let sections: IniSection[]
  try {
    sections = parseIni(text)
  } catch (error) {
    if (!(error instanceof IniError)) throw error
    const problem = {
      code: FrpConfigErrorCode.syntax,
      file,
      line: error.line,
      key: '',
      message: error.message,
    }
    throw new FrpConfigError([problem], error)
  }
  return new IniReader(file).read(sections, role)
}

type Raw = Record<string, unknown>

class IniReader {
  readonly #file: string
  readonly #lines = new LineIndex()
  readonly #notes: string[] = []
  readonly #problems: FrpConfigProblem[] = []

  constructor(file: string) {
    this.#file = file
  }

  read(sections: readonly IniSection[], role: IniRole): ConfigSource {
    const value = role === 'frps' ? this.#frps(sections) : this.#frpc(sections)
    const [first, ...rest] = this.#problems
    if (first !== undefined) throw new FrpConfigError([first, ...rest])
    return { file: this.#file, format: 'ini', value, lines: this.#lines, notes: this.#notes }
  }

  #frps(sections: readonly IniSection[]): Raw {
    const common = sections.find(({ name }) => name === 'common')
    const raw: Raw = common === undefined ? {} : this.#section(common, frpsIniKeys, [])
    if (common !== undefined) this.#scopes(raw, common)
    // Here only: the certificate counts with the mode on, and the dashboard is open to other machines.
    if (!this.#isOn(common, 'dashboard_tls_mode')) delete (raw['webServer'] as Raw | undefined)?.['tls']
    else setAt(raw, ['webServer', 'tls', 'certFile'], textAt(common, 'dashboard_tls_cert_file'))
    setAt(raw, ['webServer', 'addr'], textAt(common, 'dashboard_addr') || '0.0.0.0')
    const plugins = sections.filter(({ name }) => name.startsWith('plugin.'))
    if (plugins.length > 0)
      raw['httpPlugins'] = plugins.map(({ name }) => ({ name: name.slice('plugin.'.length) }))
    for (const { line } of plugins) this.#lines.set(['httpPlugins'], line)
    return raw
  }

  #frpc(sections: readonly IniSection[]): Raw {
    const common = sections.find(({ name }) => name === 'common')
    const raw: Raw = common === undefined ? {} : this.#section(common, frpcIniKeys, [])
    if (common !== undefined) {
      this.#scopes(raw, common)
      this.#prefixed(raw, common, 'meta_', ['metadatas'], [])
      this.#prefixed(raw, common, 'oidc_additional_', ['auth', 'oidc', 'additionalEndpointParams'], [])
    }
    const proxies: Raw[] = []
    const visitors: Raw[] = []
    for (const section of sections.flatMap((section) => this.#ranges(section))) {
      if (section.name === '' || section.name === 'common' || section.name === 'DEFAULT') continue
      const role = textAt(section, 'role')
      if (role === 'visitor') visitors.push(this.#visitor(section, ['visitors', visitors.length]))
      else if (role === '' || role === 'server')
        proxies.push(this.#proxy(section, ['proxies', proxies.length]))
      else this.#problem(section, 'role', `proxy ${section.name} role should be 'server' or 'visitor'`)
    }
    return { ...raw, proxies, visitors }
  }

  #proxy(section: IniSection, path: readonly PropertyKey[]): Raw {
    const raw: Raw = { type: 'tcp', ...this.#section(section, proxyIniKeys, path), name: section.name }
    this.#prefixed(raw, section, 'meta_', ['metadatas'], path)
    this.#prefixed(raw, section, 'header_', ['requestHeaders', 'set'], path)
    // An INI section may hold keys of other types; frp passes them over.
    for (const key of foreignProxyKeys(raw['type'])) delete raw[key]
    return raw
  }

  #visitor(section: IniSection, path: readonly PropertyKey[]): Raw {
    return { ...this.#section(section, visitorIniKeys, path), name: section.name }
  }

  /** `[range:x]` stands for x_0, x_1, ... with one port each; any other section for itself. */
  #ranges(section: IniSection): IniSection[] {
    if (!section.name.startsWith('range:')) return [section]
    const name = section.name.slice('range:'.length).trim()
    const [locals, remotes] = ['local_port', 'remote_port'].map((key) => {
      try {
        return parseNumbers(textAt(section, key))
      } catch (error) {
        if (!(error instanceof NumberRangeError)) throw error
        this.#problem(section, key, error.message)
        return undefined
      }
    })
    if (locals === undefined || remotes === undefined) return []
    if (locals.length !== remotes.length) {
      this.#problem(section, 'local_port', 'local ports number should be same with remote ports number')
      return []
    }
    return locals.map((local, index) => ({
      name: `${name}_${index}`,
      line: section.line,
      entries: new Map([
        ...section.entries,
        ['local_port', { text: String(local), line: section.line }],
        ['remote_port', { text: String(remotes[index]), line: section.line }],
      ]),
    }))
  }

  #section(section: IniSection, keys: IniKeys, path: readonly PropertyKey[]): Raw {
    const raw: Raw = {}
    if (path.length > 0) this.#lines.set(path, section.line)
    for (const [key, entry] of section.entries) {
      const known = Object.hasOwn(keys, key) ? keys[key] : undefined
      if (known === undefined) {
        if (!quietIniKeys.has(key) && !/^(?:meta|header|plugin|oidc_additional)_/.test(key)) {
          this.#notes.push(
            `${this.#file}:${entry.line}: [${section.name}] ${key} is unknown and has no effect`,
          )
        }
        continue
      }
      const [kind, dotted] = known
      const inner = dotted.split('.')
      this.#lines.set([...path, ...inner], entry.line)
      const value = this.#value(section, key, entry, kind)
      if (value !== undefined) setAt(raw, inner, value)
    }
    return raw
  }

  /** Undefined for an empty text, which is as good as absent, and for one that is not of its kind. */
  #value(section: IniSection, key: string, { text }: IniValue, kind: IniKind): unknown {
    if (text === '') return undefined
    switch (kind) {
      case 'text':
        return text
      case 'list':
        return text.split(',').map((entry) => entry.trim())
      case 'number': {
        const value = /^[+-]?(?:\d{1,15}|0[xX][0-9a-fA-F]{1,12})$/.test(text) ? Number(text) : undefined
        if (value === undefined) this.#problem(section, key, 'must be a whole number')
        return value
      }
      case 'flag': {
        const value = flagOf(text)
        if (value === undefined) this.#problem(section, key, 'must be true or false')
        return value
      }
      case 'ports':
        try {
          return parsePortRanges(text).map(({ from, to }) => ({ start: from, end: to }))
        } catch (error) {
          if (!(error instanceof NumberRangeError)) throw error
          this.#problem(section, key, error.message)
          return undefined
        }
      default:
        return kind satisfies never
    }
  }

  #prefixed(
    raw: Raw,
    section: IniSection,
    prefix: string,
    inner: readonly string[],
    path: readonly PropertyKey[],
  ): void {
    const found = [...section.entries].filter(([key]) => key.startsWith(prefix))
    if (found.length === 0) return
    for (const [, { line }] of found) this.#lines.set([...path, ...inner], line)
    setAt(raw, inner, Object.fromEntries(found.map(([key, { text }]) => [key.slice(prefix.length), text])))
  }

  #scopes(raw: Raw, common: IniSection): void {
    const scopes = [
      ...(this.#isOn(common, 'authenticate_heartbeats') ? ['HeartBeats'] : []),
      ...(this.#isOn(common, 'authenticate_new_work_conns') ? ['NewWorkConns'] : []),
    ]
    if (scopes.length > 0) setAt(raw, ['auth', 'additionalScopes'], scopes)
  }

  #isOn(section: IniSection | undefined, key: string): boolean {
    const text = textAt(section, key)
    const value = text === '' ? false : flagOf(text)
    if (value === undefined && section !== undefined) this.#problem(section, key, 'must be true or false')
    return value === true
  }

  #problem(section: IniSection, key: string, message: string): void {
    const entry = section.entries.get(key)
    this.#problems.push({
      code: FrpConfigErrorCode.invalid,
      file: this.#file,
      line: entry?.line ?? section.line,
      key: `[${section.name}] ${key}`,
      value: entry === undefined ? undefined : JSON.stringify(entry.text.slice(0, 80)),
      message,
    })
  }
}

function textAt(section: IniSection | undefined, key: string): string {
  return section?.entries.get(key)?.text ?? ''
}

/** The words that frp's INI library takes. */
function flagOf(text: string): boolean | undefined {
  if (/^(?:1|t|T|true|TRUE|True|YES|yes|Yes|y|ON|on|On)$/.test(text)) return true
  return /^(?:0|f|F|false|FALSE|False|NO|no|No|n|OFF|off|Off)$/.test(text) ? false : undefined
}

function setAt(raw: Raw, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path
  if (key === undefined) return
  if (rest.length === 0) {
    raw[key] = value
    return
  }
  const inner = (raw[key] ??= {}) as Raw
  setAt(inner, rest, value)
}
