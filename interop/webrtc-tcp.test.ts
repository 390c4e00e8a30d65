import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { startDemoOrigin } from './harness/demo-origin.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { startPionOrigin } from './harness/pion-origin.ts'
import { until } from './harness/until.ts'
import { playByWhep, publishByWhip, receivedBy } from './harness/webrtc-page.ts'

/** Nobody hears media at this port of UDP: as behind a firewall that lets only TCP through. */
const deadPort = 9

describe.each([
  ['the demo origin', startDemoOrigin],
  ['a pion origin with full ICE', startPionOrigin],
] as const)('Chromium whose UDP is barred, in front of %s', (_, startOrigin) => {
  let browser: Browser
  let gateway: Gateway
  let origin: AsyncDisposable

  beforeAll(async () => {
    browser = await startBrowser()
    gateway = await startGateway({
      config: {
        media: {
          webrtc: {
            publicAddresses: [{ address: '127.0.0.1', port: deadPort }],
            tcpListen: ['127.0.0.1:0'],
            tcpPublicAddresses: [{ address: '127.0.0.1' }],
          },
        },
      },
    })
    origin = await startOrigin(gateway.registrationUrl)
  }, 300_000)

  afterAll(async () => {
    await origin[Symbol.asyncDispose]()
    await gateway.stop()
    await browser.close()
  })

  test('publishes and plays over TCP when its URLs ask for that', async () => {
    await using publisher = await openBlankPage(browser)
    await using player = await openBlankPage(browser)
    const published = await publishByWhip(
      publisher.page,
      `${gateway.url}/rtc/v1/whip/?app=live&stream=s&transport=tcp`,
    )
    const played = await playByWhep(player.page, `${gateway.url}/live/s/whep?transport=tcp`)
    expect([published.status, played.status]).toEqual([201, 201])
    const port = / tcp \d+ 127\.0\.0\.1 (\d+) typ host tcptype passive/.exec(played.answer)?.[1]
    expect(port).toBeDefined()

    await until('decoded frames', async () => (await receivedBy(player.page)).framesDecoded > 40, {
      deadlineMs: 30_000,
    })
    const [sent, received] = [await receivedBy(publisher.page), await receivedBy(player.page)]
    expect(received.audioPackets).toBeGreaterThan(40)
    expect([sent.remote, received.remote]).toEqual([`127.0.0.1:${port}`, `127.0.0.1:${port}`])
    expect([...publisher.errors, ...player.errors]).toEqual([])
  }, 60_000)
})
