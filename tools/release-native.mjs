/**
 * Builds the native engine for a release, into native/prebuilt, which `npm pack` takes along:
 *
 *   node tools/release-native.mjs            for x64 and arm64
 *   node tools/release-native.mjs arm64      for one of them
 *
 * What is not this machine's needs a compiler and a standard library for the other one. On Debian 12 the packages rustc-web,
 * libstd-rust-web-dev:arm64, libc6-dev:arm64 and gcc-aarch64-linux-gnu bring them (after dpkg --add-architecture arm64),
 * used with RUSTC=/usr/bin/rustc. It fails when one cannot be built: a release has both or says so.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hashOfSources } from './build-native.mjs'

const native = join(dirname(dirname(fileURLToPath(import.meta.url))), 'native')
const targets = {
  x64: { triple: 'x86_64-unknown-linux-gnu', linker: 'x86_64-linux-gnu-gcc' },
  arm64: { triple: 'aarch64-unknown-linux-gnu', linker: 'aarch64-linux-gnu-gcc' },
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(targets)
for (const arch of wanted) {
  const target = targets[arch]
  if (target === undefined) throw new Error(`${arch}: must be one of ${Object.keys(targets).join(', ')}`)
  build(arch, target)
}
writeFileSync(join(native, 'prebuilt/sources'), hashOfSources())

function build(arch, { triple, linker }) {
  const linkerKey = `CARGO_TARGET_${triple.toUpperCase().replaceAll('-', '_')}_LINKER`
  const own = arch === process.arch
  const { status } = spawnSync('cargo', ['build', '--release', '--locked', '--target', triple], {
    cwd: native,
    stdio: 'inherit',
    env: { ...process.env, ...(own ? {} : { [linkerKey]: linker }) },
  })
  if (status !== 0) {
    process.stderr.write(
      `release: linux-${arch} cannot be built here; the head of this file says what it needs\n`,
    )
    process.exit(1)
  }
  mkdirSync(join(native, 'prebuilt'), { recursive: true })
  const file = join(native, `prebuilt/linux-${arch}.node`)
  copyFileSync(join(native, `target/${triple}/release/libsluice_native.so`), file)
  process.stdout.write(`release: ${file}\n`)
}
