import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startDemoOrigin } from './harness/demo-origin.ts'
import { hashPackets, makeSample, probeCodecs, publishByRtmp } from './harness/ffmpeg.ts'
import { Program, runProgram } from './harness/program.ts'
import { repository } from './harness/repository.ts'
import { srsProxyProgram, type SrsProxyProcess, startSrsProxy } from './harness/srs-proxy.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { startRedis } from './redis/redis-process.ts'

/*
 * `sluice srs-proxy` as a process, where the SRS proxy was: the same variables, ports, `.env` and exit codes. The origin registers
 * as SRS does.
 */

const folder = temporaryFolder()
const sample = join(folder.path, 'sample.flv')

beforeAll(async () => {
  await makeSample(sample, 5)
})

afterAll(() => {
  folder[Symbol.dispose]()
})

function folderOf(name: string, dotEnv?: string): string {
  const path = join(folder.path, name)
  mkdirSync(path)
  if (dotEnv !== undefined) writeFileSync(join(path, '.env'), dotEnv)
  return path
}

describe('media', () => {
  let proxy: SrsProxyProcess
  let origin: Awaited<ReturnType<typeof startDemoOrigin>>

  beforeAll(async () => {
    proxy = await startSrsProxy({ folder: folderOf('media') })
    origin = await startDemoOrigin(proxy.registrationUrl)
  })

  afterAll(async () => {
    await origin[Symbol.asyncDispose]()
    await proxy[Symbol.asyncDispose]()
  })

  test('what ffmpeg publishes by RTMP it plays by RTMP and by HTTP-FLV, to the byte', async () => {
    await using publisher = publishByRtmp(sample, `rtmp://127.0.0.1:${proxy.rtmp}/live/flow?token=x`)
    await until('the stream at the origin', async () => (await origin.streams()).includes('live/flow'))
    const sent = new Set((await hashPackets(sample)).video)
    const urls = [
      `rtmp://127.0.0.1:${proxy.rtmp}/live/flow`,
      `http://127.0.0.1:${proxy.http}/live/flow.flv`,
      `http://127.0.0.1:${proxy.api}/live/flow.flv`,
    ]
    for (const url of urls) {
      expect(await probeCodecs(url)).toEqual({ video: 'h264', audio: 'aac' })
      const { video } = await hashPackets(url, 1)
      expect(video.length).toBeGreaterThan(10)
      expect(video.filter((hash) => !sent.has(hash))).toEqual([])
    }
    expect(publisher.isRunning).toBe(true)
  }, 120_000)

  test('aiortc publishes by WHIP, plays by WHEP and deletes both', async () => {
    const output = await runProgram(join(repository, 'interop/turn/bin/python/bin/python'), [
      join(repository, 'interop/webrtc-aiortc/whip_whep.py'),
      ...['--whip', `http://127.0.0.1:${proxy.api}/rtc/v1/whip/?app=live&stream=rtc`],
      ...['--whep', `http://127.0.0.1:${proxy.api}/rtc/v1/whep/?app=live&stream=rtc`, '--frames', '20'],
    ])
    const report = JSON.parse(output) as { audio: number; video: number; deleted: number[] }
    expect(report.deleted).toEqual([200, 200])
    expect(Math.min(report.audio, report.video)).toBeGreaterThanOrEqual(20)
  }, 120_000)

  test('each of its HTTP ports tells the version in the words that SRS has there', async () => {
    const versions = async (port: number): Promise<unknown> =>
      (await fetch(`http://127.0.0.1:${port}/api/v1/versions`)).json()
    const data = { major: expect.any(Number), minor: expect.any(Number), revision: expect.any(Number) }
    expect(await versions(proxy.http)).toMatchObject({ code: 0, pid: `${proxy.program.pid}`, data })
    for (const port of [proxy.api, proxy.system]) {
      expect(await versions(port)).toMatchObject({ signature: 'Sluice', version: expect.any(String) })
    }
  })

  test('takes both families where only a port is said', async () => {
    for (const host of ['127.0.0.1', '[::1]']) {
      for (const port of [proxy.http, proxy.api, proxy.system]) {
        expect((await fetch(`http://${host}:${port}/api/v1/versions`)).status).toBe(200)
      }
      const socket = connect(proxy.rtmp, host.replace(/[[\]]/g, ''))
      await once(socket, 'connect')
      socket.destroy()
    }
  })

  test('pages that are not there are a warning and 404', async () => {
    expect((await fetch(`http://127.0.0.1:${proxy.http}/`)).status).toBe(404)
    await proxy.program.line((line) => line.includes('no such directory of pages') || undefined)
  })

  test('what registers wrongly is told so in one JSON body', async () => {
    const response = await fetch(proxy.registrationUrl, { method: 'POST', body: '{"ip":"127.0.0.1"}' })
    expect(response.status).toBeGreaterThanOrEqual(400)
    const body = (await response.json()) as { readonly code: number; readonly pid: string }
    expect(body.code).not.toBe(0)
    expect(body.pid).toBe(`${proxy.program.pid}`)
  })
})

describe('settings', () => {
  test('come from .env, over which the process has its way, and pages from the directory that is named', async () => {
    const home = folderOf(
      'dot-env',
      [
        "export PROXY_STATIC_FILES='./www' # pages",
        'GO_PPROF=127.0.0.1:0',
        'PROXY_RTMP_SERVER=1',
        'SLUICE_ADMIN_TOKEN="s3cret token"',
      ].join('\n'),
    )
    mkdirSync(join(home, 'www'))
    writeFileSync(join(home, 'www/index.html'), '<p>pages')
    await using proxy = await startSrsProxy({ folder: home })
    expect(await (await fetch(`http://127.0.0.1:${proxy.http}/`)).text()).toBe('<p>pages')
    const socket = connect(proxy.rtmp, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
    const metrics = (authorization: string) =>
      fetch(`http://127.0.0.1:${proxy.admin}/metrics`, { headers: { authorization } })
    expect((await metrics('')).status).toBe(401)
    const profiler = await proxy.program.line((line) =>
      line.includes('"profiler"') ? /"listen":"([^"]+)"/.exec(line)?.[1] : undefined,
    )
    expect(await (await fetch(`http://${profiler}/debug/pprof/`)).text()).toContain('/debug/pprof/')
    await proxy.program.stop()
    expect(proxy.program.output).not.toContain('s3cret')
  }, 60_000)

  test('the file that --print-config prints is good, and does the same', async () => {
    const home = folderOf('printed')
    const printed = await runProgram(
      process.execPath,
      [join(repository, 'dist/cli/main.js'), 'srs-proxy', '--print-config', '--admin', '127.0.0.1:0'],
      { cwd: home, env: portsOnly() },
    )
    writeFileSync(join(home, 'sluice.toml'), printed)
    const main = join(repository, 'dist/cli/main.js')
    expect(await runProgram(process.execPath, [main, 'check'], { cwd: home })).toMatch(/good$/)
    await using run = new Program(process.execPath, [main, 'run'], { cwd: home })
    const ready = await run.line((line) =>
      line.includes('"gateway ready"') ? (JSON.parse(line) as Record<string, string>) : undefined,
    )
    const port = (text = ''): string => text.slice(text.lastIndexOf(':') + 1)
    const registration = `http://127.0.0.1:${port(ready['registration'])}/api/v1/srs/register`
    await using origin = await startDemoOrigin(registration)
    await using _ = publishByRtmp(sample, `rtmp://127.0.0.1:${port(ready['rtmp']?.[0])}/live/printed`)
    await until('the stream at the origin', async () => (await origin.streams()).includes('live/printed'))
  }, 120_000)
})

describe('the default backend', () => {
  test('is an origin that has not registered, and stays one beyond the time to live', async () => {
    // It registers where nobody listens.
    await using origin = await startDemoOrigin('http://127.0.0.1:1/')
    await using proxy = await startSrsProxy({
      folder: folder.path,
      variables: {
        PROXY_DEFAULT_BACKEND_ENABLED: 'on',
        PROXY_DEFAULT_BACKEND_RTMP: `${origin.rtmpPort}`,
        PROXY_DEFAULT_BACKEND_HTTP: `${origin.httpPort}`,
        PROXY_ORIGIN_SERVER_TTL: '3s',
      },
    })
    const startedMs = Date.now()
    const seen = async (): Promise<{ readonly state: string; readonly heardMs: number } | undefined> => {
      const response = await fetch(`http://127.0.0.1:${proxy.admin}/api/v1/origins`)
      const { origins } = (await response.json()) as {
        readonly origins: readonly { readonly state: string; readonly lastHeartbeat: string }[]
      }
      return origins.map(({ state, lastHeartbeat }) => ({ state, heardMs: Date.parse(lastHeartbeat) }))[0]
    }
    await until('a heartbeat after the time to live', async () => {
      const { heardMs = 0 } = (await seen()) ?? {}
      return heardMs > startedMs + 3000
    })
    expect(await seen()).toMatchObject({ state: 'healthy' })
    await using _ = publishByRtmp(sample, `rtmp://127.0.0.1:${proxy.rtmp}/live/default`)
    await until('the stream at the origin', async () => (await origin.streams()).includes('live/default'))
    const { video } = await hashPackets(`http://127.0.0.1:${proxy.http}/live/default.flv`, 1)
    expect(video.length).toBeGreaterThan(10)
  }, 120_000)
})

describe('the end', () => {
  test('is 0 on SIGTERM and on SIGINT when nobody is there', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      await using proxy = await startSrsProxy({ folder: folder.path })
      proxy.program.kill(signal)
      expect(await proxy.program.ended).toEqual({ code: 0, signal: null })
    }
  }, 60_000)

  test('waits for sessions for the grace time, then cuts them and is 0', async () => {
    await using scene = await publishing({ PROXY_GRACE_QUIT_TIMEOUT: '1500ms' })
    const { proxy, publisher } = scene
    const signalledMs = performance.now()
    proxy.program.kill('SIGTERM')
    await proxy.program.line((line) => line.includes('"draining"') || undefined)
    expect(publisher.isRunning).toBe(true)
    expect(await proxy.program.ended).toEqual({ code: 0, signal: null })
    expect(performance.now() - signalledMs).toBeGreaterThan(1_400)
  }, 120_000)

  test('is 1 by force when a viewer does not go and the grace time is longer', async () => {
    await using scene = await publishing({
      PROXY_GRACE_QUIT_TIMEOUT: '1h',
      PROXY_FORCE_QUIT_TIMEOUT: '1500ms',
    })
    const { proxy } = scene
    const url = `http://127.0.0.1:${proxy.http}/live/ending.flv`
    await using viewer = new Program('ffmpeg', [
      ...['-hide_banner', '-nostdin', '-loglevel', 'info', '-i', url, '-c', 'copy', '-f', 'null', '-'],
    ])
    await viewer.line((line) => line.includes('Output #0') || undefined)
    const signalledMs = performance.now()
    proxy.program.kill('SIGTERM')
    expect(await proxy.program.ended).toEqual({ code: 1, signal: null })
    expect(performance.now() - signalledMs).toBeGreaterThan(1_400)
    expect(proxy.program.output).toContain('draining took too long')
  }, 120_000)

  test('is at once, and 1, on a second signal', async () => {
    await using scene = await publishing({ PROXY_GRACE_QUIT_TIMEOUT: '1h', PROXY_FORCE_QUIT_TIMEOUT: '1h' })
    const { program } = scene.proxy
    program.kill('SIGINT')
    await program.line((line) => line.includes('"draining"') || undefined)
    program.kill('SIGINT')
    expect(await program.ended).toEqual({ code: 1, signal: null })
  }, 120_000)
})

test('two proxies on one Redis are one: what registers and is published at the first plays at the second', async () => {
  await using redis = await startRedis({ password: 'secret' })
  const variables = {
    PROXY_LOAD_BALANCER_TYPE: 'redis',
    PROXY_REDIS_PORT: `${redis.port}`,
    PROXY_REDIS_PASSWORD: 'secret',
    PROXY_REDIS_KEY_PREFIX: 'live',
  }
  await using first = await startSrsProxy({ folder: folder.path, variables })
  await using second = await startSrsProxy({ folder: folder.path, variables })
  await using origin = await startDemoOrigin(first.registrationUrl)
  await using publisher = publishByRtmp(sample, `rtmp://127.0.0.1:${first.rtmp}/live/shared`)
  await until('the stream at the origin', async () => (await origin.streams()).includes('live/shared'))
  const codecs = await until('the stream at the second', () =>
    probeCodecs(`http://127.0.0.1:${second.http}/live/shared.flv`),
  )
  expect(codecs).toEqual({ video: 'h264', audio: 'aac' })
  expect(publisher.isRunning).toBe(true)
  const list = String(await redis.command('GET', 'live:srs-proxy-all-servers'))
  expect(JSON.parse(list)).toEqual([expect.stringMatching(/^live:srs-proxy-server:/)])
}, 120_000)

describe('what cannot start', () => {
  test('says why in one line and ends with 255', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const port = `127.0.0.1:${(taken.address() as AddressInfo).port}`
    const cases: readonly (readonly [
      variables: Readonly<Record<string, string>>,
      flags: readonly string[],
      why: string,
    ])[] = [
      ...['RTMP_SERVER', 'HTTP_SERVER', 'HTTP_API', 'SYSTEM_API'].map(
        (name) => [{ [`PROXY_${name}`]: port }, [], port] as const,
      ),
      [{ GO_PPROF: port }, [], port],
      [{}, ['--admin', port], port],
      [{ PROXY_RTMP_SERVER: 'here' }, [], 'PROXY_RTMP_SERVER=here'],
      [{ PROXY_ORIGIN_SERVER_TTL: '0' }, [], 'PROXY_ORIGIN_SERVER_TTL=0'],
      [{ PROXY_LOAD_BALANCER_TYPE: 'etcd' }, [], 'PROXY_LOAD_BALANCER_TYPE=etcd'],
      [{ PROXY_LOAD_BALANCER_TYPE: 'redis', PROXY_REDIS_PORT: '0' }, [], 'PROXY_REDIS_PORT=0'],
      [{}, ['--admin', 'here'], 'admin.listen = "here"'],
      [{}, ['--register-allow', 'here'], 'registration.allow'],
      [{}, ['--nothing'], '--nothing'],
      [{}, ['--log', 'loud'], 'loud'],
    ]
    for (const [variables, flags, why] of cases) {
      const program = srsProxyProgram(folder.path, {
        variables: { ...portsOnly(), ...variables },
        flags: ['--admin', '127.0.0.1:0', ...flags],
      })
      expect({ why, ...(await program.ended) }).toEqual({ why, code: 255, signal: null })
      const said = program.output.split('\n').filter((line) => !line.startsWith('{'))
      expect(said).toEqual([expect.stringContaining(why)])
    }
    taken.close()
  }, 120_000)

  test('is one whose .env cannot be read', async () => {
    const home = folderOf('no-file')
    mkdirSync(join(home, '.env'))
    const program = srsProxyProgram(home, { variables: portsOnly() })
    expect(await program.ended).toEqual({ code: 255, signal: null })
    expect(program.output).toContain('SRS_PROXY_UNREADABLE_ENV')
  }, 60_000)
})

/** Every listener at a free port of 127.0.0.1. */
function portsOnly(): Record<string, string> {
  const names = ['RTMP_SERVER', 'HTTP_SERVER', 'HTTP_API', 'WEBRTC_SERVER', 'SRT_SERVER', 'SYSTEM_API']
  return Object.fromEntries(names.map((name) => [`PROXY_${name}`, '127.0.0.1:0']))
}

/** A proxy with an origin behind it and one stream that is published through it. */
async function publishing(
  variables: Readonly<Record<string, string>>,
): Promise<AsyncDisposable & { readonly proxy: SrsProxyProcess; readonly publisher: Program }> {
  const proxy = await startSrsProxy({ folder: folder.path, variables })
  const origin = await startDemoOrigin(proxy.registrationUrl)
  const publisher = publishByRtmp(sample, `rtmp://127.0.0.1:${proxy.rtmp}/live/ending`)
  await until('the stream at the origin', async () => (await origin.streams()).includes('live/ending'))
  return {
    proxy,
    publisher,
    [Symbol.asyncDispose]: async () => {
      await publisher.stop()
      await origin[Symbol.asyncDispose]()
      await proxy.program.stop(1000)
    },
  }
}
