import { Registry } from 'prom-client'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { registerBalancerMetrics } from './balancer-metrics.ts'
import { announcement, describeBalancerStore } from './conformance.testkit.ts'
import type { Claim, Hold, Need, OriginId, Stream } from './contract.ts'
import { offers as offersNeed } from './origin-target.ts'
import { MemoryBalancerStore, type MemoryBalancerStoreOptions } from './memory-store.ts'
import { streamKeyOf, type StreamKey } from './stream-key.ts'

describeBalancerStore('the memory store', async (settings) => {
  const clock = new ManualClock()
  return {
    store: new MemoryBalancerStore({ ...settings, clock }),
    advance: async (ms) => clock.advance(ms),
    close: async () => {},
  }
})

const key = (name: string | number): StreamKey => streamKeyOf('', 'live', `${name}`)

function create(options: MemoryBalancerStoreOptions = {}): {
  store: MemoryBalancerStore
  clock: ManualClock
} {
  const clock = new ManualClock()
  return { store: new MemoryBalancerStore({ clock, ...options }), clock }
}

async function publish(store: MemoryBalancerStore, name: string | number): Promise<Hold> {
  return (await store.pick(key(name), 'rtmp', { role: 'publish' })).keep()
}

describe('bounds of the memory store', () => {
  it('options out of range are refused by name', () => {
    for (const bad of [
      { maxPicks: 0 },
      { pickIdleMs: -1 },
      { maxSessions: 1.5 },
      { suspectMs: Number.NaN },
    ]) {
      expect(() => new MemoryBalancerStore(bad)).toThrow(new RegExp(`^${Object.keys(bad)[0]} is `))
    }
    expect(() => new MemoryBalancerStore({ forgetAfterMs: 1000 })).toThrow(/^forgetAfterMs is 1000/)
  })

  it('at maxOrigins the oldest silent one is forgotten, and live ones are never pushed out', async () => {
    const { store, clock } = create({ maxOrigins: 2 })
    await store.announce(announcement('a'))
    clock.advance(1)
    await store.announce(announcement('b'))
    await expect(store.announce(announcement('c'))).rejects.toMatchObject({
      code: 'BALANCER_TOO_MANY_ORIGINS',
    })
    await store.announce(announcement('b'))
    clock.advance(299_999)
    await store.announce(announcement('c'))
    expect((await store.list()).map(({ server }) => server)).toEqual(['server-b', 'server-c'])
  })

  it('a silent origin is forgotten in time, but not while a publisher is live there', async () => {
    const { store, clock } = create({ forgetAfterMs: 400_000 })
    await store.announce(announcement('a'))
    const hold = await publish(store, 's')
    clock.advance(500_000)
    expect(await store.list()).toHaveLength(1)
    hold.end()
    expect(await store.list()).toHaveLength(0)
    expect(await store.streams()).toEqual([])
  })

  it('at maxPicks the longest idle pick goes; with all in use, new streams are refused', async () => {
    const { store, clock } = create({ maxPicks: 2 })
    await store.announce(announcement('a'))
    const [first, second] = [await publish(store, 1), await publish(store, 2)]
    await expect(store.pick(key(3), 'rtmp', { role: 'publish' })).rejects.toMatchObject({
      code: 'BALANCER_TOO_MANY_STREAMS',
      status: 503,
    })
    second.end()
    clock.advance(1)
    first.end()
    const [late, latest] = await Promise.all(
      [3, 4].map((name) => store.pick(key(name), 'rtmp', { role: 'publish' })),
    )
    await late?.keep()
    expect((await store.streams()).map(({ key }) => key)).toEqual([key(1), key(3)])
    await publish(store, 1)
    await expect(latest?.keep()).rejects.toMatchObject({ code: 'BALANCER_TOO_MANY_STREAMS' })
    expect(store.stats()).toMatchObject({ streams: 2, pendingPicks: 0, picks: { too_many_streams: 1 } })
  })

  it('what ends at a cleared pick makes no room', async () => {
    const { store } = create({ maxPicks: 1 })
    await store.announce(announcement('a'))
    const cleared = await publish(store, 1)
    await store.clearPick(key(1))
    await publish(store, 2)
    cleared.end()
    await expect(store.pick(key(3), 'rtmp', { role: 'publish' })).rejects.toMatchObject({
      code: 'BALANCER_TOO_MANY_STREAMS',
    })
  })

  it('a stranger who never lets an origin answer holds no more than maxPending keys', async () => {
    const { store } = create({ maxPending: 3 })
    await store.announce(announcement('a'))
    await publish(store, 'kept')
    const claims: Claim[] = []
    for (let time = 0; time < 10; time++) claims.push(await store.pick(key(time), 'rtmp', { role: 'play' }))
    expect(store.stats()).toMatchObject({ streams: 1, pendingPicks: 3 })
    await claims[0]?.keep()
    for (const claim of claims) await claim.release()
    expect(store.stats()).toMatchObject({ streams: 2, pendingPicks: 0 })
  })

  it('at maxSessions further sessions are refused until one goes', async () => {
    const { store, clock } = create({ maxSessions: 1 })
    const origin = await store.announce(announcement('a'))
    const session = (username: string): Parameters<typeof store.addSession>[0] => ({
      streamKey: key('s'),
      role: 'play',
      username,
      originId: origin,
      originAddress: '127.0.0.1',
      originPort: 8000,
      icePassword: 'p',
    })
    await store.addSession(session('a:b'))
    await expect(store.addSession(session('c:d'))).rejects.toMatchObject({
      code: 'BALANCER_TOO_MANY_SESSIONS',
    })
    clock.advance(120_000)
    await store.addSession(session('c:d'))
    expect(store.stats().sessions).toBe(1)
  })
})

describe('bounds of pins, follows and HLS sessions', () => {
  it('there are at most maxPicks pins', async () => {
    const { store } = create({ maxPicks: 1 })
    const origin = await store.announce(announcement('a'))
    await store.pin(key(1), origin)
    await store.pin(key(1), origin)
    await expect(store.pin(key(2), origin)).rejects.toMatchObject({ code: 'BALANCER_TOO_MANY_STREAMS' })
    expect(store.stats()).toMatchObject({ pinned: 1, streams: 0 })
  })

  it('an origin that says it has more streams than fit is not followed, and pushes none out that is in use', async () => {
    const { store } = create({ maxPicks: 2 })
    const origin = await store.announce(announcement('a'))
    const hold = await publish(store, 'used')
    await store.follow(key(1), origin, true)
    await expect(store.follow(key(2), origin, true)).rejects.toMatchObject({
      code: 'BALANCER_TOO_MANY_STREAMS',
    })
    expect(store.stats()).toMatchObject({ streams: 2, followed: 1 })
    hold.end()
    expect(await store.follow(key(2), origin, true)).toBe(true)
    expect((await store.streams()).map(({ key }) => key)).toEqual([key(1), key(2)])
    await store.remove(origin)
    expect(store.stats()).toMatchObject({ streams: 0, followed: 0 })
  })

  it('at maxHlsSessions the session unused for longest goes', async () => {
    const { store } = create({ maxHlsSessions: 2 })
    const [first, second] = [await store.openHls(key(1), 'u'), await store.openHls(key(2), 'u')]
    await store.findHls(first.id)
    await store.openHls(key(3), 'u')
    expect(await store.findHls(second.id)).toBeUndefined()
    expect(await store.findHls(first.id)).toEqual(first)
    expect(store.stats().hlsSessions).toBe(2)
  })

  // Reference 9, number 21: every playlist request added an entry that was never removed.
  it('many requests for a playlist make one HLS session, and none is left afterwards', async () => {
    const { store, clock } = create()
    for (let time = 0; time < 100; time++) await store.openHls(key(1), 'u')
    expect(store.stats().hlsSessions).toBe(1)
    clock.advance(120_000)
    expect(store.stats().hlsSessions).toBe(0)
  })

  it('ids that are taken are not given twice', async () => {
    const { store } = create({ random: () => 1 - 2 ** -53 })
    const ids = [await store.openHls(key(1), 'u'), await store.openHls(key(2), 'u')].map(({ id }) => id)
    expect(ids).toEqual(['fffffff', '0000000'])
  })

  it('other rules for new streams leave what is kept', async () => {
    const { store } = create({ zone: 'a' })
    await store.announce(announcement('a', { zone: 'a' }))
    await store.announce(announcement('b', { zone: 'b' }))
    await publish(store, 1)
    store.setPlacement({ zone: 'b' })
    await publish(store, 1)
    await publish(store, 2)
    expect((await store.streams()).map(({ originId }) => originId)).toEqual([
      'server-a-service-1',
      'server-b-service-1',
    ])
  })
})

describe('metrics of the balancer', () => {
  it('show origins by state, streams and picks by result at each scrape', async () => {
    const { store } = create()
    const registry = new Registry()
    registerBalancerMetrics(registry, () => store.stats())
    await store.announce(announcement('a'))
    await publish(store, 's')
    await publish(store, 's')
    await registry.metrics()
    await store.pick(key('t'), 'srt', { role: 'play' }).catch(() => {})
    const text = await registry.metrics()
    expect(text).toContain('sluice_origins{state="healthy"} 1')
    expect(text).toContain('sluice_origins{state="silent"} 0')
    expect(text).toContain('sluice_streams 1')
    expect(text).toContain('sluice_picks_total{result="chosen"} 1')
    expect(text).toContain('sluice_picks_total{result="kept"} 1')
    expect(text).toContain('sluice_picks_total{result="no_origin"} 1')
    expect(text).toContain('sluice_streams_pinned 0')
    expect(text).toContain('sluice_streams_followed 0')
    expect(text).toContain('sluice_balancer_hls_sessions 0')
  })
})

/** One step of a random history; numbers are taken modulo what there is. */
type Step =
  | {
      readonly kind: 'announce' | 'drain' | 'undrain' | 'remove' | 'suspect' | 'hold-end' | 'clear'
      readonly n: number
    }
  | { readonly kind: 'pin' | 'follow' | 'unfollow'; readonly n: number; readonly origin: number }
  | { readonly kind: 'advance'; readonly ms: number }
  | { readonly kind: 'pick'; readonly n: number; readonly publish: boolean; readonly need: Need }
  | { readonly kind: 'end'; readonly n: number; readonly how: 'keep' | 'release' | 'failed' }

const KEYS = 4
const ORIGINS = [
  announcement('0', { rtmp: [1] }),
  announcement('1', { rtmp: [2], api: [], rtc: [] }),
  announcement('2', { rtmp: [3], http: [] }),
]
const n = fc.nat(30)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('announce', 'drain', 'undrain', 'remove', 'suspect', 'hold-end', 'clear'),
    n,
  }),
  fc.record({ kind: fc.constantFrom('pin', 'follow', 'unfollow'), n, origin: n }),
  fc.record({
    kind: fc.constant('advance'),
    ms: fc.constantFrom(1, 5000, 10_000, 299_999, 300_000, 600_000),
  }),
  fc.record({
    kind: fc.constant('pick'),
    n,
    publish: fc.boolean(),
    need: fc.constantFrom<Need>('rtmp', 'flv', 'whip'),
  }),
  fc.record({ kind: fc.constant('end'), n, how: fc.constantFrom('keep', 'release', 'failed') }),
)

describe('any history of the memory store', () => {
  it('keeps live streams in place, stays bounded, and never picks a dead origin when a healthy one fits', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { store, clock } = create({ maxPicks: 3, maxPending: 3 })
        const claims: { key: StreamKey; publish: boolean; claim: Claim }[] = []
        const holds: HeldInTest[] = []
        for (const step of steps) {
          switch (step.kind) {
            case 'announce':
              await store.announce(ORIGINS[step.n % ORIGINS.length] ?? announcement('0'))
              break
            case 'drain':
            case 'undrain':
            case 'remove':
            case 'suspect': {
              const origins = await store.list()
              const origin = origins[step.n % origins.length]
              if (origin === undefined) break
              if (step.kind === 'remove') await store.remove(origin.id)
              else if (step.kind === 'suspect') await store.suspect(origin.id)
              else await store.drain(origin.id, step.kind === 'drain')
              break
            }
            case 'hold-end':
              holds.splice(step.n % Math.max(1, holds.length), 1)[0]?.hold.end()
              break
            case 'clear':
              await store.clearPick(key(step.n % KEYS))
              break
            case 'pin':
            case 'follow':
            case 'unfollow': {
              const origins = await store.list()
              const origin = origins[step.origin % origins.length]
              if (origin === undefined) break
              const wanted = key(step.n % KEYS)
              if (step.kind === 'pin') await store.pin(wanted, origin.id).catch(() => {})
              else await checkedFollow(store, wanted, origin.id, step.kind === 'follow')
              break
            }
            case 'advance':
              clock.advance(step.ms)
              break
            case 'pick': {
              const wanted = key(step.n % KEYS)
              const picked = await checkedPick(store, wanted, step.need, step.publish)
              if (picked !== undefined) claims.push({ key: wanted, publish: step.publish, claim: picked })
              break
            }
            case 'end': {
              const [ending] = claims.splice(step.n % Math.max(1, claims.length), 1)
              if (ending === undefined) break
              if (step.how === 'keep') {
                const moved = { count: 0 }
                const onMoved = (): void => void moved.count++
                const hold = await ending.claim.keep(onMoved).catch(() => undefined)
                if (hold !== undefined) holds.push({ ...ending, hold, moved, origin: ending.claim.origin.id })
              } else await ending.claim[step.how]()
              break
            }
            default:
              step satisfies never
          }
          await checkBounds(store)
        }
        await checkMoves(store, holds)
        for (const { claim } of claims) await claim.release()
        for (const { hold } of holds) hold.end()
        for (const { id } of await store.list())
          for (let at = 0; at < KEYS; at++) await store.follow(key(at), id, false)
        for (const { key, isPinned } of await store.streams()) if (isPinned) await store.clearPick(key)
        expect(store.stats().pendingPicks).toBe(0)
        expect((await store.streams()).every(({ publishers, players }) => publishers + players === 0)).toBe(
          true,
        )
        clock.advance(600_000)
        expect(await store.streams()).toEqual([])
        expect((await store.list()).every(({ streams }) => streams === 0)).toBe(true)
      }),
      { numRuns: 300 },
    )
  })
})

interface HeldInTest {
  readonly key: StreamKey
  readonly publish: boolean
  readonly hold: Hold
  readonly moved: { readonly count: number }
  readonly origin: OriginId
}

async function checkedFollow(
  store: MemoryBalancerStore,
  wanted: StreamKey,
  id: OriginId,
  isLive: boolean,
): Promise<void> {
  const before = (await store.streams()).find(({ key }) => key === wanted)
  const isThere = await store.follow(wanted, id, isLive).catch(() => undefined)
  const after = (await store.streams()).find(({ key }) => key === wanted)
  if (before !== undefined && before.publishers > 0) expect(after?.originId).toBe(before.originId)
  if (isLive && isThere === true) expect(after).toMatchObject({ originId: id, isFollowed: true })
  if (!isLive && after?.originId === id) expect(after.isFollowed).toBe(false)
}

/** Players learn of a stream that is live elsewhere, once, and nobody else does. */
async function checkMoves(store: MemoryBalancerStore, holds: readonly HeldInTest[]): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
  const streams = await store.streams()
  for (const { key, publish, moved, origin } of holds) {
    const now = streams.find((stream) => stream.key === key)
    const isLive = now !== undefined && (now.publishers > 0 || now.isFollowed)
    expect(moved.count).toBeLessThanOrEqual(publish ? 0 : 1)
    if (!publish && isLive && now.originId !== origin) expect(moved.count).toBe(1)
  }
}

async function checkedPick(
  store: MemoryBalancerStore,
  wanted: StreamKey,
  need: Need,
  isPublish: boolean,
): Promise<Claim | undefined> {
  const origins = await store.list()
  const kept = (await store.streams()).find(({ key }) => key === wanted)
  const offers = (id: OriginId): boolean => {
    const origin = origins.find((origin) => origin.id === id)
    return origin !== undefined && offersNeed(origin, need)
  }
  const healthy = origins.filter(({ id, state, draining }) => state === 'healthy' && !draining && offers(id))
  const role = isPublish ? 'publish' : 'play'
  const isPinnedTo =
    kept?.isPinned === true && origins.some(({ id, state }) => id === kept.originId && state === 'healthy')
  let claim: Claim
  try {
    claim = await store.pick(wanted, need, { role })
  } catch (error) {
    const known = healthy.length > 0 ? /PROTOCOL_NOT_OFFERED|TOO_MANY_STREAMS/ : /^BALANCER_/
    expect(error).toMatchObject({ code: expect.stringMatching(known) })
    return undefined
  }
  expect(offers(claim.origin.id)).toBe(true)
  const isLive = kept !== undefined && (kept.publishers > 0 || (kept.isFollowed && !isPublish))
  // A publisher may be led to a pin instead, whose origin is healthy then.
  if (isLive && !(isPublish && claim.origin.state === 'healthy')) expect(claim.origin.id).toBe(kept.originId)
  else if (isPinnedTo && offers(kept.originId)) expect(claim.origin.id).toBe(kept.originId)
  else if (healthy.length > 0) expect(claim.origin.state).toBe('healthy')
  return claim
}

async function checkBounds(store: MemoryBalancerStore): Promise<void> {
  const stats = store.stats()
  expect(stats.streams).toBeLessThanOrEqual(3)
  expect(stats.pendingPicks).toBeLessThanOrEqual(3)
  const streams = await store.streams()
  const origins = await store.list()
  // A pin is listed without a pick.
  const isPinOnly = ({ isPinned, isFollowed, publishers, players }: Stream): boolean =>
    isPinned && !isFollowed && publishers + players === 0
  const kept = streams.filter((stream) => !isPinOnly(stream)).length
  const counted = origins.reduce((sum, { streams }) => sum + streams, 0)
  expect(counted).toBeGreaterThanOrEqual(kept)
  expect(counted).toBeLessThanOrEqual(streams.length)
  expect(stats.streams).toBe(counted)
  for (const { publishers, players, originId } of streams) {
    expect(publishers).toBeGreaterThanOrEqual(0)
    expect(players).toBeGreaterThanOrEqual(0)
    expect(origins.some(({ id }) => id === originId)).toBe(true)
  }
}
