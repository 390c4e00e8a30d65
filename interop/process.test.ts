import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startDemoOrigin } from './harness/demo-origin.ts'
import { makeSample, publishByRtmp } from './harness/ffmpeg.ts'
import { type Gateway, gatewayProgram, startGateway } from './harness/gateway.ts'
import type { Program } from './harness/program.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'

const folder = temporaryFolder()
const sample = join(folder.path, 'sample.flv')

beforeAll(async () => {
  await makeSample(sample, 5)
})

afterAll(() => {
  folder[Symbol.dispose]()
})

test('sluice demo serves its page, is ready, and ends with 0 on SIGTERM', async () => {
  const gateway = await startGateway({ command: 'demo' })
  const page = await fetch(`${gateway.url}/`)
  expect(page.status).toBe(200)
  expect(page.headers.get('content-type')).toMatch(/^text\/html/)
  expect(await page.text()).toContain('<script')
  const status = async (path: string): Promise<number> =>
    (await fetch(`http://127.0.0.1:${gateway.ports.admin}${path}`)).status
  expect(await status('/healthz')).toBe(200)
  await until('the origin to be registered', async () => (await status('/readyz')) === 200)
  expect(await gateway.stop()).toEqual({ code: 0, signal: null })
})

test('SIGTERM refuses new sessions, lets a running one go on for the grace time, then cuts it', async () => {
  await using scene = await publishing({ graceSeconds: 5 })
  const { gateway, publisher } = scene
  const signalledMs = performance.now()
  const ended = gateway.stop()
  await gateway.program.line((line) => (line.includes('"draining"') ? line : undefined))
  const late = publishByRtmp(sample, `${gateway.rtmpUrl}/live/late`)
  await late.ended
  expect(publisher.isRunning).toBe(true)
  expect(await ended).toEqual({ code: 0, signal: null })
  expect(performance.now() - signalledMs).toBeGreaterThan(4_500)
  await publisher.ended
})

test('SIGTERM ends as soon as the last session does', async () => {
  await using scene = await publishing({ graceSeconds: 60 })
  const { gateway, publisher } = scene
  const ended = gateway.stop()
  await gateway.program.line((line) => (line.includes('"draining"') ? line : undefined))
  await publisher.stop()
  expect(await ended).toEqual({ code: 0, signal: null })
})

test('a second signal cuts at once', async () => {
  await using scene = await publishing({ graceSeconds: 60 })
  const { gateway, publisher } = scene
  gateway.program.kill('SIGTERM')
  await gateway.program.line((line) => (line.includes('"draining"') ? line : undefined))
  expect(publisher.isRunning).toBe(true)
  gateway.program.kill('SIGTERM')
  expect(await gateway.program.ended).toEqual({ code: 1, signal: null })
})

test('a port that is taken is one clear line and exit code 1', async () => {
  const tcp = createServer().listen(0, '127.0.0.1')
  const udp = createSocket('udp4').bind(0, '127.0.0.1')
  await Promise.all([once(tcp, 'listening'), once(udp, 'listening')])
  const takenTcp = `127.0.0.1:${(tcp.address() as AddressInfo).port}`
  const takenUdp = `127.0.0.1:${udp.address().port}`
  const cases: readonly (readonly [taken: string, config: Readonly<Record<string, unknown>>])[] = [
    [takenTcp, { media: { http: { listen: [takenTcp] } } }],
    [takenTcp, { media: { rtmp: { listen: [takenTcp] } } }],
    [takenUdp, { media: { webrtc: { listen: takenUdp } } }],
    [takenTcp, { registration: { listen: takenTcp } }],
    [takenTcp, { admin: { listen: takenTcp } }],
  ]
  for (const [taken, config] of cases) {
    const program = gatewayProgram(folder.path, { config })
    expect(await program.ended).toEqual({ code: 1, signal: null })
    const said = program.output.split('\n').filter((line) => !line.startsWith('{'))
    expect(said).toEqual([expect.stringMatching(/^sluice: /)])
    expect(said[0]).toContain(taken)
  }
  tcp.close()
  udp.close()
})

test('a configuration that is wrong is one clear line and exit code 1', async () => {
  const program = gatewayProgram(folder.path, { config: { balancer: { policy: 'best' } } })
  expect(await program.ended).toEqual({ code: 1, signal: null })
  expect(program.output).toMatch(/^sluice: .*balancer\.policy.*best.*$/m)
})

/** A gateway with an origin behind it and one stream that is published through it. */
async function publishing(shutdown: {
  readonly graceSeconds: number
}): Promise<AsyncDisposable & { readonly gateway: Gateway; readonly publisher: Program }> {
  const gateway = await startGateway({ config: { shutdown } })
  const origin = await startDemoOrigin(gateway.registrationUrl)
  const publisher = publishByRtmp(sample, `${gateway.rtmpUrl}/live/drained`)
  await until('the stream at the origin', async () => (await origin.streams()).includes('live/drained'))
  return {
    gateway,
    publisher,
    [Symbol.asyncDispose]: async () => {
      await publisher.stop()
      await origin[Symbol.asyncDispose]()
      await gateway.stop()
    },
  }
}
