import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DemoOriginProcess, startDemoOrigin } from './harness/demo-origin.ts'
import { makeSample } from './harness/ffmpeg.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { PersistentPublisher } from './harness/persistent-publisher.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'

describe('two origins and 20 streams', () => {
  const folder = temporaryFolder()
  const names = Array.from({ length: 20 }, (_, index) => `live/stream-${index}`)
  let gateway: Gateway
  let origins: readonly [DemoOriginProcess, DemoOriginProcess]
  let publishers: readonly PersistentPublisher[] = []

  beforeAll(async () => {
    const sample = join(folder.path, 'sample.flv')
    await makeSample(sample, 10)
    gateway = await startGateway()
    origins = [await startDemoOrigin(gateway.registrationUrl), await startDemoOrigin(gateway.registrationUrl)]
    publishers = names.map((name) => new PersistentPublisher(sample, `${gateway.rtmpUrl}/${name}`))
    await until(
      'all streams at the origins',
      async () => (await streamsOf(...origins)).flat().length === names.length,
      { deadlineMs: 30_000 },
    )
  })

  afterAll(async () => {
    await Promise.all(publishers.map((publisher) => publisher.stop()))
    await Promise.all(origins.map((origin) => origin[Symbol.asyncDispose]()))
    await gateway.stop()
    folder[Symbol.dispose]()
  })

  test('each stream is at one origin, and both are used', async () => {
    const [first, second] = await streamsOf(...origins)
    expect([...(first ?? []), ...(second ?? [])].toSorted()).toEqual(names.toSorted())
    expect(first?.length).toBeGreaterThan(0)
    expect(second?.length).toBeGreaterThan(0)
  })

  test('every stream plays through the gateway, wherever it is', async () => {
    const statuses = await Promise.all(
      names.map(async (name) => {
        const abort = new AbortController()
        const response = await fetch(`${gateway.url}/${name}.flv`, { signal: abort.signal })
        const first = await response.body?.getReader().read()
        abort.abort()
        return [response.status, (first?.value?.length ?? 0) > 0]
      }),
    )
    expect(statuses).toEqual(names.map(() => [200, true]))
  })

  test('streams of an origin that dies are published at the other within 5 s of the first failure', async () => {
    const [dying, other] = origins
    const moving = await dying.streams()
    const failuresBefore = failures()
    await dying.kill()
    await until('a publisher to notice', () => failures() > failuresBefore)
    await until(
      'all streams at the origin that is left',
      async () => (await other.streams()).length === names.length,
      { deadlineMs: 5_000 },
    )
    expect(moving.length).toBeGreaterThan(0)
    expect((await other.streams()).toSorted()).toEqual(names.toSorted())
  })

  function failures(): number {
    return publishers.reduce((sum, publisher) => sum + publisher.failures, 0)
  }
})

async function streamsOf(...origins: readonly DemoOriginProcess[]): Promise<readonly (readonly string[])[]> {
  return await Promise.all(origins.map((origin) => origin.streams()))
}
