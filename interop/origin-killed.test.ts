import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { connectionsTo } from './harness/connections.ts'
import { type DemoOriginProcess, startDemoOrigin } from './harness/demo-origin.ts'
import { makeSample, probeCodecs, publishByRtmp } from './harness/ffmpeg.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { FlvLog, PacketLog } from './harness/media-log.ts'
import { nginxRtmpOrigin, startNginxRtmp } from './harness/nginx-rtmp.ts'
import { PersistentPublisher } from './harness/persistent-publisher.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { connectionState, playByWhep, publishByWhip, receivedBy } from './harness/webrtc-page.ts'
import { hlsScript, playedBy, playHls, untilPlayed } from './hls/hls-page.ts'

const timeout = 180_000
/** For what a slow machine may be slow at. */
const deadline = { deadlineMs: 60_000 }
/** Longer than the origin is away here. */
const kept = { resumeSeconds: 120 }
const avMedia = { video: 'h264', audio: 'aac' }

const folder = temporaryFolder()
const sample = join(folder.path, 'sample.flv')
/** What a test has started. */
const opened: AsyncDisposable[] = []

beforeAll(() => makeSample(sample, 20))

afterEach(async () => {
  for (const thing of opened.splice(0).toReversed()) await thing[Symbol.asyncDispose]()
})

afterAll(() => folder[Symbol.dispose]())

describe('an origin is killed under a stream', () => {
  test('players by RTMP and HTTP-FLV go on with the publisher that comes back, on the same connection', {
    timeout,
  }, async () => {
    const { gateway, origins } = await startStage({ rtmp: kept, http: kept })
    const publisher = publishAgainAndAgain(`${gateway.rtmpUrl}/live/s`)
    const carrier = await carrierOf(origins, 'live/s')
    const rtmp = opens(new PacketLog(`${gateway.rtmpUrl}/live/s`))
    const flv = opens(new FlvLog(`${gateway.url}/live/s.flv`))
    await until('packets by RTMP', () => rtmp.times(0).length > 40, deadline)
    await until('tags by HTTP-FLV', () => flv.times.length > 100, deadline)

    await carrier.kill()
    await until('the publisher to notice', () => publisher.failures > 0, deadline)
    await carrierOf(others(origins, carrier), 'live/s')
    const before = { packets: rtmp.times(0).length, tags: flv.times.length }
    await until('further packets', () => rtmp.times(0).length > before.packets + 60, deadline)
    await until('further tags', () => flv.times.length > before.tags + 200, deadline)
    for (const times of [rtmp.times(0), rtmp.times(1), flv.times]) {
      expect(times).toEqual(times.toSorted((a, b) => a - b))
    }
  })

  test('a player by RTMP is cut where it is not to be kept, and plays from the other when it comes back', {
    timeout,
  }, async () => {
    const { gateway, origins } = await startStage()
    const publisher = publishAgainAndAgain(`${gateway.rtmpUrl}/live/s`)
    const carrier = await carrierOf(origins, 'live/s')
    const player = opens(new PacketLog(`${gateway.rtmpUrl}/live/s`))
    await until('packets', () => player.times(0).length > 40, deadline)

    await carrier.kill()
    await until('the end of the player', () => !player.isRunning, deadline)
    await until('the publisher to notice', () => publisher.failures > 0, deadline)
    await carrierOf(others(origins, carrier), 'live/s')
    expect(await probeCodecs(`${gateway.rtmpUrl}/live/s`)).toEqual(avMedia)
  })

  test('a publisher by WHIP and a player by WHEP notice, and meet again at the other', {
    timeout,
  }, async () => {
    const { gateway, origins } = await startStage()
    const browser = await openBrowser()
    const publisher = opens(await openBlankPage(browser))
    const player = opens(await openBlankPage(browser))
    const meet = async (among: readonly DemoOriginProcess[]): Promise<DemoOriginProcess> => {
      expect((await publishByWhip(publisher.page, `${gateway.url}/live/s/whip`)).status).toBe(201)
      const carrier = await carrierOf(among, 'live/s')
      expect((await playByWhep(player.page, `${gateway.url}/live/s/whep`)).status).toBe(201)
      const isSeen = async (): Promise<boolean> => (await receivedBy(player.page)).framesDecoded > 10
      await until('pictures', isSeen, deadline)
      return carrier
    }
    const carrier = await meet(origins)
    await carrier.kill()
    for (const { page } of [publisher, player]) {
      const isCut = async (): Promise<boolean> => (await connectionState(page)) !== 'connected'
      await until('the end of the connection', isCut, deadline)
    }
    await meet(others(origins, carrier))
    expect([...publisher.errors, ...player.errors]).toEqual([])
  })

  test('a page with hls.js plays on when the only origin runs again and its publisher is back', {
    timeout,
  }, async () => {
    const origin = await startNginxRtmp(folder.path, 'restarted')
    opened.push(origin.program)
    const config = { media: { http: kept }, origins: [nginxRtmpOrigin('restarted', origin)] }
    const gateway = opens(await startGateway({ config }))
    publishAgainAndAgain(`${gateway.rtmpUrl}/live/s`)
    const playlist = `${gateway.url}/live/s.m3u8`
    await until('the playlist', async () => (await fetch(playlist)).ok, deadline)
    const browser = await openBrowser()
    const { page } = opens(await openBlankPage(browser))
    await page.addScriptTag({ path: hlsScript })
    await playHls(page, playlist)
    await untilPlayed(page, 2)

    origin.program.kill('SIGKILL')
    await origin.program.ended
    const before = (await playedBy(page)).fragments.length
    // What it had loaded it plays to the end, and then it has to wait.
    await until('a page that waits', async () => (await playedBy(page)).isWaiting, deadline)
    opened.push((await origin.again()).program)
    const isBack = async (): Promise<boolean> => (await playedBy(page)).fragments.length > before + 1
    await until('further fragments', isBack, deadline)
    const { errors } = await untilPlayed(page, 3)
    expect(errors.filter((error) => error.includes('LoadError'))).toEqual([])
  })
})

describe('an origin that takes connections and says nothing is killed, and another one is tried', () => {
  test('for a publisher by RTMP', { timeout }, async () => {
    const { gateway, origins } = await startStage()
    const frozen = await freezeOne(gateway, origins, 'live/s')
    const publisher = opens(publishByRtmp(sample, `${gateway.rtmpUrl}/live/s`))
    await until('its connection', () => connectionsTo(frozen.rtmpPort) > 0)
    await frozen.kill()
    await carrierOf(others(origins, frozen), 'live/s')
    expect(publisher.isRunning).toBe(true)
  })

  test('for players by RTMP and HTTP-FLV', { timeout }, async () => {
    const { gateway, origins } = await startStage()
    const frozen = await freezeOne(gateway, origins, 'live/s')
    for (const { rtmpPort } of others(origins, frozen)) {
      opens(publishByRtmp(sample, `rtmp://127.0.0.1:${rtmpPort}/live/s`))
    }
    await carrierOf(others(origins, frozen), 'live/s')
    const played = Promise.all([
      probeCodecs(`${gateway.rtmpUrl}/live/s`),
      probeCodecs(`${gateway.url}/live/s.flv`),
    ])
    const ports = [frozen.rtmpPort, frozen.httpPort]
    await until('their connections', () => ports.every((port) => connectionsTo(port) > 0))
    await frozen.kill()
    expect(await played).toEqual([avMedia, avMedia])
  })

  test('for a publisher by WHIP', { timeout }, async () => {
    const { gateway, origins } = await startStage()
    const frozen = await freezeOne(gateway, origins, 'live/s')
    const browser = await openBrowser()
    const { page } = opens(await openBlankPage(browser))
    const published = publishByWhip(page, `${gateway.url}/live/s/whip`)
    await until('its connection', () => connectionsTo(frozen.httpPort) > 0)
    await frozen.kill()
    expect((await published).status).toBe(201)
    await carrierOf(others(origins, frozen), 'live/s')
  })

  test('for a viewer by HLS', { timeout }, async () => {
    const frozen = await startNginxRtmp(folder.path, 'frozen')
    opened.push(frozen.program)
    const other = await startNginxRtmp(folder.path, 'other')
    opened.push(other.program)
    opens(publishByRtmp(sample, `rtmp://127.0.0.1:${other.port}/live/s`))
    const isThere = async (): Promise<boolean> =>
      (await fetch(`http://127.0.0.1:${other.httpPort}/hls/s.m3u8`)).ok
    await until('the playlist', isThere, deadline)
    // Nobody looks whether they are well: the viewer has to find out.
    const unchecked = { check: false }
    const origins = [
      { ...nginxRtmpOrigin('frozen', frozen), ...unchecked },
      { ...nginxRtmpOrigin('other', other), ...unchecked },
    ]
    const gateway = opens(await startGateway({ config: { origins } }))
    await pin(gateway, 'live/s', ({ server }) => server === 'frozen')
    frozen.program.kill('SIGSTOP')
    const played = fetch(`${gateway.url}/live/s.m3u8`)
    await until('its connection', () => connectionsTo(frozen.httpPort) > 0)
    frozen.program.kill('SIGKILL')
    expect((await played).status).toBe(200)
  })
})

/** Remembers what is to be closed behind the test. */
function opens<T extends AsyncDisposable>(thing: T): T {
  opened.push(thing)
  return thing
}

async function openBrowser(): Promise<Browser> {
  const browser = await startBrowser()
  opened.push({ [Symbol.asyncDispose]: () => browser.close() })
  return browser
}

/** A gateway and two demo origins that are registered there. */
async function startStage(
  media: object = {},
): Promise<{ readonly gateway: Gateway; readonly origins: readonly DemoOriginProcess[] }> {
  const gateway = opens(await startGateway({ config: { media: { ...media } } }))
  const start = async (): Promise<DemoOriginProcess> => opens(await startDemoOrigin(gateway.registrationUrl))
  return { gateway, origins: [await start(), await start()] }
}

function publishAgainAndAgain(url: string): PersistentPublisher {
  const publisher = new PersistentPublisher(sample, url)
  opened.push({ [Symbol.asyncDispose]: () => publisher.stop() })
  return publisher
}

/** The one of the origins at which a stream is published; waits for that. */
async function carrierOf(origins: readonly DemoOriginProcess[], stream: string): Promise<DemoOriginProcess> {
  return await until(
    `${stream} at an origin`,
    async () => {
      const published = await Promise.all(origins.map((origin) => origin.streams()))
      return origins.find((_origin, index) => published[index]?.includes(stream))
    },
    deadline,
  )
}

function others(origins: readonly DemoOriginProcess[], one: DemoOriginProcess): readonly DemoOriginProcess[] {
  return origins.filter((origin) => origin !== one)
}

/** Freezes the first origin, when the stream is led there. */
async function freezeOne(
  gateway: Gateway,
  [first]: readonly DemoOriginProcess[],
  stream: string,
): Promise<DemoOriginProcess> {
  if (first === undefined) throw new Error('no origin')
  await pin(gateway, stream, ({ rtmp }) => rtmp.includes(first.rtmpPort))
  first.freeze()
  return first
}

interface ShownOrigin {
  readonly id: string
  readonly server: string
  readonly rtmp: readonly number[]
}

/** Has a stream led to an origin, as an operator does. */
async function pin(gateway: Gateway, stream: string, isIt: (origin: ShownOrigin) => boolean): Promise<void> {
  const api = `http://127.0.0.1:${gateway.ports.admin}/api/v1`
  const { origins } = (await (await fetch(`${api}/origins`)).json()) as { readonly origins: ShownOrigin[] }
  const origin = origins.find((one) => isIt(one))?.id
  const key = encodeURIComponent(`__defaultVhost__/${stream}`)
  const response = await fetch(`${api}/picks/${key}`, { method: 'PUT', body: JSON.stringify({ origin }) })
  if (!response.ok) throw new Error(`pin: ${response.status} ${await response.text()}`)
}
