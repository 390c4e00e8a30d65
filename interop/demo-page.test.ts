import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBrowser } from './harness/browser.ts'
import { makeSample, publishByRtmp } from './harness/ffmpeg.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'

let gateway: Gateway
let browser: Browser

beforeAll(async () => {
  gateway = await startGateway({ command: 'demo' })
  browser = await startBrowser()
})

afterAll(async () => {
  await browser.close()
  await gateway.stop()
})

test.each(['camera', 'test'])(
  'one page publishes the source %s and another one watches it by WHEP',
  async (source) => {
    const publisher = await openDemoPage()
    await publisher.getByTestId('publish-stream').fill(`live/${source}`)
    await publisher.getByTestId('publish-source').selectOption(source)
    await publisher.getByTestId('publish-start').click()
    await untilState(publisher, 'publish-state', 'live')

    const watcher = await openDemoPage()
    await watch(watcher, `live/${source}`, 'whep')
    await untilFramesGrow(watcher)
    await watcher.close()
    await publisher.close()
  },
)

test('the page plays by HTTP-FLV what ffmpeg publishes by RTMP', async () => {
  using folder = temporaryFolder()
  const sample = join(folder.path, 'sample.flv')
  await makeSample(sample, 10)
  await using publisher = publishByRtmp(sample, `${gateway.rtmpUrl}/live/flv`)
  const watcher = await openDemoPage()
  await watch(watcher, 'live/flv', 'flv')
  await untilFramesGrow(watcher)
  expect(publisher.isRunning).toBe(true)
  await watcher.close()
})

async function openDemoPage(): Promise<Page> {
  const page = await browser.newPage()
  await page.goto(`${gateway.url}/`)
  return page
}

async function watch(page: Page, stream: string, protocol: 'whep' | 'flv'): Promise<void> {
  await page.getByTestId('watch-stream').fill(stream)
  await page.getByTestId('watch-protocol').selectOption(protocol)
  await page.getByTestId('watch-start').click()
}

async function untilState(page: Page, id: string, state: string): Promise<void> {
  await until(`${id} to be ${state}`, async () => (await page.getByTestId(id).textContent()) === state)
}

async function untilFramesGrow(page: Page): Promise<void> {
  const frames = async (): Promise<number> => Number(await page.getByTestId('watch-frames').textContent())
  await until('first frames', async () => (await frames()) > 0, { deadlineMs: 15_000 })
  const first = await frames()
  await until('frames that go on', async () => (await frames()) > first + 20, { deadlineMs: 15_000 })
}
