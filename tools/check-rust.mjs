/**
 * Checks the Rust of the repository: formatting and lints, where cargo has the tools for it, and unit tests.
 *
 *   node tools/check-rust.mjs
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const checks = [
  ['fmt', '--check'],
  ['clippy', '--all-targets', '--locked', '--quiet', '--', '-D', 'warnings'],
  ['test', '--locked', '--quiet'],
]

const usable = checks.filter(([command]) => {
  const isThere = command === 'test' || spawnSync('cargo', [command, '--version']).status === 0
  if (!isThere) process.stdout.write(`check-rust: there is no cargo ${command}, so it is left out\n`)
  return isThere
})
const crates = ['native', 'bench/load', 'bench/ebpf'].filter((crate) =>
  existsSync(join(root, crate, 'Cargo.toml')),
)
for (const crate of crates) {
  for (const args of usable) {
    const { status } = spawnSync('cargo', args, { cwd: join(root, crate), stdio: 'inherit' })
    if (status === 0) continue
    process.stderr.write(`check-rust: cargo ${args.join(' ')} failed in ${crate}\n`)
    process.exit(1)
  }
}
