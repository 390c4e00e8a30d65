import { readFileSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Program } from './harness/program.ts'
import { repository } from './harness/repository.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { LocalServices } from './tunnel/local-services.ts'
import { echoTcp, echoUdp } from './tunnel/probes.ts'
import { freePorts } from '../src/foundation/free-port.testkit.ts'

const main = join(repository, 'dist/cli/main.js')

let services: LocalServices
let folder: Disposable & { readonly path: string }

beforeAll(async () => {
  services = await LocalServices.start()
  folder = temporaryFolder()
})

afterAll(async () => {
  folder[Symbol.dispose]()
  await services[Symbol.asyncDispose]()
})

/** Without any environment variable, and from a directory that is nobody's. */
function sluice(...args: string[]): Program {
  return new Program('/usr/bin/env', ['-i', process.execPath, main, ...args], { cwd: '/' })
}

/** A command that ends by itself: its exit code and all that it said. */
async function ran(...args: string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  const program = sluice(...args)
  const timer = setTimeout(() => program.kill('SIGKILL'), 30_000)
  const { code } = await program.ended
  clearTimeout(timer)
  return { code, output: program.output }
}

function fileOf(name: string, text: string): string {
  const file = join(folder.path, name)
  writeFileSync(file, text)
  return file
}

async function said(program: Program, text: string): Promise<void> {
  await program.line((line) => line.includes(text) || undefined, 30_000)
}

describe('frps and frpc in an empty environment, from any directory', () => {
  test('serve what files without extension say, tell their state, reload and stop', async () => {
    const [bindPort = 0, admin = 0, first = 0, second = 0] = await freePorts(4)
    const server = fileOf('frps', `bindAddr = "127.0.0.1"\nbindPort = ${bindPort}\nauth.token = "t"\n`)
    const client = (proxy: string, remotePort: number): string => `
serverAddr = "127.0.0.1"
serverPort = ${bindPort}
auth.token = "t"
webServer.port = ${admin}
webServer.user = "me"
webServer.password = "mine"

[[proxies]]
name = "${proxy}"
type = "tcp"
localPort = ${services.echo}
remotePort = ${remotePort}
`
    const file = fileOf('frpc', client('one', first))
    expect(await ran('frps', 'verify', '-c', server)).toEqual({
      code: 0,
      output: `frps: the configuration file ${server} syntax is ok`,
    })
    expect(await ran('frpc', 'verify', '-c', file)).toEqual({
      code: 0,
      output: `frpc: the configuration file ${file} syntax is ok`,
    })

    await using frps = sluice('frps', '-c', server)
    await said(frps, 'frps started successfully')
    await using frpc = sluice('frpc', '-c', file)
    await said(frpc, '[one] start proxy success')
    await echoTcp(first, 1000)

    const status = await ran('frpc', 'status', '-c', file)
    expect(status.code).toBe(0)
    expect(status.output).toMatch(
      /Proxy Status\.\.\.\nTCP\nName +Status +LocalAddr +Plugin +RemoteAddr +Error\n/,
    )
    expect(status.output).toMatch(
      new RegExp(`one +running +127\\.0\\.0\\.1:${services.echo} .*127\\.0\\.0\\.1:${first}`),
    )

    writeFileSync(file, client('two', second))
    expect(await ran('frpc', 'reload', '-c', file)).toEqual({ code: 0, output: 'reload success' })
    await said(frpc, '[two] start proxy success')
    await echoTcp(second, 1000)

    writeFileSync(file, client('two', second).replace('remotePort', 'remotePrt'))
    const wrong = await ran('frpc', 'reload', '-c', file)
    expect(wrong.code).toBe(1)
    await echoTcp(second, 1000)

    writeFileSync(file, client('two', second))
    expect(await ran('frpc', 'stop', '-c', file)).toEqual({ code: 0, output: 'stop success' })
    expect(await frpc.ended).toEqual({ code: 0, signal: null })
    await until('the port is free', () => isFree(second))
  }, 120_000)

  test('an INI file with a template makes a proxy of each port of a range', async () => {
    const [bindPort = 0, a = 0, b = 0, c = 0] = await freePorts(4)
    const server = fileOf('frps.ini', `[common]\nbind_addr = 127.0.0.1\nbind_port = ${bindPort}\ntoken = t\n`)
    const file = fileOf(
      'ranges',
      `[common]
server_addr = 127.0.0.1
server_port = ${bindPort}
token = t

{{- range $_, $v := parseNumberRangePair "${services.echo},${services.echo}" "${a},${b}" }}
[tcp-{{ $v.Second }}]
type = tcp
local_port = {{ $v.First }}
remote_port = {{ $v.Second }}
{{- end }}

[range:udp]
type = udp
local_port = ${services.udp}
remote_port = ${c}
`,
    )
    await using frps = sluice('frps', '-c', server)
    await said(frps, 'frps started successfully')
    await using frpc = sluice('frpc', '-c', file)
    for (const name of [`tcp-${a}`, `tcp-${b}`, 'udp_0']) await said(frpc, `[${name}] start proxy success`)
    for (const port of [a, b]) await echoTcp(port, 1000)
    await echoUdp(c, [100])
  }, 60_000)

  test('flags alone are enough for both', async () => {
    const [bindPort = 0, remotePort = 0] = await freePorts(2)
    await using frps = sluice('frps', '--bind_addr', '127.0.0.1', '-p', String(bindPort), '-t', 'flagged')
    await said(frps, 'frps started successfully')
    const common = ['-s', '127.0.0.1', '-P', String(bindPort), '-t', 'flagged']
    await using frpc = sluice(
      'frpc',
      'tcp',
      ...common,
      '-n',
      'inline',
      '-l',
      String(services.echo),
      '--remote_port',
      String(remotePort),
      '--ue',
      '--uc',
    )
    await said(frpc, '[inline] start proxy success')
    await echoTcp(remotePort, 1000)
    await using owner = sluice(
      'frpc',
      'stcp',
      ...common,
      '-n',
      'hidden',
      '-l',
      String(services.echo),
      '--sk',
      'k',
    )
    await said(owner, '[hidden] start proxy success')
    const [visited = 0] = await freePorts(1)
    await using _visitor = sluice(
      'frpc',
      'stcp',
      'visitor',
      ...common,
      '-n',
      'v',
      '--server-name',
      'hidden',
      '--sk',
      'k',
      '--bind_port',
      String(visited),
    )
    await until('visited', async () => {
      await echoTcp(visited, 1000)
      return true
    })
  }, 60_000)
})

test('one SIGKILL of its pid ends all that a program is', async () => {
  const [bindPort = 0, remotePort = 0] = await freePorts(2)
  // Without `env`, so that the pid is its own.
  const start = (...args: string[]): Program => new Program(process.execPath, [main, ...args], { cwd: '/' })
  await using frps = start('frps', '--bind_addr', '127.0.0.1', '-p', String(bindPort))
  await said(frps, 'frps started successfully')
  await using frpc = start(
    'frpc',
    'tcp',
    '-s',
    '127.0.0.1',
    '-P',
    String(bindPort),
    '-n',
    'x',
    '-l',
    String(services.echo),
    '-r',
    String(remotePort),
  )
  await said(frpc, 'start proxy success')
  const user = connect(remotePort, '127.0.0.1')
  user.on('error', () => undefined)
  user.write('x')
  await once(user, 'data')
  for (const program of [frps, frpc]) {
    expect(readFileSync(`/proc/${program.pid}/task/${program.pid}/children`, 'utf8')).toBe('')
    program.kill('SIGKILL')
    expect(await program.ended).toEqual({ code: null, signal: 'SIGKILL' })
  }
  await until('the user is let go', () => user.closed)
  for (const port of [bindPort, remotePort]) expect(await isFree(port)).toBe(true)
}, 60_000)

describe('what goes wrong is a line on standard output and exit code 1', () => {
  const cases: [what: string, args: () => string[], words: RegExp][] = [
    ['a file that is not there', () => ['frps', '-c', join(folder.path, 'nowhere')], /nowhere/],
    ['a file of frpc that is not there', () => ['frpc', '-c', join(folder.path, 'nowhere')], /nowhere/],
    [
      'a key that is not known, with its line',
      () => ['frpc', 'verify', '-c', fileOf('unknown.toml', 'serverPort = 7000\nserverAdr = "x"\n')],
      /unknown\.toml.*2.*serverAdr/s,
    ],
    [
      'a name twice',
      () => {
        const proxy = '[[proxies]]\nname = "x"\ntype = "tcp"\nlocalPort = 1\nremotePort = 2\n'
        return ['frpc', 'verify', '-c', fileOf('twice.toml', proxy + proxy)]
      },
      /proxy name \[x\] is duplicated/,
    ],
    [
      'a template that is none',
      () => ['frpc', 'verify', '-c', fileOf('template.toml', 'user = "{{ .Envs.X | printf }}"\n')],
      /template\.toml/,
    ],
    [
      'an API that is not configured',
      () => ['frpc', 'status', '-c', fileOf('noapi.toml', 'serverPort = 7000\n')],
      /web server port/,
    ],
    [
      'an API that is not there',
      () => ['frpc', 'reload', '-c', fileOf('deadapi.toml', 'webServer.port = 1\n')],
      /ECONNREFUSED|refused/,
    ],
    [
      'a server that cannot be reached',
      () => ['frpc', '-c', fileOf('alone.toml', 'serverAddr = "127.0.0.1"\nserverPort = 1\n')],
      /login to the server failed/,
    ],
    ['hole punching', () => ['frpc', 'nathole', 'discover'], /not supported/],
  ]

  test.each(cases)('%s', async (_what, args, words) => {
    const { code, output } = await ran(...args())
    expect(output).toMatch(words)
    expect(code).toBe(1)
    // A bug would show its stack.
    expect(output).not.toMatch(/^ +at /m)
  })

  test('a port that is taken', async () => {
    const { code, output } = await ran('frps', '--bind_addr', '127.0.0.1', '-p', String(services.echo))
    expect(output).toMatch(new RegExp(`${services.echo} is taken`))
    expect(code).toBe(1)
  })

  test('unknown keys are let through where that is asked for', async () => {
    const file = fileOf('lenient.toml', 'serverAdr = "x"\n')
    expect((await ran('frpc', 'verify', '-c', file, '--strict_config=false')).code).toBe(0)
  })

  test.each(['frps', 'frpc'])('%s tells the version of frp', async (program) => {
    expect(await ran(program, '-v')).toEqual({ code: 0, output: '0.70.1' })
  })
})

async function isFree(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return false
  } catch {
    return true
  } finally {
    socket.destroy()
  }
}
