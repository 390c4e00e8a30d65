import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { type DemoOriginProcess, startDemoOrigin } from './harness/demo-origin.ts'
import { makeSample } from './harness/ffmpeg.ts'
import { askAdmin, GatewayFleet, membersOf } from './harness/fleet.ts'
import type { Gateway } from './harness/gateway.ts'
import { total } from './harness/metrics.ts'
import { nginxRtmpOrigin, startNginxRtmp } from './harness/nginx-rtmp.ts'
import { PersistentPublisher } from './harness/persistent-publisher.ts'
import { PersistentViewer } from './harness/persistent-viewer.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { playByWhep, publishByWhip, receivedBy } from './harness/webrtc-page.ts'
import { hlsScript, playedBy, playHls } from './hls/hls-page.ts'
import { startRedis } from './redis/redis-process.ts'

/** For what a slow machine may be slow at. */
const deadline = { deadlineMs: 60_000 }
const timeout = 180_000
const folder = temporaryFolder()
const opened: AsyncDisposable[] = []
let fleet: GatewayFleet
let origins: readonly DemoOriginProcess[]
/** The gateway that is killed in the end, and those that are left. */
let killed: Gateway
let left: readonly Gateway[]
/** One stream each: through the gateway that is killed, and past it. */
let publisher: PersistentPublisher
let viewer: PersistentViewer
let bystander: PersistentViewer
let hls: Page
let players: { readonly page: Page }[]
/** What came until then. */
let before: {
  readonly tags: number
  readonly fragments: number
  readonly wallMs: number
  readonly origin: DemoOriginProcess
}

beforeAll(async () => {
  const sample = join(folder.path, 'sample.flv')
  await makeSample(sample, 20)
  const redis = opens(await startRedis())
  const nginx = await startNginxRtmp(folder.path, 'nginx')
  opened.push(nginx.program)
  fleet = opens(
    await GatewayFleet.start({
      redis: { url: redis.url },
      config: {
        origins: [nginxRtmpOrigin('nginx', nginx)],
        // What an origin says at one gateway is read by the others before a fifth of the time is over.
        balancer: { apps: [{ app: 'live', origins: ['nginx'] }], heartbeatTtlSeconds: 20 },
      },
    }),
  )
  origins = [
    opens(await startDemoOrigin(fleet.registrationUrl)),
    opens(await startDemoOrigin(fleet.registrationUrl)),
  ]
  await fleet.untilReady()
  const [first, second, third] = fleet.gateways
  if (first === undefined || second === undefined || third === undefined) throw new Error('no three gateways')
  killed = first
  left = [second, third]

  const publish = (url: string): PersistentPublisher => {
    const started = new PersistentPublisher(sample, url)
    opened.push({ [Symbol.asyncDispose]: () => started.stop() })
    return started
  }
  publish(`${second.rtmpUrl}/cam/past`)
  publish(`${second.rtmpUrl}/live/hls`)
  const isThere = async (): Promise<boolean> => (await fetch(`${third.url}/live/hls.m3u8`)).ok
  await until('a playlist', isThere, deadline)

  const browser = await startBrowser()
  opened.push({ [Symbol.asyncDispose]: () => browser.close() })
  players = [opens(await openBlankPage(browser)), opens(await openBlankPage(browser))]
  hls = opens(await openBlankPage(browser)).page
  const camera = opens(await openBlankPage(browser)).page
  fleet.media.leadTo(second.ports.webrtc)
  expect((await publishByWhip(camera, `${second.url}/cam/face/whip`)).status).toBe(201)

  // Everybody comes to the gateway that is killed then, by the address of the balancer.
  fleet.web.leadTo(killed.ports.http)
  fleet.rtmp.leadTo(killed.ports.rtmp)
  publisher = publish(`${fleet.rtmpUrl}/cam/through`)
  viewer = opens(new PersistentViewer(`${fleet.url}/cam/through.flv`))
  bystander = opens(new PersistentViewer(`${third.url}/cam/past.flv`))
  await hls.addScriptTag({ path: hlsScript })
  await playHls(hls, `${fleet.url}/live/hls.m3u8`)
  await until('tags', () => viewer.tags > 50 && bystander.tags > 50, deadline)
  await until('fragments', async () => (await playedBy(hls)).fragments.length > 2, deadline)

  before = {
    tags: viewer.tags,
    fragments: (await playedBy(hls)).fragments.length,
    wallMs: Date.now(),
    origin: await carrierOf('cam/through'),
  }
  bystander.forgetGaps()
  for (const balancer of [fleet.web, fleet.rtmp]) balancer.leadTo(undefined)
  await fleet.kill(killed)
}, 300_000)

afterAll(async () => {
  for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

test('a publisher through it comes back through another one, to the same origin', { timeout }, async () => {
  await until('the publisher to notice', () => publisher.failures > 0, deadline)
  await until('the stream again', async () => (await carrierOf('cam/through')) !== undefined, deadline)
  expect(await carrierOf('cam/through')).toBe(before.origin)
})

test('a viewer by HTTP-FLV goes on through another one', { timeout }, async () => {
  await until('further tags', () => viewer.tags > before.tags + 100, deadline)
  expect(viewer.cuts).toBeGreaterThan(0)
})

test('a page with hls.js goes on through another one, without an error after which it gives up', {
  timeout,
}, async () => {
  const further = async (): Promise<boolean> => (await playedBy(hls)).fragments.length > before.fragments + 3
  await until('further fragments', further, deadline)
  expect((await playedBy(hls)).fatal).toEqual([])
})

test('new players by WHEP have pictures, whichever gateway answers', { timeout }, async () => {
  for (const { page } of players) {
    expect((await playByWhep(page, `${fleet.url}/cam/face/whep`)).status).toBe(201)
    await until('pictures', async () => (await receivedBy(page)).framesDecoded > 10, deadline)
  }
})

test('origins that came to it are heard of through another one', { timeout }, async () => {
  for (const gateway of left) {
    const isLater = async (): Promise<boolean> => {
      const beats = await heartbeatsAt(gateway)
      return beats.length === origins.length && beats.every((atMs) => atMs > before.wallMs + 2000)
    }
    await until('later heartbeats', isLater, deadline)
  }
})

test('the others know that it has gone when its lease is over, and what went through it', {
  timeout,
}, async () => {
  await fleet.untilKnown()
  for (const gateway of left) {
    expect(total(await gateway.metrics(), 'sluice_fleet_gateways')).toBe(2)
    const ids = new Set((await membersOf(gateway)).map(({ id }) => id))
    await until('no stream of the gateway that is gone', async () => {
      const { streams } = await askAdmin<{
        readonly streams: readonly { readonly gateways: readonly string[] }[]
      }>(gateway, '/api/v1/streams')
      return streams.flatMap(({ gateways }) => gateways).every((id) => ids.has(id))
    })
  }
})

test('who had nothing to do with it has noticed nothing', () => {
  expect(bystander.cuts).toBe(0)
  expect(bystander.longestGapMs).toBeLessThan(2000)
})

describe('a gateway that is added', () => {
  let added: Gateway

  beforeAll(async () => {
    added = await fleet.add()
    await fleet.untilReady()
  })

  test('knows where the streams are', { timeout }, async () => {
    const played = opens(new PersistentViewer(`${added.url}/cam/through.flv`))
    await until('tags through it', () => played.tags > 20, deadline)
    expect(await carrierOf('cam/through')).toBe(before.origin)
  })

  test('serves the HLS segments of a playlist that another one gave out', { timeout }, async () => {
    const playlist = await (await fetch(`${left[0]?.url}/live/hls.m3u8`)).text()
    const segment = playlist.split('\n').find((line) => line !== '' && !line.startsWith('#'))
    expect(segment).toMatch(/spbhid=[0-9a-f]{7}$/)
    const [here, there] = await Promise.all(
      [left[0], added].map(async (gateway) => {
        const response = await fetch(new URL(segment ?? '', `${gateway?.url}/live/hls.m3u8`))
        return [response.status, Buffer.from(await response.arrayBuffer()).toString('hex')] as const
      }),
    )
    expect(there?.[0]).toBe(200)
    expect(there?.[1].length).toBeGreaterThan(1000)
    expect(there).toEqual(here)
  })
})

function opens<T extends AsyncDisposable>(thing: T): T {
  opened.push(thing)
  return thing
}

/** The origin at which a stream is published. @throws Error where there is none */
async function carrierOf(stream: string): Promise<DemoOriginProcess> {
  for (const origin of origins) if ((await origin.streams()).includes(stream)) return origin
  throw new Error(`${stream} is nowhere`)
}

/** When the origins that register were heard of, here or at another gateway: wall time in milliseconds. */
async function heartbeatsAt(gateway: Gateway): Promise<readonly number[]> {
  const { origins: shown } = await askAdmin<{
    readonly origins: readonly { readonly server: string; readonly lastHeartbeat: string }[]
  }>(gateway, '/api/v1/origins')
  return shown
    .filter(({ server }) => server === 'sluice-demo')
    .map(({ lastHeartbeat }) => Date.parse(lastHeartbeat))
}
