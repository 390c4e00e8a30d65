import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DemoOriginProcess, startDemoOrigin } from './harness/demo-origin.ts'
import { hashPackets, makeSample, type PacketHashes, probeCodecs, publishByRtmp } from './harness/ffmpeg.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import type { Program } from './harness/program.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'

describe('a stream that ffmpeg publishes by RTMP', () => {
  const folder = temporaryFolder()
  let gateway: Gateway
  let origin: DemoOriginProcess
  let publisher: Program
  let sent: PacketHashes

  beforeAll(async () => {
    const sample = join(folder.path, 'sample.flv')
    await makeSample(sample, 20)
    sent = await hashPackets(sample)
    gateway = await startGateway()
    origin = await startDemoOrigin(gateway.registrationUrl)
    publisher = publishByRtmp(sample, `${gateway.rtmpUrl}/live/ffmpeg`)
    await until('the stream at the origin', async () => (await origin.streams()).includes('live/ffmpeg'))
  })

  afterAll(async () => {
    await publisher.stop()
    await origin[Symbol.asyncDispose]()
    await gateway.stop()
    folder[Symbol.dispose]()
  })

  const ways: readonly (readonly [way: string, address: () => string])[] = [
    ['RTMP', () => `${gateway.rtmpUrl}/live/ffmpeg`],
    ['HTTP-FLV', () => `${gateway.url}/live/ffmpeg.flv`],
  ]

  test.each(ways)('is H.264 and AAC for ffprobe over %s', async (_way, address) => {
    expect(await probeCodecs(address())).toEqual({ video: 'h264', audio: 'aac' })
  })

  test.each(ways)('arrives over %s with every packet as it was sent', async (_way, address) => {
    const received = await hashPackets(address(), 4)
    expect(received.video.length).toBeGreaterThan(60)
    expect(received.audio.length).toBeGreaterThan(120)
    expectStretchOf(sent.video, received.video)
    expectStretchOf(sent.audio, received.audio)
  })

  test('is still being published without a reconnect', () => {
    expect(publisher.isRunning).toBe(true)
    expect(publisher.output).toBe('')
  })
})

/** Expects a contiguous stretch of a sequence that is sent over and over. Hashes of a sample occur once each. */
function expectStretchOf(whole: readonly string[], part: readonly string[]): void {
  expect(new Set(whole).size).toBe(whole.length)
  const start = whole.indexOf(part[0] ?? '')
  expect(start).toBeGreaterThanOrEqual(0)
  expect(part).toEqual(part.map((_hash, index) => whole[(start + index) % whole.length]))
}
