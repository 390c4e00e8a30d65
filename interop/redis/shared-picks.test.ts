import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../../src/foundation/eventually.testkit.ts'
import { announcement } from '../../src/mechanisms/balancer/conformance.testkit.ts'
import {
  type BalancerStore,
  type Claim,
  type Hold,
  type OriginId,
  parseStreamKey,
  type Role,
  type StreamKey,
} from '../../src/mechanisms/balancer/index.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'
import { openStore, openStores, type StoreFleetOptions, type StoreMember } from './store-fleet.ts'

let server: RedisProcess
let gateways: StoreMember[] = []
let tests = 0
let options: StoreFleetOptions

beforeAll(async () => {
  server = await startRedis()
})
afterAll(async () => await server[Symbol.asyncDispose]())
beforeEach(() => {
  // However slow the machine is: what takes longer is decided alone.
  options = { redis: { url: server.url, prefix: `picks-${tests++}`, timeoutSeconds: 30 } }
})
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway[Symbol.asyncDispose]()
})

async function open(
  count: number,
  given: Partial<StoreFleetOptions> = {},
): Promise<readonly BalancerStore[]> {
  options = { ...options, ...given }
  gateways.push(...(await openStores(count, options)))
  return gateways.map(({ store }) => store)
}

function stream(name: string | number): StreamKey {
  return parseStreamKey(`__defaultVhost__/live/${name}`)
}

/** Origins `0`, `1` ..., each announced at another gateway in turn. */
async function announce(stores: readonly BalancerStore[], count: number): Promise<readonly OriginId[]> {
  const ids: OriginId[] = []
  for (let at = 0; at < count; at++) {
    const id = await at0(stores, at).announce(
      announcement(`${at}`, { rtmp: [2000 + at], http: [3000 + at], api: [4000 + at] }),
    )
    ids.push(id)
  }
  for (const store of stores)
    await eventually(async () =>
      expect((await store.list()).map(({ id }) => id).sort()).toEqual([...ids].sort()),
    )
  return ids
}

function at0(stores: readonly BalancerStore[], at: number): BalancerStore {
  const store = stores[at % stores.length]
  if (store === undefined) throw new Error('no store')
  return store
}

async function kept(
  store: BalancerStore,
  key: StreamKey,
  role: Role,
  onMoved?: () => void,
): Promise<Claim & { hold: Hold }> {
  const claim = await store.pick(key, 'rtmp', { role })
  return { ...claim, hold: await claim.keep(onMoved) }
}

/** Where Redis has a stream. */
async function place(key: StreamKey): Promise<string> {
  const text = await server.command('GET', `${options.redis.prefix}:srs-proxy-url:${key}`)
  return String(text).replace(`${options.redis.prefix}:srs-proxy-server:`, '')
}

describe('picks of several gateways', () => {
  it('10,000 picks of 500 streams by three gateways at once lead each stream to one origin', async () => {
    const stores = await open(3)
    await announce(stores, 20)
    const chosen = new Map<StreamKey, Set<OriginId>>()
    await Promise.all(
      Array.from({ length: 10_000 }, async (_, time) => {
        const key = stream(time % 500)
        const role = time % 20 === 0 ? 'publish' : 'play'
        const claim = await at0(stores, Math.floor(time / 500)).pick(key, 'rtmp', { role })
        const origins = chosen.get(key) ?? new Set()
        chosen.set(key, origins.add(claim.origin.id))
        await claim.keep()
      }),
    )
    expect(chosen.size).toBe(500)
    expect([...chosen.values()].filter((origins) => origins.size !== 1)).toEqual([])
    expect(new Set([...chosen.values()].flatMap((origins) => [...origins])).size).toBeGreaterThan(10)
    for (const [key, [origin]] of chosen) expect(await place(key)).toBe(origin)
  })

  it('a new stream that is picked everywhere at the same instant has one origin, whoever accepts or refuses', async () => {
    const stores = await open(3)
    await announce(stores, 8)
    for (let round = 0; round < 30; round++) {
      const claims = await Promise.all(
        Array.from({ length: 9 }, (_, at) =>
          at0(stores, at).pick(stream(`new${round}`), 'rtmp', { role: 'play' }),
        ),
      )
      expect(new Set(claims.map(({ origin }) => origin.id)).size).toBe(1)
      const [first, ...others] = claims
      for (const claim of others) await claim.release()
      await first?.keep()
      const later = await at0(stores, round).pick(stream(`new${round}`), 'rtmp', { role: 'publish' })
      expect(later.origin.id).toBe(first?.origin.id)
      await later.release()
    }
  })

  it('what the origin refuses leaves nothing behind at any gateway', async () => {
    const stores = await open(2)
    await announce(stores, 8)
    const seen = new Set<OriginId>()
    for (let time = 0; time < 40; time++) {
      const claims = await Promise.all(
        stores.map((store) => store.pick(stream('absent'), 'rtmp', { role: 'play' })),
      )
      for (const claim of claims) seen.add(claim.origin.id)
      for (const claim of claims) await claim.release()
    }
    expect(seen.size).toBeGreaterThan(1)
    for (const store of stores) expect(await store.streams()).toEqual([])
    expect(await server.command('KEYS', `${options.redis.prefix}:srs-proxy-url:*`)).toEqual([])
  })

  it('origins, drains, pins and removals said to one gateway hold at all', async () => {
    const stores = await open(3)
    const [a, b, c] = stores
    const ids = await announce(stores, 3)
    const [first, second, third] = ids
    if (a === undefined || b === undefined || c === undefined || first === undefined) throw new Error('short')
    if (second === undefined || third === undefined) throw new Error('short')
    expect(await a.drain(first, true)).toBe(true)
    expect(await b.pin(stream('pinned'), third)).toBe(true)
    await eventually(async () => expect((await c.findOrigin(first))?.draining).toBe(true))
    for (let time = 0; time < 20; time++) {
      const claim = await c.pick(stream(`d${time}`), 'rtmp', { role: 'publish' })
      expect(claim.origin.id).not.toBe(first)
      await claim.release()
    }
    await eventually(async () => {
      const claim = await c.pick(stream('pinned'), 'rtmp', { role: 'publish' })
      await claim.release()
      expect(claim.origin.id).toBe(third)
    })
    // A gateway that comes later knows it from the start.
    gateways.push(await openStore('late', options))
    const late = gateways.at(-1)?.store
    expect((await late?.findOrigin(first))?.draining).toBe(true)
    expect((await late?.pick(stream('pinned'), 'rtmp', { role: 'publish' }))?.origin.id).toBe(third)
    expect(await b.clearPick(stream('pinned'))).toBe(true)
    expect(await b.remove(second)).toBe(true)
    await eventually(async () => expect(await a.findOrigin(second)).toBeUndefined())
    expect(await server.command('GET', `${options.redis.prefix}:srs-proxy-all-servers`)).not.toContain(second)
  })

  it('players at other gateways learn that their stream is published at another origin now', async () => {
    const stores = await open(3)
    const [a, b, c] = stores
    await announce(stores, 2)
    if (a === undefined || b === undefined || c === undefined) throw new Error('short')
    const first = await kept(a, stream('s'), 'publish')
    let moves = 0
    const player = await kept(b, stream('s'), 'play', () => moves++)
    expect(player.origin.id).toBe(first.origin.id)
    first.hold.end()
    await a.suspect(first.origin.id)
    await c.suspect(first.origin.id)
    // Whoever publishes next cannot reach the first origin.
    await eventually(async () => {
      const again = await c.pick(stream('s'), 'rtmp', { role: 'publish' })
      if (again.origin.id === first.origin.id) {
        await again.failed()
        throw new Error('still there')
      }
      await again.keep()
    })
    await eventually(() => expect(moves).toBe(1))
    expect(await place(stream('s'))).not.toBe(first.origin.id)
    player.hold.end()
  })

  it('a live publisher keeps its stream from moving, though another gateway cannot reach its origin', async () => {
    const stores = await open(2)
    const [a, b] = stores
    await announce(stores, 2)
    if (a === undefined || b === undefined) throw new Error('short')
    const live = await kept(a, stream('s'), 'publish')
    await eventually(async () => expect(await place(stream('s'))).toBe(live.origin.id))
    const player = await b.pick(stream('s'), 'rtmp', { role: 'play' })
    expect(player.origin.id).toBe(live.origin.id)
    await player.failed()
    expect(await place(stream('s'))).toBe(live.origin.id)
    await expect(
      b.pick(stream('s'), 'rtmp', { role: 'play', avoid: [live.origin.id] }),
    ).rejects.toMatchObject({
      code: 'BALANCER_NO_ORIGIN',
    })
    live.hold.end()
    await eventually(async () => {
      const next = await b.pick(stream('s'), 'rtmp', { role: 'play' })
      await next.failed()
      const after = await b.pick(stream('s'), 'rtmp', { role: 'play', avoid: [live.origin.id] })
      expect(after.origin.id).not.toBe(live.origin.id)
      await after.release()
    })
  })

  it('what a killed gateway used is free after its lease', async () => {
    await open(2)
    const [a, b] = gateways
    if (a === undefined || b === undefined) throw new Error('short')
    await announce([a.store, b.store], 2)
    const live = await kept(a.store, stream('s'), 'publish')
    await eventually(async () => expect(await place(stream('s'))).toBe(live.origin.id))
    const before = await b.store.pick(stream('s'), 'rtmp', { role: 'play' })
    await before.keep()
    await a.kill()
    gateways = [b]
    await eventually(async () => {
      const claim = await b.store.pick(stream('s'), 'rtmp', { role: 'play' })
      await claim.failed()
      const next = await b.store.pick(stream('s'), 'rtmp', { role: 'publish', avoid: [live.origin.id] })
      expect(next.origin.id).not.toBe(live.origin.id)
      await next.release()
    })
  })

  it('an origin’s word that it has a stream reaches every gateway', async () => {
    const stores = await open(3)
    const [a, b, c] = stores
    const [first, second] = await announce(stores, 2)
    if (a === undefined || b === undefined || c === undefined || first === undefined || second === undefined)
      throw new Error('short')
    expect(await a.follow(stream('s'), second, true)).toBe(true)
    expect((await b.pick(stream('s'), 'rtmp', { role: 'play' })).origin.id).toBe(second)
    // Another one hears of its end.
    expect(await c.follow(stream('s'), second, false)).toBe(true)
    expect(await c.follow(stream('s'), second, false)).toBe(false)
    expect(await b.follow(stream('s'), first, true)).toBe(true)
    await eventually(async () =>
      expect((await a.pick(stream('s'), 'rtmp', { role: 'play' })).origin.id).toBe(first),
    )
  })

  it('streams are listed with their gateways', async () => {
    const stores = await open(3)
    await announce(stores, 2)
    const [a, b, c] = gateways
    if (a === undefined || b === undefined || c === undefined) throw new Error('short')
    await kept(a.store, stream('s'), 'publish')
    await kept(b.store, stream('s'), 'play')
    await eventually(async () => {
      const [listed] = await c.store.streams()
      expect(listed).toMatchObject({ key: stream('s'), publishers: 1, players: 1 })
      expect([...(listed?.gateways ?? [])].sort()).toEqual([a.fleet.id, b.fleet.id].sort())
    })
  })
})

describe('a Redis that goes', () => {
  it('with its data: what is held is there again, and a stream stays where it is', async () => {
    const stores = await open(3)
    await announce(stores, 4)
    const held = await Promise.all(
      Array.from({ length: 60 }, (_, at) =>
        kept(at0(stores, at), stream(at), at % 2 === 0 ? 'publish' : 'play'),
      ),
    )
    await server.command('FLUSHALL')
    for (const [at, { origin }] of held.entries())
      await eventually(async () => expect(await place(stream(at))).toBe(origin.id))
    for (const [at, { origin }] of held.entries())
      expect((await at0(stores, at + 1).pick(stream(at), 'rtmp', { role: 'play' })).origin.id).toBe(origin.id)
  })

  it('for a while: known streams are picked as before, new ones are placed and agreed on when it is back', async () => {
    const own = await startRedis()
    options = { redis: { url: own.url, prefix: 'away' } }
    try {
      const stores = await open(2)
      const [a, b] = stores
      if (a === undefined || b === undefined) throw new Error('short')
      await announce(stores, 4)
      const before = await kept(a, stream('known'), 'publish')
      const watched = await kept(b, stream('known'), 'play')
      await own.kill()
      await eventually(() => expect(gateways.every(({ redis }) => !redis.isUp)).toBe(true))
      for (const store of stores)
        expect((await store.pick(stream('known'), 'rtmp', { role: 'play' })).origin.id).toBe(before.origin.id)
      const fresh = await kept(a, stream('fresh'), 'publish')
      await own.start()
      await eventually(() => expect(gateways.every(({ redis }) => redis.isUp)).toBe(true))
      await eventually(async () => {
        expect((await b.pick(stream('fresh'), 'rtmp', { role: 'play' })).origin.id).toBe(fresh.origin.id)
      })
      await eventually(async () => {
        const text = await own.command('GET', 'away:srs-proxy-url:__defaultVhost__/live/known')
        expect(text).toBe(`away:srs-proxy-server:${before.origin.id}`)
      })
      watched.hold.end()
      fresh.hold.end()
    } finally {
      for (const gateway of gateways.splice(0)) await gateway[Symbol.asyncDispose]()
      await own[Symbol.asyncDispose]()
    }
  })

  it('for good: a gateway starts, serves what registers with it, and picks at once', async () => {
    options = { redis: { url: 'redis://127.0.0.1:1', prefix: 'none' } }
    const [a] = await open(1)
    if (a === undefined) throw new Error('short')
    const id = await a.announce(announcement('alone'))
    expect((await kept(a, stream('s'), 'publish')).origin.id).toBe(id)
    expect((await a.pick(stream('s'), 'flv', { role: 'play' })).origin.id).toBe(id)
  })
})
