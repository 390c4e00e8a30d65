/**
 * Builds the native engine with cargo into native/build, and keeps it while its sources are unchanged:
 *
 *   node tools/build-native.mjs
 *
 * npm runs it when the package is installed; `tools/prepare.mjs` calls it too. Where it cannot be built, one line says why and
 * the gateway runs without it, so nothing here ever fails an install. Plain JavaScript, built-ins only.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const native = join(dirname(dirname(fileURLToPath(import.meta.url))), 'native')
const built = join(native, 'build/sluice.node')
const stamp = join(native, 'build/.sources')

/**
 * Builds the engine unless that was done for just these sources.
 *
 * @param {(text: string) => void} write gets what is done, in parts of one line, and why it is not
 */
export function buildNative(write) {
  const wanted = hashOfSources()
  if (existsSync(built) && readIfThere(stamp) === wanted) return
  const prebuilt = join(native, `prebuilt/${process.platform}-${process.arch}.node`)
  if (existsSync(prebuilt) && readIfThere(join(native, 'prebuilt/sources')) === wanted) return
  const obstacle = whyNot()
  if (obstacle !== undefined) {
    giveUp(obstacle, write)
    return
  }
  const startMs = performance.now()
  write('native engine ... ')
  const result = spawnSync('cargo', ['build', '--release', '--locked'], { cwd: native, encoding: 'utf8' })
  if (result.status !== 0) {
    write('failed\n')
    giveUp(failureOf(result), write)
    return
  }
  mkdirSync(dirname(built), { recursive: true })
  // Renamed into its place: a process may have the one that is there loaded.
  copyFileSync(join(native, 'target/release/libsluice_native.so'), `${built}.new`)
  renameSync(`${built}.new`, built)
  writeFileSync(stamp, wanted)
  write(`${((performance.now() - startMs) / 1000).toFixed(1)} s\n`)
}

function whyNot() {
  if (process.platform !== 'linux') return `it needs Linux, this is ${process.platform}`
  if (spawnSync('cargo', ['--version']).status !== 0) return 'there is no cargo'
  return undefined
}

/** Says once why there is no engine; an older one does not fit the sources. */
function giveUp(obstacle, write) {
  rmSync(built, { force: true })
  const text = `native engine: not built, ${obstacle}; the gateway runs on engine-node\n`
  if (readIfThere(stamp) === text) return
  write(text)
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, text)
}

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}

/** What `release-native.mjs` leaves beside the engines that it has built, too. */
export function hashOfSources() {
  const sources = readdirSync(join(native, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(native.length + 1))
  const hash = createHash('sha256')
  for (const name of ['Cargo.toml', 'Cargo.lock', ...sources.sort()]) {
    hash.update(`${name}\n`).update(readFileSync(join(native, name)))
  }
  return hash.digest('hex')
}

/** The first line that says what was wrong. */
function failureOf({ error, stderr, status }) {
  const line = (stderr ?? '').split('\n').find((text) => text.startsWith('error'))
  return `cargo: ${error?.message ?? line ?? `ended with code ${status}`}`
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  buildNative((text) => process.stdout.write(text))
}
