import { afterEach, expect, it } from 'vitest'
import { eventually } from '../../src/foundation/eventually.testkit.ts'
import { announcement } from '../../src/mechanisms/balancer/conformance.testkit.ts'
import {
  type BalancerStore,
  parseStreamKey,
  type Role,
  type Stream,
} from '../../src/mechanisms/balancer/index.ts'
import { startRedis } from './redis-process.ts'
import { openStores } from './store-fleet.ts'

const KEY = parseStreamKey('__defaultVhost__/live/listed')

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]()
})

it('a list of streams has the sessions of its own gateway, and those of each other gateway as one', async () => {
  const server = await startRedis()
  opened.push(server)
  const members = await openStores(3, { redis: { url: server.url, timeoutSeconds: 30 }, leaseMs: 10_000 })
  opened.push(...members)
  const [a, b, c] = members.map(({ store }): BalancerStore => store)
  if (a === undefined || b === undefined || c === undefined) throw new Error('no stores')
  const ids = members.map(({ fleet }) => fleet.id)
  const id = await a.announce(announcement('one', { rtmp: [1935] }))
  await eventually(async () => {
    for (const store of [a, b, c]) expect(await store.list()).toHaveLength(1)
  })
  const use = async (store: BalancerStore, role: Role) =>
    await (await store.pick(KEY, 'rtmp', { role })).keep()

  // The third one knows the stream, and nobody uses it there any more.
  await use(a, 'publish')
  ;(await use(c, 'play')).end()
  await use(b, 'play')
  await use(b, 'play')

  const listed = async (store: BalancerStore): Promise<Partial<Stream> | undefined> =>
    (await store.streams())[0]
  const seen = { key: KEY, originId: id, gateways: ids.slice(0, 2) }
  await eventually(async () => expect(await listed(c)).toMatchObject({ ...seen, publishers: 1, players: 1 }))
  await eventually(async () => expect(await listed(b)).toMatchObject({ ...seen, publishers: 1, players: 2 }))
  await eventually(async () => expect(await listed(a)).toMatchObject({ ...seen, publishers: 1, players: 1 }))
})
