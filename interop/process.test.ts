import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeSample, publishByRtmp } from './harness/ffmpeg.ts'
import { gatewayProgram, startGateway } from './harness/gateway.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { total } from './harness/metrics.ts'

test('sluice demo serves its page, is ready, and ends with 0 on SIGTERM', async () => {
  const gateway = await startGateway({ command: 'demo' })
  const page = await fetch(`${gateway.url}/`)
  expect(page.status).toBe(200)
  expect(page.headers.get('content-type')).toMatch(/^text\/html/)
  expect(await page.text()).toContain('<script')
  for (const path of ['healthz', 'readyz']) {
    expect((await fetch(`http://127.0.0.1:${gateway.ports.admin}/${path}`)).status).toBe(200)
  }
  expect(await gateway.stop()).toEqual({ code: 0, signal: null })
})

test('SIGTERM refuses new connections, lets a session go on for the grace time, then cuts it', async () => {
  using folder = temporaryFolder()
  const sample = join(folder.path, 'sample.flv')
  await makeSample(sample, 5)
  const gateway = await startGateway({ command: 'demo', config: { shutdown: { graceSeconds: 3 } } })
  await using publisher = publishByRtmp(sample, `${gateway.rtmpUrl}/live/drained`)
  await until('a session', async () => total(await gateway.metrics(), 'sluice_sessions') > 0)

  const signalledMs = performance.now()
  const ended = gateway.stop()
  await until('new connections to be refused', async () => {
    try {
      await fetch(`${gateway.url}/`)
      return false
    } catch {
      return true
    }
  })
  expect(performance.now() - signalledMs).toBeLessThan(2_000)
  expect(publisher.isRunning).toBe(true)
  expect(await ended).toEqual({ code: 0, signal: null })
  expect(performance.now() - signalledMs).toBeGreaterThan(2_500)
})

test('a second signal cuts at once', async () => {
  using folder = temporaryFolder()
  const sample = join(folder.path, 'sample.flv')
  await makeSample(sample, 5)
  await using gateway = await startGateway({ command: 'demo', config: { shutdown: { graceSeconds: 60 } } })
  await using publisher = publishByRtmp(sample, `${gateway.rtmpUrl}/live/cut`)
  await until('a session', async () => total(await gateway.metrics(), 'sluice_sessions') > 0)
  gateway.program.kill('SIGTERM')
  await gateway.program.line((line) => (line.includes('"draining"') ? line : undefined))
  expect(publisher.isRunning).toBe(true)
  gateway.program.kill('SIGTERM')
  expect(await gateway.program.ended).toEqual({ code: 1, signal: null })
})

test('a port that is taken is one clear line and exit code 1', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  using folder = temporaryFolder()
  for (const media of [
    { http: { listen: [`127.0.0.1:${port}`] } },
    { rtmp: { listen: [`127.0.0.1:${port}`] } },
  ]) {
    const program = gatewayProgram(folder.path, { config: { media } })
    expect(await program.ended).toEqual({ code: 1, signal: null })
    expect(program.output).toMatch(new RegExp(`^sluice: .*127\\.0\\.0\\.1:${port}.*$`))
  }
  other.close()
})

test('a configuration that is wrong is one clear line and exit code 1', async () => {
  using folder = temporaryFolder()
  const program = gatewayProgram(folder.path, { config: { balancer: { policy: 'best' } } })
  expect(await program.ended).toEqual({ code: 1, signal: null })
  expect(program.output).toMatch(/^sluice: .*balancer\.policy.*best.*$/m)
})
