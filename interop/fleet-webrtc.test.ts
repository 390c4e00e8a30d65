import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { GatewayFleet } from './harness/fleet.ts'
import type { Gateway } from './harness/gateway.ts'
import { total } from './harness/metrics.ts'
import { type PionOrigin, startPionOrigin } from './harness/pion-origin.ts'
import { until } from './harness/until.ts'
import {
  connectionState,
  playByWhep,
  publishByWhip,
  receivedBy,
  type Signalled,
} from './harness/webrtc-page.ts'
import { startRedis } from './redis/redis-process.ts'

/** For what a slow machine may be slow at. */
const deadline = { deadlineMs: 60_000 }
const timeout = 240_000
const opened: AsyncDisposable[] = []
let fleet: GatewayFleet
let origin: PionOrigin
/** The one that answers the offers, and two that carry media. */
let signalling: Gateway
let first: Gateway
let second: Gateway
let camera: Page
let screen: Page
let published: Signalled
let played: Signalled

beforeAll(async () => {
  const redis = opens(await startRedis())
  fleet = opens(await GatewayFleet.start({ redis: { url: redis.url } }))
  origin = opens(await startPionOrigin(fleet.registrationUrl))
  await fleet.untilReady()
  const [a, b, c] = fleet.gateways
  if (a === undefined || b === undefined || c === undefined) throw new Error('no three gateways')
  signalling = a
  first = b
  second = c
  const browser = await startBrowser()
  opened.push({ [Symbol.asyncDispose]: () => browser.close() })
  camera = opens(await openBlankPage(browser)).page
  screen = opens(await openBlankPage(browser)).page
}, 300_000)

afterAll(async () => {
  for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
})

test('media comes to another gateway than the one that answered, from the first packet', {
  timeout,
}, async () => {
  fleet.media.leadTo(first.ports.webrtc)
  published = await publishByWhip(camera, `${signalling.url}/live/s/whip`)
  expect(published.status).toBe(201)
  played = await playByWhep(screen, `${signalling.url}/live/s/whep`)
  expect(played.status).toBe(201)
  await untilMore()
  expect(fleet.media.sentTo(signalling.ports.webrtc)).toBe(0)
  expect((await receivedBy(screen)).remote).toBe(`127.0.0.1:${fleet.media.port}`)
  expect(await takeoversAt(first)).toBe(2)
})

test('clients that are led from one gateway to another and back while they run notice nothing', {
  timeout,
}, async () => {
  for (const gateway of [second, first, second, first]) {
    fleet.media.leadTo(gateway.ports.webrtc)
    const before = await packetsAt(gateway)
    await untilMore()
    await until(
      'media through it, both ways',
      async () => {
        const { fromClients, fromOrigins } = await packetsAt(gateway)
        return fromClients > before.fromClients + 100 && fromOrigins > before.fromOrigins + 100
      },
      deadline,
    )
  }
  expect(await takeoversAt(second)).toBeGreaterThanOrEqual(2)
  expect(fleet.media.sentTo(signalling.ports.webrtc)).toBe(0)
  await expectConnected()
})

test('the gateway that carries the media is killed, and it goes on through another one', {
  timeout,
}, async () => {
  fleet.media.leadTo(undefined)
  await untilMore()
  const before = first.ports.webrtc
  await fleet.kill(first)
  await fleet.rotation.untilReady(fleet.gateways)
  const sent = fleet.media.sentTo(before)
  await untilMore()
  expect(fleet.media.sentTo(before)).toBe(sent)
  await expectConnected()
})

test('DELETE sent to a gateway that has nothing to do with it ends a session everywhere', {
  timeout,
}, async () => {
  fleet.media.leadTo(signalling.ports.webrtc)
  await untilMore()
  await until('the sessions at the first gateway', async () => (await sessionsAt(signalling)) === 2, deadline)
  const { pathname, search } = new URL(played.location ?? '')
  expect(await deleteAt(`${second.url}${pathname}${search}`)).toBe(200)
  await until('one session less', async () => (await sessionsAt(signalling)) === 1, deadline)
  const whip = new URL(published.location ?? '')
  expect(await deleteAt(`${second.url}${whip.pathname}${whip.search}`)).toBe(200)
  await until('no session at the origin', async () => (await origin.stats()).peers.length === 0, deadline)
  for (const gateway of fleet.gateways) {
    await until('no session', async () => (await sessionsAt(gateway)) === 0, deadline)
  }
})

function opens<T extends AsyncDisposable>(thing: T): T {
  opened.push(thing)
  return thing
}

/** Until so much more has been seen that it cannot have been under way before. */
async function untilMore(): Promise<void> {
  const before = await receivedBy(screen)
  await until(
    'pictures and sound that go on',
    async () => {
      const { framesDecoded, audioPackets } = await receivedBy(screen)
      return framesDecoded > before.framesDecoded + 30 && audioPackets > before.audioPackets + 100
    },
    deadline,
  )
}

async function expectConnected(): Promise<void> {
  expect(await Promise.all([camera, screen].map((page) => connectionState(page)))).toEqual([
    'connected',
    'connected',
  ])
}

async function takeoversAt(gateway: Gateway): Promise<number | undefined> {
  return (await gateway.metrics()).get('sluice_webrtc_takeovers_total{result="taken"}')
}

async function packetsAt(
  gateway: Gateway,
): Promise<{ readonly fromClients: number; readonly fromOrigins: number }> {
  const metrics = await gateway.metrics()
  const from = (whom: string): number =>
    metrics.get(`sluice_webrtc_packets_total{direction="from_${whom}"}`) ?? 0
  return { fromClients: from('client'), fromOrigins: from('origin') }
}

async function sessionsAt(gateway: Gateway): Promise<number> {
  return total(await gateway.metrics(), 'sluice_webrtc_sessions')
}

async function deleteAt(url: string): Promise<number> {
  const response = await fetch(url, { method: 'DELETE' })
  await response.arrayBuffer()
  return response.status
}
