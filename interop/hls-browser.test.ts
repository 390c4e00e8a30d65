import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../src/foundation/clock.ts'
import { HlsOrigin, mediaOfMp4 } from '../src/services/media/http/hls/hls-origin.testkit.ts'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { makeSample } from './harness/ffmpeg.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { type NginxFiles, startNginxFiles } from './harness/nginx.ts'
import { runProgram } from './harness/program.ts'
import { registerOrigin } from './harness/register-origin.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { hlsScript, type HlsPlayed, playHls, untilPlayed } from './hls/hls-page.ts'
import { packageLive } from './hls/packages.ts'

const folder = temporaryFolder()
const root = join(folder.path, 'root')
const sample = join(folder.path, 'sample.flv')
const opened: AsyncDisposable[] = []
/** Two players that each wait for pictures. */
const timeout = 150_000
let browser: Browser
let files: NginxFiles
let lowLatency: HlsOrigin
let gateway: Gateway

beforeAll(async () => {
  await makeSample(sample, 60)
  files = await startNginxFiles(join(folder.path, 'nginx'), root)
  opened.push(files)
  lowLatency = await HlsOrigin.start({
    path: '/low/s',
    media: await fragments(),
    codecs: 'avc1.42c00d,mp4a.40.2',
  })
  opened.push(lowLatency)
  lowLatency.publish(16)
  lowLatency.run(systemClock)
  opened.push(packageLive('ts', sample, join(root, 'live'), 'ts'))
  opened.push(packageLive('fmp4', sample, join(root, 'files/fmp4'), 'index'))
  gateway = await startGateway({
    config: {
      media: { http: { pages: site() } },
      origins: [
        custom('files', `http://HOST:${files.port}/files/{stream}/index.m3u8`),
        custom('parts', `http://HOST:${lowLatency.port}/low/{stream}.m3u8`),
      ],
      balancer: {
        apps: [
          { app: 'live', origins: ['srs'] },
          { app: 'low/s', origins: ['low-latency'] },
          { app: 'files', origins: ['files'] },
          { app: 'parts', origins: ['parts'] },
        ],
      },
    },
  })
  opened.push(gateway)
  await registerOrigin(gateway.registrationUrl, 'srs', { http: [String(files.port)] })
  await registerOrigin(gateway.registrationUrl, 'low-latency', { http: [String(lowLatency.port)] })
  for (const playlist of ['live/ts.m3u8', 'files/fmp4/index.m3u8']) {
    await until(playlist, () => existsSync(join(root, playlist)) && segmentsIn(join(root, playlist)) > 3, {
      deadlineMs: 30_000,
    })
  }
  browser = await startBrowser()
  opened.push({ [Symbol.asyncDispose]: () => browser.close() })
})

afterAll(async () => {
  for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

test('hls.js plays a TS stream of an SRS in two pages, one of them of another site', {
  timeout,
}, async () => {
  const url = `${gateway.url}/live/ts.m3u8?token=one`
  const played = await inTwoPages(url, 4)
  for (const { fragments } of played) {
    expect(fragments.length).toBeGreaterThan(2)
    expect(fragments.filter((at) => !/\/live\/ts-\d+\.ts\?spbhid=[0-9a-f]{7}$/.test(at))).toEqual([])
  }
  // SRS gets the query as it came.
  const segments = files.requests().filter((at) => at.startsWith('/live/ts-'))
  expect(segments.length).toBeGreaterThan(2)
  expect(segments.filter((at) => !/^\/live\/ts-\d+\.ts\?spbhid=[0-9a-f]{7}$/.test(at))).toEqual([])
})

test('hls.js plays fragmented MP4 of an origin that has other paths', { timeout }, async () => {
  const played = await inTwoPages(`${gateway.url}/files/fmp4.m3u8`, 4)
  for (const { fragments } of played) {
    expect(fragments.length).toBeGreaterThan(2)
    expect(fragments.every((at) => /\/files\/index-(\d+\.m4s|init\.mp4)\?spbhid=/.test(at))).toBe(true)
  }
  const asked = files.requests().filter((at) => at.startsWith('/files/'))
  expect(asked).toContain('/files/fmp4/index-init.mp4')
  expect(asked.filter((at) => at.includes('spbhid'))).toEqual([])
})

test.each([
  ['an SRS', '/low/s/main.m3u8', true],
  ['an origin that has other paths', '/parts/s.m3u8', false],
] as const)(
  'hls.js plays by parts, near the live edge, the low-latency stream of %s',
  { timeout },
  async (_origin, path, takesSpbhid) => {
    const before = lowLatency.requests.length
    const played = await inTwoPages(gateway.url + path, 5)
    const marked = /\/seg\d+\.\d+\.m4s\?spbhid=[0-9a-f]{7}$/
    for (const { parts, targetLatency } of played) {
      expect(parts.length).toBeGreaterThan(8)
      expect(parts.filter((at) => !marked.test(at))).toEqual([])
      // Three parts of half a second are held back; without parts it would be three segments of two seconds.
      expect(targetLatency).toBeLessThan(5)
    }
    const urls = lowLatency.requests.slice(before).map(({ url }) => url)
    const parts = urls.filter((at) => /\/seg\d+\.\d+\.m4s/.test(at))
    expect(parts.length).toBeGreaterThan(8)
    expect(parts.filter((at) => marked.test(at) !== takesSpbhid)).toEqual([])
    // Blocking reload: the playlist that does not exist yet is asked for, and comes with the part.
    const reloads = urls.filter((at) => /\/(main|other)\.m3u8\?_HLS_msn=\d+&_HLS_part=\d+$/.test(at))
    expect(reloads.length).toBeGreaterThan(8)
  },
)

/** Plays in a page that the gateway serves and in one of another site, until both have shown that many seconds. */
async function inTwoPages(url: string, seconds: number): Promise<readonly HlsPlayed[]> {
  const own = await browser.newPage()
  await own.goto(`${gateway.url}/player.html`)
  const blank = await openBlankPage(browser)
  await blank.page.addScriptTag({ path: hlsScript })
  const pages: readonly Page[] = [own, blank.page]
  await Promise.all(pages.map((page) => playHls(page, url)))
  const played = await Promise.all(pages.map((page) => untilPlayed(page, seconds)))
  expect(blank.errors).toEqual([])
  await own.close()
  await blank[Symbol.asyncDispose]()
  return played
}

function custom(name: string, hls: string): object {
  return { name, kind: 'custom', host: '127.0.0.1', urls: { hls } }
}

/** The directory of the gateway's own page. */
function site(): string {
  const pages = join(folder.path, 'pages')
  mkdirSync(pages)
  copyFileSync(hlsScript, join(pages, 'hls.min.js'))
  writeFileSync(
    join(pages, 'player.html'),
    '<!doctype html><title>player</title><script src="hls.min.js"></script>',
  )
  return pages
}

/** The sample in fragments from key frame to key frame, each half a second. */
async function fragments(): Promise<ReturnType<typeof mediaOfMp4>> {
  const file = join(folder.path, 'fragments.mp4')
  const flags = 'frag_keyframe+empty_moov+default_base_moof'
  await runProgram('ffmpeg', [
    ...['-hide_banner', '-nostdin', '-loglevel', 'error', '-i', sample, '-c', 'copy'],
    ...['-movflags', flags, file],
  ])
  return mediaOfMp4(readFileSync(file))
}

function segmentsIn(playlist: string): number {
  return readFileSync(playlist, 'utf8').split('#EXTINF').length - 1
}
