import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { runProgram } from './harness/program.ts'
import { startSrsProxy } from './harness/srs-proxy.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'

/*
 * Profiles of the gateway as Go's own `go tool pprof` reads them, by URL and from files, while requests keep it at work.
 */

const folder = temporaryFolder()
let gateway: Gateway
let base = ''
const load = new AbortController()
let loading: Promise<void>

beforeAll(async () => {
  gateway = await startGateway({ config: { admin: { profiler: true } } })
  base = `http://127.0.0.1:${gateway.ports.admin}/debug/pprof`
  loading = askOnAndOn(`${gateway.url}/api/v1/versions`, load.signal)
})

afterAll(async () => {
  load.abort()
  await loading
  await gateway.stop()
  folder[Symbol.dispose]()
})

async function askOnAndOn(url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) await (await fetch(url)).arrayBuffer()
}

/** What `go tool pprof -top` says, with nothing kept in the home of whoever runs the test. */
function top(...args: readonly string[]): Promise<string> {
  return runProgram('go', ['tool', 'pprof', '-top', '-nodecount=200', ...args], {
    env: { PPROF_TMPDIR: folder.path },
    deadlineMs: 60_000,
  })
}

async function saved(name: string, path: string): Promise<string> {
  const response = await fetch(`${base}/${path}`)
  expect(response.status).toBe(200)
  const file = join(folder.path, name)
  writeFileSync(file, Buffer.from(await response.arrayBuffer()))
  return file
}

test('go tool pprof takes a CPU profile by URL and shows where time went', async () => {
  const said = await top(`${base}/profile?seconds=2`)
  expect(said).toMatch(/^Type: cpu$/m)
  expect(said).toMatch(/^Duration: 2/m)
  expect(said).toMatch(/ {2}http-edge\.#onRequest$/m)
}, 90_000)

test.each([
  ['heap', 'inuse_space', /MB|kB/],
  ['allocs?seconds=1', 'alloc_space', /MB|kB/],
  ['goroutine', 'goroutine', /TCPServerWrap/],
  ['threadcreate', 'threadcreate', /node/],
])(
  'go tool pprof takes %s by URL',
  async (path, type, shown) => {
    const said = await top(`${base}/${path}`)
    expect(said).toMatch(new RegExp(`^Type: ${type}$`, 'm'))
    expect(said).toMatch(shown)
  },
  90_000,
)

test('go tool pprof -base shows what one saved profile has over another', async () => {
  for (const path of ['heap', 'profile?seconds=1', 'allocs?seconds=1']) {
    const kind = path.replace(/\?.*/, '')
    const old = await saved(`${kind}-old.pb.gz`, path)
    const now = await saved(`${kind}-new.pb.gz`, path)
    // Against itself nothing is left: functions have the same identity in both.
    expect(await top('-base', old, old)).toMatch(/Showing nodes accounting for 0, 0%/)
    expect(await top('-base', old, now)).toMatch(/Showing nodes accounting for/)
    expect(await top('-diff_base', old, now)).toMatch(/Showing nodes accounting for/)
  }
}, 120_000)

test('GO_PPROF serves the same', async () => {
  await using proxy = await startSrsProxy({
    folder: folder.path,
    variables: { GO_PPROF: '127.0.0.1:0' },
    flags: ['--admin-token', 's3cret'],
  })
  const listen = await proxy.program.line((line) =>
    line.includes('"profiler"') ? /"listen":"([^"]+)"/.exec(line)?.[1] : undefined,
  )
  const said = await top(`http://${listen}/debug/pprof/profile?seconds=1`)
  expect(said).toMatch(/^Type: cpu$/m)
  const commandLine = await (await fetch(`http://${listen}/debug/pprof/cmdline`)).text()
  expect(commandLine).toContain('main.js')
  expect(commandLine).not.toContain('s3cret')
  expect(await (await fetch(`http://${listen}/json/list`)).text()).not.toContain('webSocketDebuggerUrl')
  proxy.program.kill('SIGUSR1')
  await proxy.program.line((line) => line.includes('SIGUSR1') || undefined)
  expect(await proxy.program.stop()).toEqual({ code: 0, signal: null })
  expect(proxy.program.output).not.toContain('Debugger listening')
}, 90_000)

test('profiles ask for the token of the admin API, and are not there unless they are configured', async () => {
  await using guarded = await startGateway({ config: { admin: { profiler: true, token: 's3cret' } } })
  await using without = await startGateway()
  const status = async (port: number): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}/debug/pprof/`)).status
  expect(await status(guarded.ports.admin)).toBe(401)
  expect(await status(without.ports.admin)).toBe(404)
}, 60_000)
