import { readdir, readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { errorMessage } from '../../foundation/errors.ts'
import { checkPart, type Part, takeForeign } from './check.ts'
import type { FrpcConfig, FrpsConfig, ProxyConfig, VisitorConfig } from './config.ts'
import { type ConfigSource, valueSource } from './config-source.ts'
import { readEntries, type RunningEntries } from './entries.ts'
import { FrpConfigError, FrpConfigErrorCode } from './errors.ts'
import { Findings } from './findings.ts'
import { isRecord } from './fold-keys.ts'
import { frpcForeignSettings, frpsForeignSettings, takeKey } from './foreign-settings.ts'
import { frpcCommonSchema, isProxyUrl, PROXY_URL_FORM } from './frpc-schema.ts'
import { frpsSchema } from './frps-schema.ts'
import { includedFiles } from './includes.ts'
import type { IniRole } from './ini-source.ts'
import { parseSource } from './source.ts'
import { execSourceKeys } from './value-sources.ts'

/** What a configuration depends on besides itself. */
export interface FrpConfigOptions {
  /** Environment variables: `.Envs` of templates, and `http_proxy`. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether unknown keys are errors. INI files never mind them. @defaultValue true */
  readonly strict?: boolean
  /** What `--allow-unsafe` names; `TokenSourceExec` is the only one. @defaultValue [] */
  readonly allowUnsafe?: readonly string[]
}

export interface FrpConfigLoadOptions extends FrpConfigOptions {
  /** Reads a file. @defaultValue from disk */
  readonly readFile?: (path: string) => Promise<string>
  /** Names of what is in a folder and is no folder. @defaultValue from disk */
  readonly listFiles?: (folder: string) => Promise<readonly string[]>
}

/** A configuration, and what its user should be told about it. */
export interface LoadedConfig<Config> {
  readonly config: Config
  /** A line for each: an old format, settings that have no effect. */
  readonly notes: readonly string[]
}

/**
 * Reads and checks a configuration of frps: TOML, YAML, JSON or INI, whatever the file is called.
 * @throws FrpConfigError
 */
export async function loadFrpsConfig(
  path: string,
  options: FrpConfigLoadOptions,
): Promise<LoadedConfig<FrpsConfig>> {
  return frpsConfig(await readSource(path, 'frps', options, false), options)
}

/**
 * The same for frpc, with the files of `includes`. A relative `store.path` lies beside the file, everything else in the
 * working directory.
 * @throws FrpConfigError
 */
export async function loadFrpcConfig(
  path: string,
  options: FrpConfigLoadOptions,
): Promise<LoadedConfig<FrpcConfig>> {
  const main = await readSource(path, 'frpc', options, false)
  const included: ConfigSource[] = []
  for (const file of await includedFiles(path, includesOf(main), options.listFiles ?? filesIn)) {
    included.push(await readSource(file, 'frpc', options, main.format === 'ini'))
  }
  const { config, notes } = frpcConfig(main, included, options)
  const store = config.store.path === '' ? config.store : { path: resolve(dirname(path), config.store.path) }
  return { config: { ...config, store }, notes }
}

/** The configuration of frps that a value in frp's JSON shape stands for. @throws FrpConfigError */
export function frpsConfigOf(raw: unknown, options: FrpConfigOptions): LoadedConfig<FrpsConfig> {
  return frpsConfig(valueSource(raw), options)
}

/** The same for frpc; `includes` is for files and is refused. @throws FrpConfigError */
export function frpcConfigOf(raw: unknown, options: FrpConfigOptions): LoadedConfig<FrpcConfig> {
  const source = valueSource(raw)
  if (includesOf(source).length > 0) fail(FrpConfigErrorCode.invalid, '', 'includes', 'is only for files')
  return frpcConfig(source, [], options)
}

/** A proxy in frp's JSON shape, as of the store and its API. @throws FrpConfigError */
export function proxyConfigOf(raw: unknown, options: { readonly strict?: boolean } = {}): ProxyConfig {
  const proxy = entryOf('proxies', raw, options).proxies[0]
  return proxy ?? fail(FrpConfigErrorCode.invalid, '', '', 'the proxy is missing')
}

/** A visitor in frp's JSON shape, as of the store and its API. @throws FrpConfigError */
export function visitorConfigOf(raw: unknown, options: { readonly strict?: boolean } = {}): VisitorConfig {
  const visitor = entryOf('visitors', raw, options).visitors[0]
  return visitor ?? fail(FrpConfigErrorCode.invalid, '', '', 'the visitor is missing')
}

/** One entry, checked in full also if it is switched off. */
function entryOf(
  kind: 'proxies' | 'visitors',
  raw: unknown,
  { strict = true }: { readonly strict?: boolean },
): RunningEntries {
  const findings = new Findings()
  const entry = isRecord(raw) ? takeKey(raw, ['enabled']).rest : raw
  const entries = readEntries([valueSource({ [kind]: [entry] })], [], findings, strict)
  findings.throwIfAny()
  return entries
}

function frpsConfig(source: ConfigSource, options: FrpConfigOptions): LoadedConfig<FrpsConfig> {
  const findings = findingsOf(source)
  const { strict = true } = options
  const part = takeForeign(rootPart(source), frpsForeignSettings, findings)
  const config = checkPart(frpsSchema, part, findings, { strict })
  checkUnsafe(source, execSourceKeys(config), options, findings)
  findings.throwIfAny()
  return { config: config ?? unreachable(), notes: findings.notes }
}

function frpcConfig(
  main: ConfigSource,
  included: readonly ConfigSource[],
  options: FrpConfigOptions,
): LoadedConfig<FrpcConfig> {
  const findings = findingsOf(main)
  const { strict = true } = options
  const common = checkPart(frpcCommonSchema, commonPart(main, findings), findings, {
    strict,
    moreKeys: ownKeys,
  })
  for (const source of included) {
    findings.notes.push(...source.notes)
    // Checked as in frp, though only proxies and visitors of it count.
    checkPart(frpcCommonSchema, commonPart(source, findings), findings, { strict, moreKeys: ownKeys })
  }
  checkUnsafe(main, execSourceKeys(common), options, findings)
  const entries = readEntries([main, ...included], common?.start ?? [], findings, strict)
  const transport = common === undefined ? undefined : withProxyUrl(common.transport, options, findings)
  findings.throwIfAny()
  if (common === undefined || transport === undefined) return unreachable()
  if (!transport.tls.enable) noteUselessTls(main, transport.tls, findings)
  return { config: { ...common, transport, ...entries }, notes: findings.notes }
}

function findingsOf(source: ConfigSource): Findings {
  const findings = new Findings()
  if (source.format === 'ini') {
    findings.notes.push(`${source.file}: INI is an old format of frp; TOML, YAML and JSON have every setting`)
  }
  findings.notes.push(...source.notes)
  return findings
}

function rootPart(source: ConfigSource): Part {
  if (isRecord(source.value)) return { source, path: [], raw: source.value }
  return fail(FrpConfigErrorCode.invalid, source.file, '', 'must be a table of keys')
}

/** Read by themselves. */
const ownKeys = ['proxies', 'visitors', 'includes'] as const

/** Without these. */
function commonPart(source: ConfigSource, findings: Findings): Part {
  const part = takeForeign(rootPart(source), frpcForeignSettings, findings)
  const raw = ownKeys.reduce<Part['raw']>((rest, key) => takeKey(rest, [key]).rest, part.raw)
  return { ...part, raw }
}

function includesOf(source: ConfigSource): string[] {
  const { value } = takeKey(rootPart(source).raw, ['includes'])
  if (value === undefined || value === null) return []
  const isList = Array.isArray(value) && value.every((entry) => typeof entry === 'string')
  return isList ? value : fail(FrpConfigErrorCode.invalid, source.file, 'includes', 'must be a list of texts')
}

/** frp takes the proxy of the environment where the file names none. */
function withProxyUrl(
  transport: FrpcConfig['transport'],
  { env }: FrpConfigOptions,
  findings: Findings,
): FrpcConfig['transport'] {
  const proxyURL = transport.proxyURL || (env['http_proxy'] ?? '')
  if (!isProxyUrl(proxyURL)) {
    findings.problem(valueSource({}), ['environment variable http_proxy'], PROXY_URL_FORM)
  }
  return { ...transport, proxyURL }
}

const EXEC_FEATURE = 'TokenSourceExec'

function checkUnsafe(
  source: ConfigSource,
  keys: readonly (readonly string[])[],
  { allowUnsafe = [] }: FrpConfigOptions,
  findings: Findings,
): void {
  if (allowUnsafe.includes(EXEC_FEATURE)) return
  for (const key of keys) {
    const message = `unsafe feature "${EXEC_FEATURE}" is not enabled; --allow-unsafe ${EXEC_FEATURE} enables it`
    findings.problem(source, key, message, { code: FrpConfigErrorCode.unsafe })
  }
}

function noteUselessTls(source: ConfigSource, tls: FrpcConfig['transport']['tls'], findings: Findings): void {
  for (const key of ['certFile', 'keyFile', 'trustedCaFile'] as const) {
    const path = ['transport', 'tls', key]
    if (tls[key] !== '') findings.note(source, path, 'has no effect when transport.tls.enable is false')
  }
}

async function readSource(
  path: string,
  role: IniRole,
  options: FrpConfigLoadOptions,
  isIni: boolean,
): Promise<ConfigSource> {
  let text: string
  try {
    text = await (options.readFile ?? ((file) => readFile(file, 'utf8')))(path)
  } catch (error) {
    return fail(FrpConfigErrorCode.unreadable, path, '', errorMessage(error), error)
  }
  return parseSource(path, text, { env: options.env, role, isIni })
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => entry.name)
}

function fail(code: FrpConfigErrorCode, file: string, key: string, message: string, cause?: unknown): never {
  throw new FrpConfigError([{ code, file, key, message }], cause)
}

/** A part without a result has a problem, and problems have been thrown. */
function unreachable(): never {
  throw new Error('a configuration without problems has no result')
}
