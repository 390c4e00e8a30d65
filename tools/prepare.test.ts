import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

// The real script in a clone of its own, with an npm, a compiler and an apt-get that only note that they ran. It looks
// for programs in the clone's bin and sbin only, so that what this machine has makes no difference.
let clone: string

beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), 'sluice-prepare-'))
  write('package.json', '{}')
  write('package-lock.json', '{}')
  write('tsconfig.build.json', '{}')
  write('src/cli/main.ts', '')
  write('console/index.html', '')
  mkdirSync(join(clone, 'tools'))
  copyFileSync(join(import.meta.dirname, 'build-native.mjs'), join(clone, 'tools/build-native.mjs'))
  const script = readFileSync(join(import.meta.dirname, 'prepare.mjs'), 'utf8')
  expect(script.match(/'\/usr\/sbin'/g)).toHaveLength(1)
  write('tools/prepare.mjs', script.replace("'/usr/sbin'", `'${join(clone, 'sbin')}'`))
  for (const name of ['Cargo.toml', 'Cargo.lock', 'src/lib.rs']) write(`native/${name}`, '')
  write('interop/turn/aioice/requirements.txt', 'aioice==0.13.0')
  writeProgram(
    'cargo',
    cargo('1.95.0', 'mkdir -p target/release && echo > target/release/libsluice_native.so'),
  )
  writeProgram('npm', npm('echo {} > node_modules/.package-lock.json'))
  writeProgram('ip', '')
  symlinkSync(process.execPath, join(clone, 'bin/node'))
})

afterEach(() => {
  rmSync(clone, { recursive: true })
})

test('a fresh clone is installed and built, in one line per action; then nothing is done or said', () => {
  const first = prepare()
  expect(first.status).toBe(0)
  expect(first.stdout).toMatch(
    /^prepare: npm packages \.\.\. \d+\.\d s\nprepare: native engine \.\.\. \d+\.\d s\nprepare: dist \.\.\. \d+\.\d s\nprepare: dist\/console \.\.\. \d+\.\d s\n$/,
  )
  expect(ran()).toEqual(['npm', 'cargo', 'tsc', 'vite'])

  const second = prepare()
  expect([second.status, second.stdout, second.stderr]).toEqual([0, '', ''])
  expect(ran()).toEqual([])
})

test('another lock file or another dependency installs and builds again; another script does not', () => {
  prepare()
  ran()
  rewrite('package-lock.json', '{"packages":{}}')
  prepare()
  expect(ran()).toEqual(['npm', 'tsc', 'vite'])

  rewrite('package.json', '{"dependencies":{"zod":"4.6.7"}}')
  prepare()
  expect(ran()).toEqual(['npm', 'tsc', 'vite'])

  rewrite('package.json', '{"dependencies":{"zod":"4.6.7"},"scripts":{"a":"b"}}')
  prepare()
  expect(ran()).toEqual([])
})

test('node_modules that vanished, or that npm did not finish, are installed again', () => {
  prepare()
  rmSync(join(clone, 'node_modules'), { recursive: true })
  ran()
  prepare()
  expect(ran()).toEqual(['npm'])
  rmSync(join(clone, 'node_modules/.package-lock.json'))
  prepare()
  expect(ran()).toEqual(['npm'])
})

test('an install that fails shows why, leaves no stamp, and is done again', () => {
  writeProgram('npm', npm('echo the registry is away >&2; exit 7'))
  const failed = prepare()
  expect(failed.status).toBe(1)
  expect(failed.stderr).toContain('the registry is away')
  expect(failed.stderr).toMatch(/prepare: npm ci .*: ended with code 7\n$/)
  expect(ran()).toEqual(['npm'])

  writeProgram('npm', npm('echo {} > node_modules/.package-lock.json'))
  expect(prepare().status).toBe(0)
  expect(ran()).toEqual(['npm', 'cargo', 'tsc', 'vite'])
})

test('a changed, a new and a removed source build again; a test does not', () => {
  write('src/cli/run.ts', '')
  prepare()
  ran()

  write('src/cli/main.ts', 'changed')
  prepare()
  expect(ran()).toEqual(['tsc', 'vite'])

  write('src/cli/run.test.ts', '')
  prepare()
  expect(ran()).toEqual([])

  write('dist/cli/run.js', '')
  rmSync(join(clone, 'src/cli/run.ts'))
  prepare()
  expect(ran()).toEqual(['tsc', 'vite'])
  expect(existsSync(join(clone, 'dist/cli/run.js'))).toBe(false)
})

test('a dist without the command or the console is built again', () => {
  prepare()
  ran()
  rmSync(join(clone, 'dist/cli/main.js'))
  prepare()
  expect(ran()).toEqual(['tsc', 'vite'])
  rmSync(join(clone, 'dist'), { recursive: true })
  prepare()
  expect(ran()).toEqual(['tsc', 'vite'])
})

test('a changed source of the native engine builds it again; it is renamed into its place', () => {
  prepare()
  ran()
  const built = join(clone, 'native/build/sluice.node')
  const { ino } = statSync(built)
  write('native/src/engine.rs', '')
  prepare()
  expect(ran()).toEqual(['cargo'])
  expect(statSync(built).ino).not.toBe(ino)
  rmSync(built)
  prepare()
  expect(ran()).toEqual(['cargo'])
})

test('a native engine that is not built is said once, and does not stop anything', () => {
  const obstacle = (text: string): string =>
    `prepare: native engine: not built, ${text}; the gateway runs on engine-node\n`
  writeProgram('cargo', cargo('1.60.0', 'echo "error: rustc 1.60 is not supported" >&2; exit 101'))
  const first = prepare()
  expect(first.status).toBe(0)
  expect(first.stdout).toContain(
    `native engine ... failed\n${obstacle('cargo: error: rustc 1.60 is not supported')}`,
  )
  expect(first.stdout).toContain('prepare: dist')
  rmSync(join(clone, 'bin/cargo'))
  expect(prepare().stdout).toBe(obstacle('there is no cargo'))
  expect(prepare().stdout).toBe('')
  expect(existsSync(join(clone, 'native/build/sluice.node'))).toBe(false)
})

test('--test installs the Debian packages of peers that are missing, and says which', () => {
  writePython()
  writeProgram(
    'apt-get',
    `case "$*" in
       *install*) echo install >> '${clone}/ran'
         for name in ffmpeg ffprobe chromium turnutils_uclient srt-live-transmit redis-cli; do
           cp '${clone}/bin/go' '${clone}/bin/'$name
         done
         echo 'echo Redis server v=7.0.15' > '${clone}/bin/redis-server'; chmod +x '${clone}/bin/redis-server'
         mkdir '${clone}/sbin'; cp '${clone}/bin/go' '${clone}/sbin/nginx' ;;
       *) echo update >> '${clone}/ran' ;;
     esac`,
  )
  writeProgram('sudo', 'shift; exec "$@"')
  writeProgram('go', 'echo go version go1.24.4 linux/amd64')
  const first = prepare('--test')
  expect(first.stderr).toBe('')
  expect(first.stdout).toMatch(
    /prepare: Debian packages ffmpeg, chromium, coturn, srt-tools, libnginx-mod-rtmp, redis-server, redis-tools \.\.\. \d+\.\d s\n/,
  )
  expect(ran()).toEqual(['npm', 'update', 'install', 'venv', 'pip', 'cargo', 'tsc', 'vite'])
  expect(prepare('--test').stdout).toBe('')
})

test('--test without apt-get names the packages in one line', () => {
  const { status, stderr } = prepare('--test')
  expect(status).toBe(1)
  expect(stderr).toBe(
    'prepare: the tests need ffmpeg, chromium, golang, coturn, srt-tools, libnginx-mod-rtmp, redis-server, redis-tools, python3-venv; this system has no apt-get to install them, please do so yourself\n',
  )
})

test('--test takes the second package that has a program where the first one is too old', () => {
  writeOtherPeers()
  writeProgram('go', 'echo go version go1.24.4 linux/amd64')
  writeProgram('cargo', cargo('0.66.0', ''))
  const newer = cargo('1.85.0', 'mkdir -p target/release && echo > target/release/libsluice_native.so')
  writeProgram('newer', newer)
  writeProgram(
    'apt-get',
    `case "$*" in *install*cargo-web) cp '${clone}/bin/newer' '${clone}/bin/cargo' ;; esac`,
  )
  writeProgram('sudo', 'shift; exec "$@"')
  const { status, stdout } = prepare('--test')
  expect(status).toBe(0)
  expect(stdout).toMatch(
    /prepare: Debian packages cargo \.\.\. .*\n.*\nprepare: Debian packages cargo-web \.\.\. /,
  )
})

test('--test says when the distribution has only a Go that is too old', () => {
  writeOtherPeers()
  writeProgram('apt-get', '')
  writeProgram('sudo', 'shift; exec "$@"')
  writeProgram('go', 'echo go version go1.19.8 linux/amd64')
  const { status, stderr } = prepare('--test')
  expect(status).toBe(1)
  expect(stderr).toBe(
    'prepare: apt-get was not enough for the tests: go is 1.19.8, but 1.21 or newer is needed\n',
  )
})

test('--test masks a service before it installs the package that would start it', () => {
  writeProgram('go', 'echo go version go1.24.4 linux/amd64')
  writeOtherPeers()
  rmSync(join(clone, 'bin/turnutils_uclient'))
  writeProgram('sudo', `case "$1" in *=*) shift ;; esac; exec "$@"`)
  writeProgram('systemctl', `echo "$@" >> '${clone}/ran'`)
  writeProgram(
    'apt-get',
    `case "$*" in *install*coturn)
       echo install >> '${clone}/ran'; cp '${clone}/bin/go' '${clone}/bin/turnutils_uclient' ;;
     esac`,
  )
  expect(prepare('--test').status).toBe(0)
  expect(ran()).toEqual(['npm', 'mask coturn.service', 'install', 'venv', 'pip', 'cargo', 'tsc', 'vite'])
})

test('--test leaves the service of a program alone that was there, but is too old', () => {
  writeProgram('go', 'echo go version go1.24.4 linux/amd64')
  writeOtherPeers()
  writeProgram('redis-server', 'echo Redis server v=6.0.16 sha=00000000:0')
  writeProgram('sudo', `case "$1" in *=*) shift ;; esac; exec "$@"`)
  writeProgram('systemctl', `echo "$@" >> '${clone}/ran'`)
  writeProgram('apt-get', '')
  const { status, stderr } = prepare('--test')
  expect(status).toBe(1)
  expect(stderr).toBe(
    'prepare: apt-get was not enough for the tests: redis-server is 6.0.16, but 7.0 or newer is needed\n',
  )
  expect(ran()).toEqual(['npm'])
})

test('--test brings the RTMP module of an nginx that has none', () => {
  writeProgram('go', 'echo go version go1.24.4 linux/amd64')
  writeOtherPeers()
  writeProgram('nginx', nginx('exit 1'), 'sbin')
  writeProgram('newer', nginx('exit 0'))
  writeProgram('sudo', 'shift; exec "$@"')
  writeProgram(
    'apt-get',
    `case "$*" in *install*libnginx-mod-rtmp) cp '${clone}/bin/newer' '${clone}/sbin/nginx' ;; esac`,
  )
  const { status, stdout } = prepare('--test')
  expect(status).toBe(0)
  expect(stdout).toContain('prepare: Debian packages libnginx-mod-rtmp ... ')
})

test('--test installs Python packages again when other ones are listed, or when the Python is another', () => {
  writeProgram('go', 'echo go version go1.24.4 linux/amd64')
  writeOtherPeers()
  prepare('--test')
  expect(ran()).toEqual(['npm', 'venv', 'pip', 'cargo', 'tsc', 'vite'])
  expect(prepare('--test').stdout).toBe('')

  rewrite('interop/turn/aioice/requirements.txt', 'aioice==0.14.0')
  prepare('--test')
  expect(ran()).toEqual(['venv', 'pip'])

  rmSync(join(clone, 'interop/turn/bin/python/bin/python'))
  prepare('--test')
  expect(ran()).toEqual(['venv', 'pip'])
})

test('--test brings what makes Python environments where Python alone is there', () => {
  writeProgram('go', 'echo go version go1.24.4 linux/amd64')
  writeOtherPeers()
  writeProgram('python3', 'exit 1')
  writeProgram('sudo', 'shift; exec "$@"')
  writeProgram('apt-get', '')
  const { status, stdout, stderr } = prepare('--test')
  expect(status).toBe(1)
  expect(stdout).toContain('prepare: Debian packages python3-venv ... ')
  expect(stderr).toBe(
    'prepare: apt-get was not enough for the tests: python3 -c import ensurepip, venv fails\n',
  )
})

function prepare(...args: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [join(clone, 'tools/prepare.mjs'), ...args], {
    encoding: 'utf8',
    env: { PATH: join(clone, 'bin') },
  })
}

/** What ran since the last call. */
function ran(): readonly string[] {
  const log = join(clone, 'ran')
  if (!existsSync(log)) return []
  const lines = readFileSync(log, 'utf8').trim().split('\n')
  rmSync(log)
  return lines
}

/** Appends, so that a file that was there has another size and time. */
function write(name: string, text: string): void {
  mkdirSync(dirname(join(clone, name)), { recursive: true })
  appendFileSync(join(clone, name), text)
}

function rewrite(name: string, text: string): void {
  writeFileSync(join(clone, name), text)
}

/** A shell program on the PATH of the script, which has nothing else on it. */
function writeProgram(name: string, body: string, folder = 'bin'): void {
  const path = join(clone, folder, name)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `#!/bin/sh\nPATH='${clone}/bin':/usr/bin:/bin\n${body}\n`)
  chmodSync(path, 0o755)
}

/** All peers but the compilers. */
function writeOtherPeers(): void {
  for (const name of [
    'ffmpeg',
    'ffprobe',
    'chromium',
    'turnutils_uclient',
    'srt-live-transmit',
    'redis-cli',
  ]) {
    writeProgram(name, '')
  }
  writeProgram('redis-server', 'echo Redis server v=7.0.15 sha=00000000:0')
  writeProgram('nginx', nginx('exit 0'), 'sbin')
  writePython()
}

/** An nginx that tests the configuration with the RTMP module, and nothing else, and ends as told. */
function nginx(end: string): string {
  return `[ "$*" = '-t -q -c ${join(clone, 'interop/nginx/rtmp-module.conf')}' ] || exit 2\n${end}`
}

/** A Python that makes an environment, whose Python notes that it installs. */
function writePython(): void {
  writeProgram('pip', `echo pip >> '${clone}/ran'`)
  writeProgram(
    'python3',
    `if [ "$2" = venv ]; then
       echo venv >> '${clone}/ran'; mkdir -p "$4/bin" && cp '${clone}/bin/pip' "$4/bin/python"
     fi`,
  )
}

/** A cargo that says its version and builds as told. */
function cargo(version: string, build: string): string {
  return `case "$1" in
    --version) echo cargo ${version} ;;
    *) echo cargo >> '${clone}/ran'
       ${build} ;;
  esac`
}

/** An npm that brings a compiler and a bundler, and ends as told. */
function npm(end: string): string {
  return [
    'echo npm >> ran',
    nodeProgram('node_modules/typescript/bin/tsc', 'tsc', 'dist/cli/main.js'),
    nodeProgram('node_modules/vite/bin/vite.js', 'vite', 'dist/console/index.html'),
    end,
  ].join('\n')
}

/** Shell lines that write a Node program, which notes that it ran and writes an empty product. */
function nodeProgram(path: string, name: string, product: string): string {
  return `mkdir -p ${dirname(path)} && cat > ${path} <<'END'
const fs = require('node:fs')
fs.appendFileSync('ran', '${name}\\n')
fs.mkdirSync('${dirname(product)}', { recursive: true })
fs.writeFileSync('${product}', '')
END`
}
