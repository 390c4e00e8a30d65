import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MemoryBalancerStore, streamKeyOfRtmp } from '../src/mechanisms/balancer/index.ts'
import { makeCertificate } from '../src/mechanisms/net/certificate.testkit.ts'
import { Registry, silentLogger } from '../src/mechanisms/telemetry/index.ts'
import { RtmpService } from '../src/services/media/rtmp/index.ts'
import { hashPackets, makeSample, probeCodecs, publishByRtmp } from './harness/ffmpeg.ts'
import { PacketLog } from './harness/media-log.ts'
import { type NginxRtmp, startNginxRtmp } from './harness/nginx-rtmp.ts'
import type { Program } from './harness/program.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'

const loopback = { host: '127.0.0.1', port: 0 }

describe('nginx with the RTMP module as an origin', () => {
  const folder = temporaryFolder()
  const sample = join(folder.path, 'sample.flv')
  const opened: AsyncDisposable[] = []

  beforeAll(() => makeSample(sample, 20))

  afterAll(async () => {
    for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
  })

  async function nginx(name: string, listenOptions?: string): Promise<NginxRtmp> {
    const started = await startNginxRtmp(folder.path, name, listenOptions)
    opened.push(started.program)
    return started
  }

  async function serviceFor(
    origins: readonly NginxRtmp[],
    proxyProtocolToOrigins?: 'v1' | 'v2',
  ): Promise<{ service: RtmpService; url: string; secureUrl: string }> {
    const store = new MemoryBalancerStore()
    const lists = { rtmp: [], http: [], api: [], srt: [], rtc: [] }
    for (const { port } of origins) {
      const urls = { rtmp: `rtmp://127.0.0.1:${port}/{app}/{stream}` }
      const names = { ip: '127.0.0.1', server: `at-${port}`, service: 's', pid: '1' }
      await store.announce({ ...names, ...lists, kind: 'nginx-rtmp', urls })
    }
    const service = new RtmpService({
      listen: [loopback],
      secureListen: [loopback],
      tls: { certificate: await makeCertificate() },
      balancer: store,
      origins: store,
      streamKeyOf: ({ tcUrl, streamName }) =>
        streamKeyOfRtmp(tcUrl, streamName, { keys: 'normal', vhosts: [] }),
      proxyProtocolToOrigins,
      resumeMs: 30_000,
      logger: silentLogger(),
      registry: new Registry(),
    })
    opened.push(service)
    await service.start()
    const at = (port: number | undefined): string => `127.0.0.1:${port}/live`
    return {
      service,
      url: `rtmp://${at(service.ports[0])}`,
      secureUrl: `rtmps://${at(service.securePorts[0])}`,
    }
  }

  function publish(url: string): Program {
    const publisher = publishByRtmp(sample, url)
    opened.push(publisher)
    return publisher
  }

  test('takes by RTMP what was published by RTMPS, and gives it packet for packet', async () => {
    const { service, url, secureUrl } = await serviceFor([await nginx('plain')])
    publish(`${secureUrl}/s`)
    await until('the publisher', () => service.listSessions().length === 1)
    const received = await hashPackets(`${url}/s`, 3)
    expect(received.video.length).toBeGreaterThan(40)
    const sent = await hashPackets(sample)
    const start = sent.video.indexOf(received.video[0] ?? '')
    expect(received.video).toEqual(
      received.video.map((_hash, index) => sent.video[(start + index) % sent.video.length]),
    )
  })

  // Version 2 its module does not know.
  test('reads the PROXY protocol v1 ahead of RTMP', async () => {
    const { service, url, secureUrl } = await serviceFor([await nginx('behind', 'proxy_protocol')], 'v1')
    publish(`${url}/s`)
    await until('the publisher', () => service.listSessions().length === 1)
    expect(await probeCodecs(`${secureUrl}/s`)).toEqual({ video: 'h264', audio: 'aac' })
  })

  test('is left by a player when it is killed, for another one, with times that only go on', async () => {
    const origins = [await nginx('first'), await nginx('second')]
    const { service, url } = await serviceFor(origins)
    publish(`${url}/s`)
    await until('the publisher', () => service.listSessions().length === 1)
    const player = new PacketLog(`${url}/s`)
    opened.push(player)
    await until('packets', () => player.times(0).length > 40)
    const [before] = service.listSessions()
    const killed = origins.find(({ port }) => before?.originId === `at-${port}-s-1`)
    killed?.program.kill('SIGKILL')
    await until('the end of the publisher', () => service.listSessions().every(({ role }) => role === 'play'))
    const seen = player.times(0).length
    publish(`${url}/s`)
    await until('further packets', () => player.times(0).length > seen + 60, { deadlineMs: 20_000 })
    expect(player.isRunning).toBe(true)
    const [after] = service.listSessions()
    expect(after?.originId).not.toBe(before?.originId)
    for (const stream of [0, 1]) {
      const times = player.times(stream)
      expect(times.length).toBeGreaterThan(50)
      expect(times).toEqual(times.toSorted((a, b) => a - b))
    }
  })
})
