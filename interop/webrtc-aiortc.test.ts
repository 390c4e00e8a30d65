import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startDemoOrigin } from './harness/demo-origin.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { startPionOrigin } from './harness/pion-origin.ts'
import { runProgram } from './harness/program.ts'
import { repository } from './harness/repository.ts'

/** What was received before enough was, and how the sessions ended. */
interface Report {
  readonly audio: number
  readonly video: number
  readonly deleted: readonly number[]
}

const frames = 20

describe.each([
  ['the demo origin', startDemoOrigin],
  ['a pion origin with full ICE', startPionOrigin],
] as const)('aiortc in front of %s', (_, startOrigin) => {
  let gateway: Gateway
  let origin: AsyncDisposable

  beforeAll(async () => {
    gateway = await startGateway()
    origin = await startOrigin(gateway.registrationUrl)
  }, 300_000)

  afterAll(async () => {
    await origin[Symbol.asyncDispose]()
    await gateway.stop()
  })

  test('publishes by WHIP, plays by WHEP, and deletes both', async () => {
    const output = await runProgram(join(repository, 'interop/turn/bin/python/bin/python'), [
      join(repository, 'interop/webrtc-aiortc/whip_whep.py'),
      ...['--whip', `${gateway.url}/rtc/v1/whip/?app=live&stream=py`],
      ...['--whep', `${gateway.url}/live/py/whep`, '--frames', `${frames}`],
    ])
    const report = JSON.parse(output) as Report
    expect(report.deleted).toEqual([200, 200])
    expect(Math.min(report.audio, report.video)).toBeGreaterThanOrEqual(frames)
  }, 90_000)
})
