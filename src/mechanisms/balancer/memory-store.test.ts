import { Registry } from 'prom-client'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { registerBalancerMetrics } from './balancer-metrics.ts'
import { announcement, describeBalancerStore } from './conformance.testkit.ts'
import type { Claim, Hold, Need, OriginId } from './contract.ts'
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
  })
})

/** One step of a random history; numbers are taken modulo what there is. */
type Step =
  | { readonly kind: 'announce' | 'drain' | 'undrain' | 'remove' | 'hold-end' | 'clear'; readonly n: number }
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
  fc.record({ kind: fc.constantFrom('announce', 'drain', 'undrain', 'remove', 'hold-end', 'clear'), n }),
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
        const holds: { key: StreamKey; publish: boolean; hold: Hold }[] = []
        for (const step of steps) {
          switch (step.kind) {
            case 'announce':
              await store.announce(ORIGINS[step.n % ORIGINS.length] ?? announcement('0'))
              break
            case 'drain':
            case 'undrain':
            case 'remove': {
              const origins = await store.list()
              const origin = origins[step.n % origins.length]
              if (origin === undefined) break
              if (step.kind === 'remove') await store.remove(origin.id)
              else await store.drain(origin.id, step.kind === 'drain')
              break
            }
            case 'hold-end':
              holds.splice(step.n % Math.max(1, holds.length), 1)[0]?.hold.end()
              break
            case 'clear':
              await store.clearPick(key(step.n % KEYS))
              break
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
                const hold = await ending.claim.keep().catch(() => undefined)
                if (hold !== undefined) holds.push({ ...ending, hold })
              } else await ending.claim[step.how]()
              break
            }
            default:
              step satisfies never
          }
          await checkBounds(store)
        }
        for (const { claim } of claims) await claim.release()
        for (const { hold } of holds) hold.end()
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
    return (
      origin !== undefined &&
      (need === 'webrtc' ? origin.rtc.length > 0 : need === 'srt' ? false : origin[need].length > 0)
    )
  }
  const healthy = origins.filter(({ id, state, draining }) => state === 'healthy' && !draining && offers(id))
  const role = isPublish ? 'publish' : 'play'
  let claim: Claim
  try {
    claim = await store.pick(wanted, need, { role })
  } catch (error) {
    const known = healthy.length > 0 ? /PROTOCOL_NOT_OFFERED|TOO_MANY_STREAMS/ : /^BALANCER_/
    expect(error).toMatchObject({ code: expect.stringMatching(known) })
    return undefined
  }
  expect(offers(claim.origin.id)).toBe(true)
  const isLive = kept !== undefined && kept.publishers > 0
  if (isLive) expect(claim.origin.id).toBe(kept.originId)
  else if (healthy.length > 0) expect(claim.origin.state).toBe('healthy')
  return claim
}

async function checkBounds(store: MemoryBalancerStore): Promise<void> {
  const stats = store.stats()
  expect(stats.streams).toBeLessThanOrEqual(3)
  expect(stats.pendingPicks).toBeLessThanOrEqual(3)
  const streams = await store.streams()
  const origins = await store.list()
  expect(origins.reduce((sum, { streams }) => sum + streams, 0)).toBe(streams.length)
  for (const { publishers, players, originId } of streams) {
    expect(publishers).toBeGreaterThanOrEqual(0)
    expect(players).toBeGreaterThanOrEqual(0)
    expect(origins.some(({ id }) => id === originId)).toBe(true)
  }
}
