import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { startDemoOrigin } from './harness/demo-origin.ts'
import { makeSample, publishByRtmp } from './harness/ffmpeg.ts'
import { GatewayFleet, membersOf } from './harness/fleet.ts'
import type { Gateway } from './harness/gateway.ts'
import { total } from './harness/metrics.ts'
import { PersistentViewer } from './harness/persistent-viewer.ts'
import { Program } from './harness/program.ts'
import { repository } from './harness/repository.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { connectionState, playByWhep, publishByWhip, receivedBy } from './harness/webrtc-page.ts'
import { startRedis } from './redis/redis-process.ts'

/** For what a slow machine may be slow at. */
const deadline = { deadlineMs: 40_000 }
const folder = temporaryFolder()
const opened: AsyncDisposable[] = []
let fleet: GatewayFleet
/** The gateway that is drained carries all of these; those that are left are to do so then. */
let drained: Gateway
let left: readonly Gateway[]
let camera: Page
let screen: Page
let viewer: PersistentViewer

beforeAll(async () => {
  const sample = join(folder.path, 'sample.flv')
  await makeSample(sample, 60)
  const redis = opens(await startRedis())
  // What has moved is stood by for until its old path has been idle for so long.
  const webrtc = { idleSeconds: 8 }
  fleet = opens(
    await GatewayFleet.start({
      redis: { url: redis.url },
      config: { media: { webrtc } },
    }),
  )
  opens(await startDemoOrigin(fleet.registrationUrl))
  await fleet.untilReady()
  const [a, b, c] = fleet.gateways
  if (a === undefined || b === undefined || c === undefined) throw new Error('no three gateways')
  drained = b
  left = [a, c]

  opens(publishByRtmp(sample, `${a.rtmpUrl}/live/s`))
  fleet.web.leadTo(drained.ports.http)
  fleet.media.leadTo(drained.ports.webrtc)
  viewer = opens(new PersistentViewer(`${fleet.url}/live/s.flv`))
  const browser = await startBrowser()
  opened.push({ [Symbol.asyncDispose]: () => browser.close() })
  camera = opens(await openBlankPage(browser)).page
  screen = opens(await openBlankPage(browser)).page
  expect((await publishByWhip(camera, `${fleet.url}/live/face/whip`)).status).toBe(201)
  expect((await playByWhep(screen, `${fleet.url}/live/face/whep`)).status).toBe(201)
  await until('tags', () => viewer.tags > 50, deadline)
  await untilMorePictures()
  for (const balancer of [fleet.web, fleet.media]) balancer.leadTo(undefined)
}, 240_000)

afterAll(async () => {
  for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

test('a gateway that is drained under media hands its WebRTC sessions over, waits for its viewers, and ends', {
  timeout: 240_000,
}, async () => {
  expect(total(await drained.metrics(), 'sluice_webrtc_sessions')).toBe(2)
  const command = opens(
    new Program(process.execPath, [
      join(repository, 'dist/cli/main.js'),
      ...['drain', '--admin', `127.0.0.1:${drained.ports.admin}`, '--exit', '--wait', '90'],
    ]),
  )
  await fleet.rotation.untilReady(left)
  for (const gateway of left) {
    const isShown = async (): Promise<boolean> =>
      (await membersOf(gateway)).filter(({ draining }) => draining).length === 1
    await until('a gateway that drains, as others show it', isShown, deadline)
  }
  await until('no WebRTC session where they were', async () => (await sessionsAt(drained)) === 0, deadline)
  await untilMorePictures()
  const [one = 0, other = 0] = await Promise.all(left.map((gateway) => sessionsAt(gateway)))
  expect(one + other).toBe(2)
  expect(await Promise.all([camera, screen].map((page) => connectionState(page)))).toEqual([
    'connected',
    'connected',
  ])

  const { tags } = viewer
  await until('further tags', () => viewer.tags > tags + 100, deadline)
  expect([drained.program.isRunning, command.isRunning, viewer.cuts]).toEqual([true, true, 0])
  await viewer[Symbol.asyncDispose]()
  expect(await drained.program.ended).toEqual({ code: 0, signal: null })
  expect(await command.ended).toEqual({ code: 0, signal: null })
  expect(command.output).toMatch(/it ends when nothing is left\n(.*\n)*.* has ended$/)
  fleet.forget(drained)
  await fleet.untilKnown()
  await untilMorePictures()
})

function opens<T extends AsyncDisposable>(thing: T): T {
  opened.push(thing)
  return thing
}

async function untilMorePictures(): Promise<void> {
  const { framesDecoded } = await receivedBy(screen)
  const isMore = async (): Promise<boolean> => (await receivedBy(screen)).framesDecoded > framesDecoded + 30
  await until('further pictures', isMore, deadline)
}

async function sessionsAt(gateway: Gateway): Promise<number> {
  return total(await gateway.metrics(), 'sluice_webrtc_sessions')
}
