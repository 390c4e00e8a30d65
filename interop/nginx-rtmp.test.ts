import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeSample, probeCodecs, publishByRtmp } from './harness/ffmpeg.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { type NginxRtmp, nginxRtmpOrigin, startNginxRtmp } from './harness/nginx-rtmp.ts'
import { PersistentPublisher } from './harness/persistent-publisher.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'

const timeout = 120_000

describe('nginx with the RTMP module in [[origins]]', () => {
  const folder = temporaryFolder()
  const sample = join(folder.path, 'sample.flv')
  const opened: AsyncDisposable[] = []
  let origins: readonly [NginxRtmp, NginxRtmp]
  let gateway: Gateway

  beforeAll(async () => {
    await makeSample(sample, 20)
    const start = async (name: string): Promise<NginxRtmp> => {
      const origin = await startNginxRtmp(folder.path, name)
      opened.push(origin.program)
      return origin
    }
    origins = [await start('one'), await start('two')]
    gateway = await startGateway({
      config: {
        origins: origins.map((origin, index) => nginxRtmpOrigin(`nginx-${index}`, origin)),
        // As long as a slow machine may need for a second of media at the other origin.
        media: { http: { resumeSeconds: 60 } },
      },
    })
    opened.push(gateway)
  })

  afterAll(async () => {
    for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
  })

  test('what is published by RTMP is played by RTMP and, segment for segment, by HLS', {
    timeout,
  }, async () => {
    await using publisher = publishByRtmp(sample, `${gateway.rtmpUrl}/live/one`)
    const playlist = `${gateway.url}/live/one.m3u8`
    await untilSegments(playlist, 3)
    const media = { video: 'h264', audio: 'aac' }
    expect(await probeCodecs(`${gateway.rtmpUrl}/live/one`)).toEqual(media)
    expect(await probeCodecs(playlist)).toEqual(media)
    const { httpPort } = await carrierOf('one')
    const segments = await segmentsOf(playlist)
    expect(segments.every((segment) => /^one-\d+\.ts\?spbhid=[0-9a-f]{7}$/.test(segment))).toBe(true)
    for (const segment of segments) {
      const through = await bytesOf(new URL(segment, playlist))
      expect(through.length).toBeGreaterThan(1000)
      expect(through).toEqual(await bytesOf(`http://127.0.0.1:${httpPort}/hls/${segment.split('?')[0]}`))
    }
    expect(publisher.output).toBe('')
  })

  test('a viewer waits when the origin is killed, and plays from the one that the publisher comes back to', {
    timeout,
  }, async () => {
    const publisher = new PersistentPublisher(sample, `${gateway.rtmpUrl}/live/two`)
    opened.push({ [Symbol.asyncDispose]: () => publisher.stop() })
    const playlist = `${gateway.url}/live/two.m3u8`
    await untilSegments(playlist, 3)
    const carrier = await carrierOf('two')
    const [segment = ''] = await segmentsOf(playlist)

    carrier.program.kill('SIGKILL')
    await carrier.program.ended
    // Nobody has the stream now: the answer comes when somebody does.
    const [answer, late] = await Promise.all([fetch(playlist), fetch(new URL(segment, playlist))])
    expect([answer.status, late.status]).toEqual([200, 200])
    expect((await answer.text()).startsWith('#EXTM3U')).toBe(true)
    expect(publisher.failures).toBeGreaterThan(0)
    const other = await carrierOf('two')
    expect(other.httpPort).not.toBe(carrier.httpPort)
    await untilSegments(playlist, 3)
    expect(await probeCodecs(playlist)).toEqual({ video: 'h264', audio: 'aac' })
  })

  /** The origin that serves a stream. */
  async function carrierOf(stream: string): Promise<NginxRtmp> {
    for (const origin of origins) {
      if (!origin.program.isRunning) continue
      const response = await fetch(`http://127.0.0.1:${origin.httpPort}/hls/${stream}.m3u8`)
      if (response.ok) return origin
    }
    throw new Error(`no origin has ${stream}`)
  }
})

async function untilSegments(playlist: string, count: number): Promise<void> {
  await until(`${count} segments`, async () => (await segmentsOf(playlist)).length >= count, {
    deadlineMs: 60_000,
  })
}

async function segmentsOf(playlist: string): Promise<readonly string[]> {
  const response = await fetch(playlist)
  const text = await response.text()
  if (!response.ok) throw new Error(`${playlist}: ${response.status} ${text}`)
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

async function bytesOf(url: URL | string): Promise<Buffer> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${String(url)}: ${response.status}`)
  return Buffer.from(await response.arrayBuffer())
}
