import type { z } from 'zod'
import { checkPart, type Part, takeForeign } from './check.ts'
import type { ProxyConfig, VisitorConfig } from './config.ts'
import type { ConfigSource } from './config-source.ts'
import type { Findings } from './findings.ts'
import { isRecord } from './fold-keys.ts'
import {
  type ForeignSetting,
  proxyForeignSettings,
  takeKey,
  visitorForeignSettings,
} from './foreign-settings.ts'
import { foreignProxyKeys, proxySchema } from './proxy-schema.ts'
import { visitorSchema } from './visitor-schema.ts'

/** Proxies and visitors that are to run. */
export interface RunningEntries {
  readonly proxies: readonly ProxyConfig[]
  readonly visitors: readonly VisitorConfig[]
}

/**
 * Proxies and visitors of all files, without those that are switched off or not in `start`. Of these only the form
 * counts, so a file with a proxy that cannot run here is good as long as the proxy does not run.
 */
export function readEntries(
  sources: readonly ConfigSource[],
  start: readonly string[],
  findings: Findings,
  strict: boolean,
): RunningEntries {
  const read = <Config>(kind: Kind<Config>): Config[] => {
    const parts = sources.flatMap((source) => partsOf(source, kind.key, findings))
    noteDuplicates(parts, kind.word, findings)
    return parts.flatMap((part) => readEntry(part, kind, { start, strict, findings }) ?? [])
  }
  return { proxies: read(proxyKind), visitors: read(visitorKind) }
}

interface Kind<Config> {
  readonly key: 'proxies' | 'visitors'
  readonly word: string
  readonly schema: z.ZodType<{ readonly config: Config }>
  readonly foreignSettings: readonly ForeignSetting[]
  readonly foreignKeys: (type: unknown) => readonly string[]
}

const proxyKind: Kind<ProxyConfig> = {
  key: 'proxies',
  word: 'proxy',
  schema: proxySchema,
  foreignSettings: proxyForeignSettings,
  foreignKeys: foreignProxyKeys,
}

const visitorKind: Kind<VisitorConfig> = {
  key: 'visitors',
  word: 'visitor',
  schema: visitorSchema,
  foreignSettings: visitorForeignSettings,
  foreignKeys: () => [],
}

function partsOf(source: ConfigSource, key: 'proxies' | 'visitors', findings: Findings): Part[] {
  const { value } = takeKey(isRecord(source.value) ? source.value : {}, [key])
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) {
    findings.problem(source, [key], 'must be a list of tables')
    return []
  }
  return value.flatMap((raw: unknown, index): Part[] => {
    if (isRecord(raw)) return [{ source, path: [key, index], raw }]
    findings.problem(source, [key, index], 'must be a table')
    return []
  })
}

function noteDuplicates(parts: readonly Part[], word: string, findings: Findings): void {
  const seen = new Set<unknown>()
  for (const { source, path, raw } of parts) {
    const name = takeKey(raw, ['name']).value
    if (typeof name !== 'string') continue
    if (seen.has(name)) findings.problem(source, [...path, 'name'], `${word} name [${name}] is duplicated`)
    seen.add(name)
  }
}

function readEntry<Config>(
  part: Part,
  kind: Kind<Config>,
  { start, strict, findings }: { start: readonly string[]; strict: boolean; findings: Findings },
): Config | undefined {
  const [name, type, enabled] = ['name', 'type', 'enabled'].map((key) => takeKey(part.raw, [key]).value)
  const isStarted = start.length === 0 || (typeof name === 'string' && start.includes(name))
  const runs = enabled !== false && isStarted
  const own = takeForeign(part, kind.foreignSettings, findings, runs)
  // Said already if it was to run.
  if (type === 'xtcp') return undefined
  const options = { strict, hiddenKeys: kind.foreignKeys(type), formOnly: !runs }
  const entry = checkPart(kind.schema, own, findings, options)
  return runs ? entry?.config : undefined
}
