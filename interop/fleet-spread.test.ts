import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TestClient } from '../src/services/media/rtmp/rtmp-service.testkit.ts'
import { type DemoOriginProcess, startDemoOrigin } from './harness/demo-origin.ts'
import { askAdmin, GatewayFleet, membersOf } from './harness/fleet.ts'
import type { Gateway } from './harness/gateway.ts'
import { playPicture, publishPicture } from './harness/one-picture.ts'
import { until } from './harness/until.ts'
import { startRedis } from './redis/redis-process.ts'

/** For what a slow machine may be slow at. */
const timeout = 180_000
/** Three gateways, four origins that register at the address of the balancer, and 200 publishers that know that only. */
const names = Array.from({ length: 200 }, (_, index) => `stream-${index}`)
const origins: DemoOriginProcess[] = []
const publishers = new Map<string, TestClient>()
const opened: AsyncDisposable[] = []
let fleet: GatewayFleet

beforeAll(async () => {
  const redis = opens(await startRedis())
  fleet = opens(await GatewayFleet.start({ redis: { url: redis.url } }))
  for (let index = 0; index < 4; index++) origins.push(opens(await startDemoOrigin(fleet.registrationUrl)))
  await fleet.untilReady()
  await until('all origins at all gateways', async () => {
    const known = await Promise.all(fleet.gateways.map((gateway) => originsOf(gateway)))
    return known.every(({ length }) => length === origins.length)
  })
  await inLanes(names, (name) => publish(name, fleet.rtmp.port))
}, 180_000)

afterAll(async () => {
  for (const { socket } of publishers.values()) socket.destroy()
  for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
})

test('each stream is at one origin, and all origins and gateways are used', { timeout }, async () => {
  const placed = await streamsByOrigin()
  expect(placed.flat().toSorted()).toEqual(names.map((name) => `live/${name}`).toSorted())
  for (const streams of placed) expect(streams.length).toBeGreaterThan(10)
  const [first] = fleet.gateways
  const carried = first === undefined ? [] : (await shownBy(first)).flatMap(({ gateways }) => gateways)
  for (const { id } of first === undefined ? [] : await membersOf(first)) {
    expect(carried.filter((carrier) => carrier === id).length).toBeGreaterThan(50)
  }
})

test('every gateway shows all of them, at the same origins', { timeout }, async () => {
  const shown = await Promise.all(
    fleet.gateways.map(async (gateway) =>
      (await shownBy(gateway))
        .map(({ key, originId, gateways }) => `${key} ${originId} ${gateways.join()}`)
        .toSorted(),
    ),
  )
  expect(shown[0]).toHaveLength(names.length)
  const form = /^__defaultVhost__\/live\/stream-\d+ sluice-demo-\w+-\d+ [\w.-]+$/
  expect(shown[0]?.filter((line) => !form.test(line))).toEqual([])
  expect(shown[1]).toEqual(shown[0])
  expect(shown[2]).toEqual(shown[0])
})

test('every stream plays through every gateway', { timeout }, async () => {
  for (const gateway of fleet.gateways) {
    const wrong: string[] = []
    await inLanes(names, async (name) => {
      const played = await playPicture(`${gateway.url}/live/${name}.flv`)
      if (played !== name) wrong.push(`${name}: ${played}`)
    })
    expect(wrong).toEqual([])
  }
})

test('a publisher that comes again through another gateway is led to the origin that its stream had', {
  timeout,
}, async () => {
  const before = await streamsByOrigin()
  const again = names.slice(0, 60)
  await inLanes(again, async (name) => {
    publishers.get(name)?.socket.destroy()
    await until('the end of a stream', async () => !(await streamsByOrigin()).flat().includes(`live/${name}`))
  })
  for (const [index, gateway] of fleet.gateways.entries()) {
    const some = again.filter((_, at) => at % fleet.gateways.length === index)
    await inLanes(some, (name) => publish(name, gateway.ports.rtmp))
  }
  expect(await streamsByOrigin()).toEqual(before)
})

function opens<T extends AsyncDisposable>(thing: T): T {
  opened.push(thing)
  return thing
}

/** A few at a time. */
async function inLanes(all: readonly string[], work: (name: string) => Promise<void>): Promise<void> {
  const waiting = [...all]
  const lane = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) await work(name)
  }
  await Promise.all(Array.from({ length: 10 }, lane))
}

async function publish(name: string, port: number): Promise<void> {
  publishers.set(name, await publishPicture(port, name))
}

async function streamsByOrigin(): Promise<readonly (readonly string[])[]> {
  const all = await Promise.all(origins.map((origin) => origin.streams()))
  return all.map((streams) => streams.toSorted())
}

async function originsOf(gateway: Gateway): Promise<readonly unknown[]> {
  return (await askAdmin<{ readonly origins: readonly unknown[] }>(gateway, '/api/v1/origins')).origins
}

interface ShownStream {
  readonly key: string
  readonly originId: string
  readonly gateways: readonly string[]
}

async function shownBy(gateway: Gateway): Promise<readonly ShownStream[]> {
  return (await askAdmin<{ readonly streams: readonly ShownStream[] }>(gateway, '/api/v1/streams')).streams
}
