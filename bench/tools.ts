import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const loadFolder = fileURLToPath(new URL('load/', import.meta.url))
const goFolder = fileURLToPath(new URL('peers/go-relay/', import.meta.url))

/** The programs that the bench builds for itself. */
export interface Tools {
  readonly load: string
  /** The Go relay, where there is a Go to build it. */
  readonly goRelay?: string
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
  if (versionOf('go') === undefined) {
    say('go is not installed: the subject "go" is left out')
    return { load }
  }
  build(goFolder, 'go', ['build', '-o', 'bin/go-relay', '.'])
  return { load, goRelay: `${goFolder}bin/go-relay` }
}

function build(folder: string, command: string, args: readonly string[]): void {
  execFileSync(command, args, { cwd: folder, stdio: 'inherit' })
}

/** What an installed program says of its version; undefined when there is none. */
export function versionOf(command: string): string | undefined {
  try {
    const text = execFileSync(command, [command === 'go' ? 'version' : '--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return /\d+(\.\d+)+/.exec(text)?.[0]
  } catch {
    return undefined
  }
}
