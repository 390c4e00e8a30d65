import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../src/foundation/clock.ts'
import { eventually } from '../../src/foundation/eventually.testkit.ts'
import { announcement } from '../../src/mechanisms/balancer/conformance.testkit.ts'
import {
  type Claim,
  type Hold,
  type OriginId,
  parseStreamKey,
  type Role,
} from '../../src/mechanisms/balancer/index.ts'
import { passTime } from './pass-time.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'
import type { RespClient } from './resp-client.ts'
import { Messages, openWatched, type WatchedGateway } from './shared-kit.ts'

let server: RedisProcess
let redis: RespClient
let tests = 0
let prefix = ''
let messages: Messages
let clock: ManualClock
const gateways: WatchedGateway[] = []

beforeAll(async () => {
  server = await startRedis()
  redis = await server.connect()
})
afterAll(async () => {
  redis.close()
  await server[Symbol.asyncDispose]()
})
beforeEach(() => {
  prefix = `races-${tests++}`
  messages = new Messages()
  clock = new ManualClock(Date.now())
})
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway[Symbol.asyncDispose]()
})

const S = parseStreamKey('__defaultVhost__/live/s')

async function open(name: string, maxPicks?: number): Promise<WatchedGateway> {
  const limits = maxPicks === undefined ? {} : { maxPicks }
  const gateway = await openWatched(name, { url: server.url, prefix, messages, clock, ...limits })
  gateways.push(gateway)
  return gateway
}

async function announce({ store }: WatchedGateway, name: string): Promise<OriginId> {
  const port = Number(name)
  return await store.announce(
    announcement(name, { rtmp: [2000 + port], http: [3000 + port], api: [4000 + port] }),
  )
}

async function pick({ store }: WatchedGateway, role: Role, key = S): Promise<Claim> {
  return await store.pick(key, 'rtmp', { role })
}

async function held(gateway: WatchedGateway, role: Role, key = S): Promise<Hold> {
  const claim = await pick(gateway, role, key)
  const hold = await claim.keep()
  await gateway.redis.settled()
  return hold
}

async function settled(): Promise<void> {
  for (const gateway of gateways) await gateway.redis.settled()
}

async function pass(ms: number): Promise<void> {
  const [first] = gateways
  if (first !== undefined) await passTime(first.redis, clock, ms)
  await settled()
}

async function place(key = S): Promise<string | undefined> {
  const text = await redis.command('GET', `${prefix}:srs-proxy-url:${key}`)
  return typeof text === 'string' ? text.replace(`${prefix}:srs-proxy-server:`, '') : undefined
}

/** Who uses a stream, as Redis has it. */
async function users(role: Role, key = S): Promise<readonly string[]> {
  const names = await redis.command('HKEYS', `sluice-${role}:{${prefix}:srs-proxy-url:${key}}`)
  return Array.isArray(names) ? names.map(String).toSorted() : []
}

describe('what a session costs', () => {
  it('a new stream waits for Redis once, what is known not at all', async () => {
    const [a, b] = [await open('a'), await open('b')]
    await announce(a, '1')
    await settled()
    const count = async (act: () => Promise<unknown>): Promise<readonly string[]> => {
      const before = b.redis.asked.length
      await act()
      return b.redis.asked.slice(before)
    }
    let claim: Claim | undefined
    expect(await count(async () => (claim = await pick(b, 'publish')))).toEqual(['pick'])
    // Said in the background: nobody waits for it.
    b.redis.holdsBack.add('use')
    expect(await count(async () => await claim?.keep())).toEqual(['use'])
    b.redis.letGo()
    await settled()
    expect(await count(() => held(b, 'play'))).toEqual([])
    // At another gateway, of which this one knows nothing.
    const before = a.redis.asked.length
    await (await pick(a, 'play')).keep()
    expect(a.redis.asked.slice(before)).toEqual(['pick', 'use'])
    await settled()
    const hls = await b.store.openHls(S, 'http://host/live/s.m3u8')
    await settled()
    expect(
      await count(async () => {
        for (let segment = 0; segment < 100; segment++) await b.store.findHls(hls.id)
      }),
    ).toEqual([])
    await b.store.addSession({
      streamKey: S,
      role: 'play',
      username: 'a:b',
      originId: claim?.origin.id as OriginId,
      originAddress: '127.0.0.1',
      originPort: 8000,
    })
    await settled()
    expect(
      await count(async () => {
        for (let check = 0; check < 100; check++) await b.store.findSession('a:b')
      }),
    ).toEqual([])
  })

  it('an origin that goes with thousands of streams does not fill the connection', async () => {
    const a = await open('a')
    const [first] = [await announce(a, '1')]
    for (let number = 0; number < 3000; number++)
      await (await pick(a, 'play', parseStreamKey(`__defaultVhost__/live/${number}`))).keep()
    await settled()
    a.redis.mostInFlight = 0
    await a.store.remove(first)
    await eventually(async () => {
      expect(await redis.command('EXISTS', `${prefix}:srs-proxy-url:__defaultVhost__/live/2999`)).toBe(0)
    })
    expect(a.redis.mostInFlight).toBeLessThan(200)
  })
})

describe('uses', () => {
  it('of a stream that users come for all the time are renewed', async () => {
    const a = await open('a')
    await announce(a, '1')
    await held(a, 'publish')
    for (let time = 0; time < 40; time++) {
      await pass(20_000)
      await announce(a, '1')
      // There is always another one whose turn comes first.
      await held(a, 'publish', parseStreamKey(`__defaultVhost__/live/quiet${time}`))
      ;(await held(a, 'play')).end()
    }
    expect(await place()).toBe('server-1-service-1')
    expect(await users('publish')).toEqual(['a'])
  })

  it('that Redis has heard of without its answer coming back end all the same', async () => {
    const a = await open('a')
    await announce(a, '1')
    const claim = await pick(a, 'publish')
    a.redis.loses.set('use', 0)
    const hold = await claim.keep()
    await settled()
    expect(await users('publish')).toEqual(['a'])
    hold.end()
    await settled()
    expect(await users('publish')).toEqual([])
  })

  it('that end before their answer comes have ended when it comes', async () => {
    const a = await open('a')
    await announce(a, '1')
    const claim = await pick(a, 'publish')
    a.redis.holdsBack.add('use')
    const hold = await claim.keep()
    await settled()
    hold.end()
    a.redis.letGo()
    await settled()
    expect(await users('publish')).toEqual([])
  })

  it('that change while an answer is on its way are what they are at last', async () => {
    const a = await open('a')
    await announce(a, '1')
    await held(a, 'play')
    const published = await held(a, 'publish')
    a.redis.holdsBack.add('use')
    published.end()
    await settled()
    await held(a, 'publish')
    a.redis.letGo()
    await settled()
    expect(await users('publish')).toEqual(['a'])
    expect(await users('play')).toEqual([])
  })

  it('begun anew are not ended by what was owed of earlier ones', async () => {
    const a = await open('a')
    await announce(a, '1')
    const first = await held(a, 'publish')
    a.redis.isAway = true
    first.end()
    // Forgotten meanwhile.
    clock.advance(20_000)
    a.redis.isAway = false
    await held(a, 'publish')
    await pass(20_000)
    expect(await users('publish')).toEqual(['a'])
  })

  it('kept after others cleared the stream are told to all', async () => {
    const [a, b] = [await open('a'), await open('b')]
    await announce(a, '1')
    const claim = await pick(a, 'publish')
    await b.store.clearPick(S)
    const hold = await claim.keep()
    await settled()
    expect(await users('publish')).toEqual(['a'])
    expect(a.store.sharing.held).toBe(1)
    hold.end()
    await settled()
    expect(await users('publish')).toEqual([])
    expect(a.store.sharing.held).toBe(0)
  })

  it('outlive the release of a claim from before they began', async () => {
    const [a, b] = [await open('a'), await open('b')]
    await announce(a, '1')
    const early = await pick(a, 'play')
    await b.store.clearPick(S)
    await held(a, 'publish')
    await early.release()
    await settled()
    expect(await users('publish')).toEqual(['a'])
    expect(a.store.sharing.held).toBe(1)
  })

  it('of a player whose stream is elsewhere are said there, and nowhere else', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const [first, second] = [await announce(a, '1'), await announce(b, '2')]
    await settled()
    await a.store.pin(S, first)
    await settled()
    const published = await held(a, 'publish')
    await held(a, 'play')
    // Nobody hears that the stream moves.
    messages.isLost = true
    await b.store.pin(S, second)
    await held(b, 'publish')
    expect(await place()).toBe(second)
    published.end()
    await settled()
    expect(await users('publish')).toEqual(['b'])
    expect(await users('play')).toEqual(['a'])
    expect(await redis.command('HGET', `sluice-play:{${prefix}:srs-proxy-url:${S}}`, 'a')).toContain(second)
  })

  it('a publisher at another origin has the stream once the first one has ended', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const [first] = [await announce(a, '1')]
    b.redis.isAway = true
    const published = await held(a, 'publish')
    await b.store.announce(announcement('2', { rtmp: [2002], http: [3002], api: [4002] }))
    const claim = await b.store.pick(S, 'rtmp', { role: 'publish', avoid: [first] })
    await claim.keep()
    b.redis.isAway = false
    b.fleet.return()
    await pass(10_000)
    expect(await place()).toBe(first)
    expect(b.store.sharing.conflicts).toBeGreaterThan(0)
    published.end()
    await pass(10_000)
    expect(await place()).toBe('server-2-service-1')
    expect(await users('publish')).toEqual(['b'])
  })
})

describe('what others do', () => {
  it('counts no more at the moment they have gone, and is taken out of Redis', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const [first, second] = [await announce(a, '1'), await announce(b, '2')]
    await settled()
    await b.store.list()
    await a.store.pin(S, first)
    await held(a, 'publish')
    await held(b, 'play')
    b.redis.isAway = true
    const elsewhere = { role: 'play', avoid: [first] } as const
    await expect(b.store.pick(S, 'rtmp', elsewhere)).rejects.toMatchObject({ code: 'BALANCER_NO_ORIGIN' })
    messages.leave(a.fleet.id)
    expect((await b.store.pick(S, 'rtmp', elsewhere)).origin.id).toBe(second)
    b.redis.isAway = false
    await (await pick(b, 'publish')).keep()
    await settled()
    expect(await users('publish')).toEqual(['b'])
  })

  it('counts again when what was published here has ended', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const first = await announce(a, '1')
    b.redis.isAway = true
    await held(a, 'publish')
    await announce(b, '2')
    const claim = await b.store.pick(S, 'rtmp', { role: 'publish', avoid: [first] })
    const hold = await claim.keep()
    b.redis.isAway = false
    b.fleet.return()
    await pass(10_000)
    hold.end()
    await settled()
    await b.store.suspect(first)
    // It is live there.
    expect((await pick(b, 'play')).origin.id).toBe(first)
    expect(await place()).toBe(first)
  })

  it('says nothing of a place that failed while its answer was on its way', async () => {
    const [a, b] = [await open('a'), await open('b')]
    await announce(a, '1')
    await announce(a, '2')
    await held(a, 'play')
    const claim = await pick(a, 'play')
    a.redis.holdsBack.add('use')
    b.fleet.send('all', 'stream', { key: S })
    await settled()
    await claim.failed()
    a.redis.letGo()
    await settled()
    expect(await place()).toBeUndefined()
    expect(await users('play')).toEqual([])
  })
})

describe('claims', () => {
  it('that Redis leaves half-way are open and count', async () => {
    const a = await open('a')
    const [first, second] = [await announce(a, '1'), await announce(a, '2')]
    await a.store.pin(S, first)
    ;(await held(a, 'publish')).end()
    await a.store.clearPick(S)
    await redis.command('SET', `${prefix}:srs-proxy-url:${S}`, `${prefix}:srs-proxy-server:${second}`)
    await a.store.pin(S, first)
    // The first answer leads to the other origin, then it is gone.
    a.redis.loses.set('pick', 1)
    const claim = await pick(a, 'publish')
    expect(a.redis.loses.get('pick')).toBe(0)
    const hold = await claim.keep()
    expect(await a.store.streams()).toMatchObject([{ originId: first, publishers: 1 }])
    hold.end()
  })

  it('lead to a live publisher though nobody has heard of its origin for long', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const first = await announce(a, '1')
    await settled()
    await b.store.list()
    await held(a, 'publish')
    for (let minute = 0; minute < 6; minute++) {
      await pass(60_000)
      await announce(b, '2')
    }
    expect((await b.store.findOrigin(first))?.state).toBe('silent')
    const claim = await pick(b, 'play')
    expect(claim.origin.id).toBe(first)
    await claim.release()
    expect(await place()).toBe(first)
  })
})

describe('the word of an origin', () => {
  it('that another gateway hears the end of is not said again', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const first = await announce(a, '1')
    await settled()
    expect(await a.store.follow(S, first, true)).toBe(true)
    expect(await b.store.follow(S, first, false)).toBe(true)
    await pass(400_000)
    expect(await users('publish')).not.toContain(`@${first}`)
    expect(a.store.sharing.held).toBe(0)
  })

  it('holds though its end was said before it, and its gateway was away when it heard it', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const first = await announce(a, '1')
    await settled()
    await b.store.follow(S, first, false)
    await redis.command(
      'HSET',
      `sluice-publish:{${prefix}:srs-proxy-url:${S}}`,
      `!@${first}`,
      Date.now() - 60_000,
    )
    a.redis.isAway = true
    await a.store.follow(S, first, true)
    a.redis.isAway = false
    await pass(10_000)
    expect(await users('publish')).toContain(`@${first}`)
  })

  it('that was taken back while its gateway was away is not said when that is back', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const first = await announce(a, '1')
    await settled()
    a.redis.isAway = true
    await a.store.follow(S, first, true)
    clock.advance(60_000)
    await b.store.follow(S, first, false)
    a.redis.isAway = false
    await pass(10_000)
    expect(await users('publish')).not.toContain(`@${first}`)
    expect(a.store.sharing.held).toBe(0)
  })

  it('ends with the origin', async () => {
    const a = await open('a')
    const [first] = [await announce(a, '1'), await announce(a, '2')]
    await a.store.follow(S, first, true)
    await a.store.remove(first)
    await pass(400_000)
    expect(a.store.sharing.held).toBe(0)
    expect(await users('publish')).not.toContain(`@${first}`)
  })

  it('ends when the origin falls silent', async () => {
    const a = await open('a')
    const [first] = [await announce(a, '1'), await announce(a, '2')]
    await a.store.follow(S, first, true)
    await pass(500_000)
    expect(a.store.sharing.held).toBe(0)
    expect(await users('publish')).not.toContain(`@${first}`)
  })

  it('counts once a publisher elsewhere has ended', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const [first, second] = [await announce(a, '1'), await announce(b, '2')]
    await settled()
    await b.store.pin(S, second)
    const published = await held(b, 'publish')
    await a.store.follow(S, first, true)
    expect(await place()).toBe(second)
    await pass(10_000)
    expect(await place()).toBe(second)
    published.end()
    await pass(10_000)
    expect(await place()).toBe(first)
  })

  it('keeps the stream there after a viewer has come and gone, and its gateway too', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const [first] = [await announce(a, '1'), await announce(b, '2')]
    await settled()
    await a.store.follow(S, first, true)
    await a.store.close()
    ;(await held(b, 'play')).end()
    for (let minute = 0; minute < 15; minute++) {
      await pass(60_000)
      await announce(b, '1')
      await announce(b, '2')
    }
    expect(await place()).toBe(first)
    expect((await pick(b, 'play')).origin.id).toBe(first)
  })

  it('is worth nothing once the origin could not be reached', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const [first] = [await announce(a, '1'), await announce(b, '2')]
    await settled()
    await a.store.follow(S, first, true)
    const claim = await pick(a, 'play')
    expect(claim.origin.id).toBe(first)
    await claim.failed()
    await pass(200_000)
    expect(await users('publish')).not.toContain(`@${first}`)
    expect(a.store.sharing.held).toBe(0)
  })
})

describe('a gateway that was away', () => {
  it('does not lead to an origin that was removed meanwhile', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const [first] = [await announce(a, '1'), await announce(b, '2')]
    await settled()
    await b.store.list()
    b.redis.isAway = true
    messages.isLost = true
    await a.store.remove(first)
    b.redis.isAway = false
    b.fleet.return()
    await pass(2000)
    expect((await b.store.list()).map(({ id }) => id)).toEqual(['server-2-service-1'])
    // It may come back.
    await announce(b, '1')
    await pass(20_000)
    expect((await a.store.list()).map(({ id }) => id)).toContain(first)
    expect((await b.store.list()).map(({ id }) => id)).toContain(first)
  })

  it('says what it has removed meanwhile', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const first = await announce(a, '1')
    await settled()
    expect(await b.store.list()).toHaveLength(1)
    a.redis.isAway = true
    messages.isLost = true
    await a.store.remove(first)
    a.redis.isAway = false
    a.fleet.return()
    await pass(40_000)
    for (const { store } of gateways) expect(await store.list()).toEqual([])
  })

  it('does not know an earlier run again when the later one is removed', async () => {
    const [a, b] = [await open('a'), await open('b')]
    await announce(a, '1')
    await settled()
    await b.store.list()
    messages.isLost = true
    const second = await a.store.announce(
      announcement('1', { pid: '2', rtmp: [2001], http: [3001], api: [4001] }),
    )
    await a.store.remove(second)
    await pass(20_000)
    expect(await a.store.list()).toEqual([])
    expect(await redis.command('KEYS', `${prefix}:srs-proxy-server:*`)).toEqual([])
  })

  it('does not bring orders back that ended meanwhile', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const first = await announce(a, '1')
    await settled()
    await a.store.drain(first, true)
    await a.store.pin(S, first)
    await settled()
    expect((await b.store.findOrigin(first))?.draining).toBe(true)
    b.redis.isAway = true
    messages.isLost = true
    await a.store.drain(first, false)
    await a.store.clearPick(S)
    b.redis.isAway = false
    b.fleet.return()
    await pass(2000)
    expect((await b.store.findOrigin(first))?.draining).toBe(false)
    expect(await b.store.streams()).toEqual([])
    await pass(120_000)
    expect((await a.store.findOrigin(first))?.draining).toBe(false)
    expect(await a.store.streams()).toEqual([])
  })

  it('says the orders that it was given', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const [first, second] = [await announce(a, '1'), await announce(a, '2')]
    await settled()
    await a.store.drain(second, true)
    await settled()
    b.redis.isAway = true
    await b.store.drain(first, true)
    await b.store.drain(second, false)
    b.redis.isAway = false
    b.fleet.return()
    await pass(2000)
    expect((await a.store.findOrigin(first))?.draining).toBe(true)
    expect((await a.store.findOrigin(second))?.draining).toBe(false)
  })

  it('says orders again that Redis has lost', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const first = await announce(a, '1')
    await settled()
    await a.store.drain(first, true)
    await a.store.pin(S, first)
    await settled()
    await redis.command('FLUSHALL')
    b.fleet.return()
    await pass(2000)
    expect(await redis.command('HKEYS', `${prefix}:sluice-drained`)).toContain(first)
    expect(await redis.command('HKEYS', `${prefix}:sluice-pins`)).toContain(S)
  })

  it('an order that overtakes a reading of all orders stands', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const first = await announce(a, '1')
    await settled()
    a.redis.holdsBack.add('HGETALL')
    b.fleet.send('all', 'orders', {})
    await settled()
    await a.store.drain(first, true)
    a.redis.letGo()
    await settled()
    expect((await a.store.findOrigin(first))?.draining).toBe(true)
  })
})

describe('a Redis of strange contents', () => {
  it('does not keep streams from being served', async () => {
    const a = await open('a')
    const first = await announce(a, '1')
    const url = `${prefix}:srs-proxy-url:${S}`
    for (const text of [
      '',
      'x',
      `${prefix}:srs-proxy-server:`,
      `${prefix}:srs-proxy-server:no-such-one`,
      '{'.repeat(9999),
    ]) {
      await redis.command('SET', url, text)
      const claim = await pick(a, 'play')
      expect(claim.origin.id).toBe(first)
      await claim.release()
    }
    await redis.command('DEL', url)
    await redis.command('RPUSH', url, 'x')
    const claim = await pick(a, 'play')
    expect(claim.origin.id).toBe(first)
    ;(await claim.keep()).end()
    await settled()
  })

  it('publishers without number cost a bounded number of questions', async () => {
    const a = await open('a')
    const first = await announce(a, '1')
    await redis.command('SET', `${prefix}:srs-proxy-url:${S}`, `${prefix}:srs-proxy-server:${first}`)
    const fields = Array.from({ length: 20_000 }, (_, number) => [
      `g${number}`,
      `${prefix}:srs-proxy-server:o${number}`,
    ])
    await redis.command('HSET', `sluice-publish:{${prefix}:srs-proxy-url:${S}}`, ...fields.flat())
    const before = a.redis.asked.length
    expect((await pick(a, 'play')).origin.id).toBe(first)
    expect(a.redis.asked.length - before).toBeLessThan(500)
  })

  it('a list of 100,000 servers that are not there shrinks, and those that are there are known', async () => {
    const names = Array.from({ length: 100_000 }, (_, number) => `${prefix}:srs-proxy-server:x${number}`)
    await redis.command('SET', `${prefix}:srs-proxy-all-servers`, JSON.stringify(names))
    const a = await open('a')
    const first = await announce(a, '1')
    expect((await pick(a, 'play')).origin.id).toBe(first)
    const list = JSON.parse(String(await redis.command('GET', `${prefix}:srs-proxy-all-servers`))) as string[]
    expect(list).toHaveLength(90_001)
    expect(list.at(-1)).toBe(`${prefix}:srs-proxy-server:${first}`)
  })
})
