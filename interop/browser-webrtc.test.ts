import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { type DemoOriginProcess, startDemoOrigin } from './harness/demo-origin.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { type PionOrigin, startPionOrigin } from './harness/pion-origin.ts'
import { until } from './harness/until.ts'
import { playByWhep, publishByWhip, receivedBy } from './harness/webrtc-page.ts'

let browser: Browser

beforeAll(async () => {
  browser = await startBrowser()
})

afterAll(async () => {
  await browser.close()
})

describe('Chromium in front of the demo origin', () => {
  let gateway: Gateway
  let origin: DemoOriginProcess

  beforeAll(async () => {
    gateway = await startGateway()
    origin = await startDemoOrigin(gateway.registrationUrl)
  })

  afterAll(async () => {
    await origin[Symbol.asyncDispose]()
    await gateway.stop()
  })

  // The paths of SRS and the plain ones lead to the same stream.
  test.each([
    ['/rtc/v1/whip/?app=live&stream=one', '/live/one/whep'],
    ['/live/two/whip', '/rtc/v1/whep/?app=live&stream=two'],
  ])('a stream published at %s is decoded by a page that plays %s', async (whip, whep) => {
    await using publisher = await openBlankPage(browser)
    await using player = await openBlankPage(browser)
    const published = await publishByWhip(publisher.page, gateway.url + whip)
    expect(published.status).toBe(201)
    const played = await playByWhep(player.page, gateway.url + whep)
    expect(played.status).toBe(201)

    await untilFramesGrow(player.page)
    expect((await receivedBy(player.page)).remote).toBe(`127.0.0.1:${gateway.ports.webrtc}`)
    expect((await receivedBy(publisher.page)).remote).toBe(`127.0.0.1:${gateway.ports.webrtc}`)

    expect(await deleteFrom(player.page, played.location)).toBe(200)
    expect(await deleteFrom(publisher.page, published.location)).toBe(200)
    await until('no stream left at the origin', async () => (await origin.streams()).length === 0)
    expect([...publisher.errors, ...player.errors]).toEqual([])
  })

  test('a stream that nobody publishes is refused with the status of the origin', async () => {
    await using player = await openBlankPage(browser)
    const played = await playByWhep(player.page, `${gateway.url}/live/nobody/whep`)
    expect(played.status).toBe(404)
  })
})

describe('Chromium in front of a pion origin with full ICE', () => {
  let gateway: Gateway
  let origin: PionOrigin

  beforeAll(async () => {
    gateway = await startGateway()
    origin = await startPionOrigin(gateway.registrationUrl)
  }, 300_000)

  afterAll(async () => {
    await origin[Symbol.asyncDispose]()
    await gateway.stop()
  })

  test('media goes through the gateway both ways, key-frame requests too, and DELETE ends it', async () => {
    await using publisher = await openBlankPage(browser)
    await using player = await openBlankPage(browser)
    const published = await publishByWhip(publisher.page, `${gateway.url}/rtc/v1/whip/?app=live&stream=pion`)
    expect(published.status).toBe(201)
    const played = await playByWhep(player.page, `${gateway.url}/rtc/v1/whep/?app=live&stream=pion`)
    expect(played.status).toBe(201)

    await untilFramesGrow(player.page)
    const pages = [await receivedBy(publisher.page), await receivedBy(player.page)]
    expect(pages.map((page) => page.remote)).toEqual([
      `127.0.0.1:${gateway.ports.webrtc}`,
      `127.0.0.1:${gateway.ports.webrtc}`,
    ])
    // The full agent could have checked the browser directly, past the gateway.
    const { peers, keyFrameRequests } = await origin.stats()
    expect(peers).toHaveLength(2)
    const own = pages.flatMap((page) => page.ownPorts)
    expect(own.length).toBeGreaterThan(1)
    expect(peers.filter((peer) => own.some((port) => peer.endsWith(`:${port}`)))).toEqual([])
    expect(keyFrameRequests).toBeGreaterThan(0)

    expect(await deleteFrom(player.page, played.location)).toBe(200)
    await until('one session left', async () => (await origin.stats()).peers.length === 1)
    expect(await deleteFrom(publisher.page, published.location)).toBe(200)
    await until('no session left', async () => (await origin.stats()).peers.length === 0)
  })
})

async function untilFramesGrow(page: Parameters<typeof receivedBy>[0]): Promise<void> {
  await until('first frames', async () => (await receivedBy(page)).framesDecoded > 0, { deadlineMs: 15_000 })
  const first = await receivedBy(page)
  await until(
    'decoded frames and audio that go on',
    async () => {
      const now = await receivedBy(page)
      return now.framesDecoded > first.framesDecoded + 20 && now.audioPackets > first.audioPackets + 20
    },
    { deadlineMs: 15_000 },
  )
}

async function deleteFrom(page: Parameters<typeof receivedBy>[0], location = ''): Promise<number> {
  return await page.evaluate(async (url) => (await fetch(url, { method: 'DELETE' })).status, location)
}
