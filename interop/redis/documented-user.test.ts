import { readFileSync } from 'node:fs'
import { afterEach, expect, it } from 'vitest'
import { systemClock } from '../../src/foundation/clock.ts'
import { eventually } from '../../src/foundation/eventually.testkit.ts'
import { announcement } from '../../src/mechanisms/balancer/conformance.testkit.ts'
import { originIdOf, parseStreamKey } from '../../src/mechanisms/balancer/index.ts'
import { newGatewayId } from '../../src/mechanisms/fleet/index.ts'
import { SharedCounts } from '../../src/mechanisms/quota/index.ts'
import { createRegistry, silentLogger } from '../../src/mechanisms/telemetry/index.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'
import { openStores, type StoreMember } from './store-fleet.ts'
import { startSentinels } from './sentinels.ts'
import { startCluster } from './cluster.ts'
import { createRedis } from '../../src/mechanisms/redis/index.ts'

const GUIDE = readFileSync(new URL('../../docs/fleet.md', import.meta.url), 'utf8')
/** Stands in the guide. */
const PASSWORD = 'change-me'
const ORIGIN = originIdOf({ server: 'one', service: 'one', pid: '1' })
/** Without braces and with some: keys of ours are made in another way. */
const STREAMS = ['plain', 'with{some}braces'].map((name) => parseStreamKey(`__defaultVhost__/live/${name}`))

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]()
})

it.each<[string, 'live' | undefined]>([
  ['without a prefix', undefined],
  ['with the prefix live', 'live'],
])('the user of the guide may do all that gateways do, %s', async (_, prefix) => {
  const server = await startRedis()
  opened.push(server)
  await server.command('ACL', ...commandOfGuide(prefix))
  const members = await openStores(2, {
    redis: {
      url: `redis://127.0.0.1:${server.port}`,
      user: 'sluice',
      password: PASSWORD,
      database: 3,
      timeoutSeconds: 30,
      ...(prefix !== undefined && { prefix }),
    },
    leaseMs: 3000,
  })
  opened.push(...members)
  await useAll(members)
  expect(await refused(server)).toEqual([])
})

it('the same on a Cluster', async () => {
  const cluster = await startCluster()
  opened.push(cluster)
  for (const server of cluster.servers) await server.command('ACL', ...commandOfGuide())
  const members = await openStores(2, {
    redis: { cluster: cluster.nodes, user: 'sluice', password: PASSWORD, timeoutSeconds: 30 },
    leaseMs: 3000,
  })
  opened.push(...members)
  await useAll(members)
  for (const server of cluster.servers) expect(await refused(server)).toEqual([])
})

it('the user of the guide at Sentinels may ask for the master', async () => {
  const sentinels = await startSentinels({ replicas: 0, sentinels: 1 })
  opened.push(sentinels)
  for (const sentinel of sentinels.sentinelProcesses) await sentinel.command('ACL', ...wordsOf('sentinel'))
  const redis = createRedis({
    sentinels: sentinels.sentinels,
    sentinelName: sentinels.name,
    sentinelUser: 'sluice',
    sentinelPassword: PASSWORD,
    logger: silentLogger(),
  })
  opened.push(redis)
  await redis.start()
  await eventually(() => expect(redis.isUp).toBe(true))
})

/** The line of the guide that makes the user, after `ACL`. */
function wordsOf(what: 'get' | 'sentinel'): readonly string[] {
  const lines = GUIDE.matchAll(/ACL (SETUSER sluice [^`\n]+)/g)
  const line = [...lines].map(([, words = '']) => words).find((words) => words.includes(`+${what}`))
  if (line === undefined) throw new Error(`docs/fleet.md does not say which user may ${what}`)
  return line.trim().split(' ')
}

/** With the keys and channels that the guide has for the prefix `live`. */
function commandOfGuide(prefix?: 'live'): readonly string[] {
  const words = wordsOf('get')
  if (prefix === undefined) return words
  const [, keys = '', channels = ''] =
    /With `prefix = "live"` the keys are `([^`]+)`, the channels `([^`]+)`/.exec(GUIDE) ?? []
  return [...words.filter((word) => !/^[~&]/.test(word)), ...keys.split(' '), ...channels.split(' ')]
}

/** What was refused to the user, as Redis has noted it. */
async function refused(server: RedisProcess): Promise<readonly string[]> {
  const entries = (await server.command('ACL', 'LOG')) as readonly (readonly string[])[]
  return entries.map((entry) => entry.join(' '))
}

/** Each kind of thing that gateways have in common, through two of them. */
async function useAll(members: readonly StoreMember[]): Promise<void> {
  const [a, b] = members as [StoreMember, StoreMember]
  const id = await a.store.announce(announcement('one', { rtmp: [1935], http: [8080], rtc: [8000] }))
  await eventually(async () => expect(await b.store.list()).toHaveLength(1))
  for (const key of STREAMS) {
    const published = await (await a.store.pick(key, 'rtmp', { role: 'publish' })).keep()
    const played = await (await b.store.pick(key, 'rtmp', { role: 'play' })).keep()
    await eventually(async () =>
      expect((await b.store.streams()).find((stream) => stream.key === key)?.gateways).toHaveLength(2),
    )
    played.end()
    published.end()
    const refusedByOrigin = await b.store.pick(key, 'flv', { role: 'play' })
    await refusedByOrigin.release()
    await b.store.pin(key, id)
    await eventually(async () =>
      expect((await a.store.streams()).find((stream) => stream.key === key)?.isPinned).toBe(true),
    )
    await b.store.clearPick(key)
  }
  await useSessions(a, b)
  await useQuota(a)
  await b.store.drain(id, true)
  await eventually(async () => expect((await a.store.list())[0]?.draining).toBe(true))
  await b.store.drain(id, false)
  expect(await b.store.remove(id)).toBe(true)
  const unheardOf = newGatewayId('unheard-of')
  // It is sure of that when others have had the time of a lease to announce themselves.
  await eventually(async () => expect(await b.fleet.gone([unheardOf])).toEqual(new Set([unheardOf])))
  // Its goodbye.
  await a[Symbol.asyncDispose]()
  await eventually(() => expect(b.fleet.members()).toHaveLength(1))
}

async function useSessions(a: StoreMember, b: StoreMember): Promise<void> {
  const [streamKey = parseStreamKey('x')] = STREAMS
  await a.store.addSession({
    streamKey,
    role: 'play',
    username: 'answer:offer',
    originId: ORIGIN,
    originAddress: '127.0.0.1',
    originPort: 8000,
    icePassword: 'of the answer',
    resource: {
      id: 'one',
      tokenHash: 'hash',
      clientAddress: '192.0.2.1',
      sinceMs: 1_700_000_000_000,
      hasTcp: false,
    },
  })
  await eventually(async () => expect(await b.store.findSessionOfToken('hash')).toBeDefined())
  expect(await b.store.takeSession('answer:offer')).toBe(true)
  expect(await b.store.servesSession('answer:offer')).toBe(true)
  await b.store.renewSession('answer:offer')
  await b.store.removeSession('answer:offer')
  await eventually(async () => expect(await a.store.servesSession('answer:offer')).toBe(false))
  const { id } = await a.store.openHls(streamKey, 'http://127.0.0.1/live/plain.m3u8')
  await eventually(async () => expect(await b.store.findHls(id)).toBeDefined())
}

async function useQuota({ redis, fleet }: StoreMember): Promise<void> {
  const counts = new SharedCounts({
    redis,
    fleet,
    name: 'sluice-turn',
    most: () => 1,
    clock: systemClock,
    logger: silentLogger(),
    registry: createRegistry('test'),
    // A refusal must not come of a slow machine.
    deadlineMs: 60_000,
  })
  await counts.start()
  expect(await counts.take('alice')).toBe(true)
  counts.give('alice')
  await counts.close()
}
