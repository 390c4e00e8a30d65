import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { frpVersion, nginxVersion, pionTurnVersion, versionOf } from './tools.ts'

/** Where and with what the figures were found; null is not installed. */
export interface Machine {
  readonly date: string
  /** Version of the package, and the commit with `+` behind it where files differed from it. */
  readonly sluice: string
  readonly node: string
  readonly go: string | null
  readonly rustc: string | null
  readonly nginx: string | null
  readonly coturn: string | null
  readonly redis: string | null
  readonly pionTurn: string | null
  readonly frp: string | null
  readonly kernel: string
  readonly cpuModel: string
  readonly cpus: number
  readonly memoryBytes: number
}

export function describeMachine(): Machine {
  const [cpu] = cpus()
  return {
    date: new Date().toISOString(),
    sluice: sluiceVersion(),
    node: process.versions.node,
    go: versionOf('go') ?? null,
    rustc: versionOf('rustc') ?? null,
    nginx: nginxVersion() ?? null,
    coturn: versionOf('turnserver') ?? null,
    redis: versionOf('redis-server') ?? null,
    pionTurn: pionTurnVersion() ?? null,
    frp: frpVersion() ?? null,
    kernel: `${process.platform} ${release()} ${process.arch}`,
    cpuModel: cpu?.model ?? 'unknown',
    cpus: cpus().length,
    memoryBytes: totalmem(),
  }
}

function sluiceVersion(): string {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string }
  const git = (...args: readonly string[]): string =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    const isChanged = git('status', '--porcelain', '--untracked-files=no') !== ''
    return `${version} (${git('rev-parse', '--short', 'HEAD')}${isChanged ? '+' : ''})`
  } catch {
    // A package without its repository.
    return version
  }
}
