/**
 * Brings a clone to where `npm start` and `npm test` can run, and does nothing when it is there already:
 *
 *   node tools/prepare.mjs          npm packages, the native engine and dist
 *   node tools/prepare.mjs --test   and the programs that the suites in interop/ talk to
 *
 * Runs before anything is installed, so: plain JavaScript, built-ins only. Stamps say what was done,
 * each inside the folder that it speaks of, so that they vanish together, and each written last, so that
 * what was broken off is done again.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildNative } from './build-native.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const minimumNode = [20, 19]
const stampName = '.sluice-installed'

/**
 * Programs that tests need, the Debian packages that have it, the usual one first, and the oldest version that does; or a
 * run of it that ends well if all is there. A `service` is one that the package would start, which no test wants; one of a
 * program that was there already is left as it is.
 */
const peers = [
  { command: 'ffmpeg', packages: ['ffmpeg'] },
  { command: 'ffprobe', packages: ['ffmpeg'] },
  { command: 'ip', packages: ['iproute2'] },
  { command: 'chromium', packages: ['chromium'] },
  // Debian 12 has newer ones for its browsers, under another name.
  { command: 'cargo', packages: ['cargo', 'cargo-web'], version: { args: ['--version'], minimum: [1, 83] } },
  { command: 'go', packages: ['golang'], version: { args: ['version'], minimum: [1, 21] } },
  { command: 'turnutils_uclient', packages: ['coturn'], service: 'coturn.service' },
  { command: 'srt-live-transmit', packages: ['srt-tools'] },
  {
    command: 'nginx',
    packages: ['libnginx-mod-rtmp'],
    service: 'nginx.service',
    works: ['-t', '-q', '-c', join(root, 'interop/nginx/rtmp-module.conf')],
  },
  // Older ones have no ports for a Cluster to choose.
  {
    command: 'redis-server',
    packages: ['redis-server'],
    service: 'redis-server.service',
    version: { args: ['--version'], minimum: [7, 0] },
  },
  { command: 'redis-cli', packages: ['redis-tools'] },
]

/** What makes an environment with the Python packages of tests; Debian's python3 alone cannot. */
const pythonPeer = { command: 'python3', packages: ['python3-venv'], works: ['-c', 'import ensurepip, venv'] }
const pythonFolder = join(root, 'interop/turn/bin/python')
const pythonRequirements = join(root, 'interop/turn/aioice/requirements.txt')

// Where Debian has nginx, and users have not.
process.env.PATH = [process.env.PATH ?? '', '/usr/sbin'].join(delimiter)

try {
  checkNode()
  const packages = installPackages()
  // First: the engine's tests want its compiler.
  if (process.argv.includes('--test')) {
    const hasPython = pythonStamp() === readIfThere(join(pythonFolder, stampName))
    installPeers(hasPython ? peers : [...peers, pythonPeer])
    if (!hasPython) installPython()
  }
  buildNative((text) => process.stdout.write(text.replace(/^native/, 'prepare: native')))
  build(packages)
} catch (error) {
  process.stderr.write(`prepare: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}

function checkNode() {
  if (isOlder(process.versions.node, minimumNode)) {
    throw new Error(`Node ${minimumNode.join('.')} or newer is needed, this is ${process.versions.node}`)
  }
}

/** Runs `npm ci` unless the stamp in node_modules says that it ran for just this. Gives the stamp. */
function installPackages() {
  // The rest of package.json, such as scripts, changes nothing of what is installed.
  const { dependencies, devDependencies, optionalDependencies, overrides, allowScripts } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  )
  const hash = createHash('sha256')
  hash.update(JSON.stringify([dependencies, devDependencies, optionalDependencies, overrides, allowScripts]))
  hash.update(readFileSync(join(root, 'package-lock.json')))
  // Packages with binaries are chosen by these.
  hash.update(`${process.versions.node.split('.')[0]} ${process.platform} ${process.arch}`)
  const wanted = hash.digest('hex')
  const stamp = join(root, 'node_modules', stampName)
  // npm writes the hidden lock at the end of an install.
  if (readIfThere(stamp) === wanted && existsSync(join(root, 'node_modules/.package-lock.json')))
    return wanted
  rmSync(stamp, { force: true })
  // The only script of an install is the one that builds the native engine, which comes next and says so.
  const options = ['--ignore-scripts', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  run('npm packages', 'npm', ['ci', ...options])
  writeFileSync(stamp, wanted)
  return wanted
}

/** Builds dist unless the stamp in it says that it was built from just these sources and packages. */
function build(packages) {
  const files = [
    ...listFiles('src').filter((name) => !/\.(test|bench|testkit)\.ts$/.test(name)),
    ...listFiles('console'),
    ...readdirSync(root).filter((name) => /^tsconfig.*\.json$/.test(name)),
  ].sort()
  const hash = createHash('sha256').update(packages)
  for (const name of files) {
    const { mtimeMs, size } = statSync(join(root, name))
    hash.update(`${name} ${mtimeMs} ${size}\n`)
  }
  const wanted = hash.digest('hex')
  const stamp = join(root, 'dist/.sluice-built')
  const products = ['dist/cli/main.js', 'dist/console/index.html']
  const [built, ...builtFrom] = readIfThere(stamp)?.split('\n') ?? []
  if (built === wanted && products.every((name) => existsSync(join(root, name)))) return
  rmSync(stamp, { force: true })
  // The compiler leaves the output of a source that is gone.
  const present = new Set(files)
  if (builtFrom.some((name) => !present.has(name))) rmSync(join(root, 'dist'), { recursive: true })
  run('dist', process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', 'tsconfig.build.json'])
  run('dist/console', process.execPath, [
    join(root, 'node_modules/vite/bin/vite.js'),
    ...['build', 'console', '--config', 'console/vite.config.ts', '--logLevel', 'warn'],
  ])
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, [wanted, ...files].join('\n'))
}

/** Installs the peers that are missing or too old with apt, where there is apt; else says what to install. */
function installPeers(wanted) {
  const missing = () => wanted.filter((peer) => problemWith(peer) !== undefined)
  for (let choice = 0; missing().some(({ packages }) => packages[choice] !== undefined); choice++) {
    const chosen = missing().filter(({ packages }) => packages[choice] !== undefined)
    installDebianPackages(
      chosen.map(({ packages }) => packages[choice]),
      chosen.flatMap(({ command, service }) => (isOnPath(command) ? [] : (service ?? []))),
    )
  }
  const problems = missing().map(problemWith)
  if (problems.length > 0) throw new Error(`apt-get was not enough for the tests: ${problems.join('; ')}`)
}

function installDebianPackages(names, services) {
  const packages = [...new Set(names)]
  const isRoot = process.getuid?.() === 0
  if (!isOnPath('apt-get') || (!isRoot && !isOnPath('sudo'))) {
    const how = isOnPath('apt-get') ? 'neither root nor sudo is there to' : 'this system has no apt-get to'
    throw new Error(`the tests need ${packages.join(', ')}; ${how} install them, please do so yourself`)
  }
  // Debian's packages start what they bring; systemd starts nothing that is masked.
  if (services.length > 0 && isOnPath('systemctl')) {
    const [command, ...before] = isRoot ? ['systemctl'] : ['sudo', 'systemctl']
    run(`masking ${services.join(', ')}`, command, [...before, 'mask', ...services])
  }
  // Where another apt-get is at work, it is waited for.
  const aptGet = ['apt-get', '-o', 'DPkg::Lock::Timeout=300']
  const [command, ...before] = isRoot ? aptGet : ['sudo', 'DEBIAN_FRONTEND=noninteractive', ...aptGet]
  run('apt-get update', command, [...before, 'update', '-q'])
  run(`Debian packages ${packages.join(', ')}`, command, [
    ...before,
    ...['install', '-q', '-y', '--no-install-recommends', ...packages],
  ])
}

/** Makes an environment of its own for them; what was there goes. */
function installPython() {
  run('Python environment', 'python3', ['-m', 'venv', '--clear', pythonFolder])
  run('Python packages', join(pythonFolder, 'bin/python'), [
    ...['-m', 'pip', 'install', '--quiet', '--no-input', '--disable-pip-version-check'],
    ...['--requirement', pythonRequirements],
  ])
  writeFileSync(join(pythonFolder, stampName), pythonStamp())
}

/** Of the packages, and of the Python that the environment leads to; it is of no use with another one. */
function pythonStamp() {
  const program = join(pythonFolder, 'bin/python')
  const hash = createHash('sha256').update(readFileSync(pythonRequirements))
  return hash.update(existsSync(program) ? realpathSync(program) : '').digest('hex')
}

function problemWith({ command, version, works }) {
  if (!isOnPath(command)) return `${command} is not on the PATH`
  if (works !== undefined && spawnSync(command, works).status !== 0)
    return `${command} ${works.join(' ')} fails`
  if (version === undefined) return undefined
  const text = spawnSync(command, version.args, { encoding: 'utf8' }).stdout ?? ''
  const found = /\d+(\.\d+)+/.exec(text)?.[0] ?? '0'
  if (!isOlder(found, version.minimum)) return undefined
  return `${command} is ${found}, but ${version.minimum.join('.')} or newer is needed`
}

/** Runs a command and prints one line: what it brings and how long it took. Its output is shown if it fails. */
function run(what, command, args) {
  const startMs = performance.now()
  process.stdout.write(`prepare: ${what} ... `)
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    maxBuffer: 64 * 1024 * 1024,
    shell: process.platform === 'win32' && command === 'npm',
    stdio: ['inherit', 'pipe', 'pipe'],
  })
  if (result.status === 0) {
    process.stdout.write(`${((performance.now() - startMs) / 1000).toFixed(1)} s\n`)
    return
  }
  process.stdout.write('failed\n')
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`)
  const why = result.error?.message ?? `ended with ${result.signal ?? `code ${result.status}`}`
  throw new Error(`${[command, ...args].join(' ')}: ${why}`)
}

function listFiles(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
}

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}

function isOnPath(command) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function isOlder(version, minimum) {
  const parts = version.split('.').map(Number)
  for (const [index, least] of minimum.entries()) {
    const part = parts[index] ?? 0
    if (part !== least) return part < least
  }
  return false
}
