import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

const loadFolder = fileURLToPath(new URL('load/', import.meta.url))
const goRelayFolder = fileURLToPath(new URL('peers/go-relay/', import.meta.url))
const pionTurnFolder = fileURLToPath(new URL('peers/pion-turn/', import.meta.url))

/** The programs that the bench builds for itself. */
export interface Tools {
  readonly load: string
  /** The Go relay, where there is a Go to build it. */
  readonly goRelay?: string
  /** The TURN server on pion/turn, where its modules can be had too. */
  readonly pionTurn?: string
  /** The command, where it is installed. */
  readonly coturn?: string
  readonly nginx?: string
  /** Whether there is a redis-server. */
  readonly hasRedis: boolean
  /** The real frp, where the environment names its executables. */
  readonly frp?: FrpExecutables
}

/** Paths of frp's server and client, which come from no registry. */
export interface FrpExecutables {
  readonly frps: string
  readonly frpc: string
}

/** Builds what sources changed. Without cargo there is no bench; what else is missing is said and left out. */
export function buildTools(say: (line: string) => void): Tools {
  const load = `${loadFolder}target/release/load`
  if (versionOf('cargo') === undefined) {
    if (!existsSync(load)) throw new Error('cargo is not installed, and the load tool is written in Rust')
    say('cargo is not installed: the load tool stays as it was built')
  } else {
    execFileSync('cargo', ['build', '--release', '--quiet', '--locked'], {
      cwd: loadFolder,
      stdio: 'inherit',
    })
  }
  return {
    load,
    ...installedRedis(say),
    ...installedCoturn(say),
    ...installedNginx(say),
    ...namedFrp(say),
    ...builtInGo(say),
  }
}

/** The version of pion/turn that the peer requires. */
export function pionTurnVersion(): string | undefined {
  return /pion\/turn\/v\d+ v(\S+)/.exec(readFileSync(`${pionTurnFolder}go.mod`, 'utf8'))?.[1]
}

/** The version of the frp that the environment names. */
export function frpVersion(): string | undefined {
  const { SLUICE_FRPS: frps } = process.env
  return frps === undefined ? undefined : versionOf(frps)
}

/** The version of the nginx that takes part. */
export function nginxVersion(): string | undefined {
  const nginx = nginxCommand()
  return nginx === undefined ? undefined : versionOf(nginx)
}

/** Users of Debian do not have it on their PATH. */
function nginxCommand(): string | undefined {
  return ['nginx', '/usr/sbin/nginx'].find((command) => versionOf(command) !== undefined)
}

function installedCoturn(say: (line: string) => void): Pick<Tools, 'coturn'> {
  if (versionOf('turnserver') !== undefined) return { coturn: 'turnserver' }
  say('coturn is not installed: the subject "coturn" is left out')
  return {}
}

function installedRedis(say: (line: string) => void): Pick<Tools, 'hasRedis'> {
  const hasRedis = versionOf('redis-server') !== undefined
  if (!hasRedis) say('redis-server is not installed: the scenarios of FLEET are left out')
  return { hasRedis }
}

function installedNginx(say: (line: string) => void): Pick<Tools, 'nginx'> {
  const nginx = nginxCommand()
  if (nginx !== undefined) return { nginx }
  say('nginx is not installed: the subject "nginx" is left out')
  return {}
}

function namedFrp(say: (line: string) => void): Pick<Tools, 'frp'> {
  const { SLUICE_FRPS: frps, SLUICE_FRPC: frpc } = process.env
  if (frps === undefined || frpc === undefined) {
    say('SLUICE_FRPS and SLUICE_FRPC do not name the real frp: the subject "frp" is left out')
    return {}
  }
  const broken = [frps, frpc].find((path) => versionOf(path) === undefined)
  if (broken === undefined) return { frp: { frps, frpc } }
  say(`${broken} cannot be run: the subject "frp" is left out`)
  return {}
}

function builtInGo(say: (line: string) => void): Pick<Tools, 'goRelay' | 'pionTurn'> {
  if (versionOf('go') === undefined) {
    say('go is not installed: the subjects "go" and "pion" are left out')
    return {}
  }
  const [goRelay, pionTurn] = [`${goRelayFolder}bin/go-relay`, `${pionTurnFolder}bin/pion-turn`]
  build(goRelayFolder, 'go', ['build', '-o', goRelay, '.'])
  try {
    build(pionTurnFolder, 'go', ['build', '-o', pionTurn, '.'])
  } catch {
    // Its modules come from the network.
    say('pion/turn cannot be built: the subject "pion" is left out')
    return { goRelay }
  }
  return { goRelay, pionTurn }
}

function build(folder: string, command: string, args: readonly string[]): void {
  execFileSync(command, args, { cwd: folder, stdio: 'inherit' })
}

/** What an installed program says of its version; undefined when there is none. */
export function versionOf(command: string): string | undefined {
  const option = versionOptions[basename(command)] ?? '--version'
  const { status, stdout, stderr } = spawnSync(command, [option], { encoding: 'utf8' })
  // nginx writes it to standard error.
  return status === 0 ? /\d+(\.\d+)+/.exec(stdout + stderr)?.[0] : undefined
}

const versionOptions: Readonly<Record<string, string>> = { go: 'version', nginx: '-v' }
