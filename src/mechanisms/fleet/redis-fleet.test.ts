import { afterEach, describe, expect, it } from 'vitest'
import { eventually } from '../../foundation/eventually.testkit.ts'
import { type Logger, Registry, silentLogger } from '../telemetry/index.ts'
import { describeAs, fleetConformance, type Said } from './conformance.testkit.ts'
import type { FakeRedis } from './fake-redis.testkit.ts'
import { FakeRedisServer } from './fake-redis.testkit.ts'
import { gatewayId } from './gateway-id.ts'
import { RedisFleet, type RedisFleetOptions } from './redis-fleet.ts'

const LEASE_MS = 15_000
const KEY = 'p:sluice-gateways'

interface Member {
  readonly fleet: RedisFleet
  readonly redis: FakeRedis
  readonly said: Said
  readonly registry: Registry
  /** What it was told, in order. */
  readonly told: string[]
  readonly lines: string[]
}

const opened: RedisFleet[] = []
afterEach(async () => {
  for (const fleet of opened.splice(0)) await fleet.close()
})

function make(server: FakeRedisServer, id: string, options: Partial<RedisFleetOptions> = {}): Member {
  const [redis, said, registry] = [server.connect(), { isDraining: false, sessions: 0 }, new Registry()]
  const [told, lines]: [string[], string[]] = [[], []]
  const fleet = new RedisFleet({
    redis,
    id: gatewayId(id),
    version: '1.2.3',
    describe: describeAs(said),
    clock: server.clock,
    logger: loggerTo(lines),
    registry,
    ...options,
  })
  opened.push(fleet)
  fleet.onGone((gone) => told.push(`gone ${gone}`))
  fleet.onReturn(() => told.push('return'))
  return { fleet, redis, said, registry, told, lines }
}

async function open(
  server: FakeRedisServer,
  id: string,
  options: Partial<RedisFleetOptions> = {},
): Promise<Member> {
  const member = make(server, id, options)
  await member.fleet.start()
  return member
}

function loggerTo(lines: string[]): Logger {
  const log = silentLogger()
  const note = (_fields: unknown, text: unknown): void => void lines.push(String(text))
  return Object.assign(log, { child: () => Object.assign(silentLogger(), { warn: note, error: note }) })
}

const ids = ({ fleet }: Member): readonly string[] => fleet.members().map(({ id }) => id)

/** Moves the clock in steps of a second, and lets what is due then be done. */
async function pass(server: FakeRedisServer, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 1000) {
    server.clock.advance(Math.min(1000, left))
    await settled()
  }
}

/** The fake answers within microtasks. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** One that stops without a word. */
function kill({ fleet, redis }: Member): void {
  redis.setUp(false)
  opened.splice(opened.indexOf(fleet), 1)
}

describe('a fleet on Redis', () => {
  fleetConformance((id, say) => make(new FakeRedisServer(), id, { describe: say }).fleet)

  it('gateways find one another, by themselves', async () => {
    const server = new FakeRedisServer()
    const [a, b] = [await open(server, 'a'), await open(server, 'b')]
    expect(ids(b)).toEqual(['a', 'b'])
    await pass(server, LEASE_MS / 3)
    expect(ids(a)).toEqual(['a', 'b'])
    b.said.sessions = 7
    await pass(server, (2 * LEASE_MS) / 3)
    expect(a.fleet.members()[1]).toMatchObject({ id: 'b', version: '1.2.3', load: { sessions: 7 } })
    expect([...a.told, ...b.told]).toEqual([])
    expect(await a.registry.metrics()).toContain('sluice_fleet_gateways 2')
  })

  it('renews three times in a lease, each time with one command', async () => {
    const server = new FakeRedisServer()
    const a = await open(server, 'a')
    await pass(server, 4 * LEASE_MS)
    expect(a.redis.asked).toBe(1 + 12)
  })

  it('one that is killed has gone at the end of its lease, and is told of once', async () => {
    const server = new FakeRedisServer()
    const [a, b] = [await open(server, 'a'), await open(server, 'b')]
    await pass(server, 2 * LEASE_MS)
    kill(b)
    expect(await a.fleet.gone([b.fleet.id])).toEqual(new Set())
    await pass(server, LEASE_MS + LEASE_MS / 3)
    expect([ids(a), a.told]).toEqual([['a'], ['gone b']])
    expect(await a.fleet.gone([a.fleet.id, b.fleet.id])).toEqual(new Set(['b']))
    await pass(server, 4 * LEASE_MS)
    expect(a.told).toEqual(['gone b'])
  })

  it('one that closes says so, and has gone at once', async () => {
    const server = new FakeRedisServer()
    const [a, b] = [await open(server, 'a'), await open(server, 'b')]
    await pass(server, LEASE_MS)
    await b.fleet.close()
    expect([ids(a), a.told]).toEqual([['a'], ['gone b']])
    expect([...server.hash(KEY).keys()]).toEqual(['a'])
    expect(b.redis.listening).toBe(0)
    await pass(server, 2 * LEASE_MS)
    expect([ids(a), a.told]).toEqual([['a'], ['gone b']])
  })

  it('an answer that was under way at a goodbye does not bring the gateway back', async () => {
    const server = new FakeRedisServer()
    const [a, b] = [await open(server, 'a'), await open(server, 'b')]
    await pass(server, LEASE_MS)
    const late = server.hash(KEY).get('b') ?? ''
    await b.fleet.close()
    server.hash(KEY).set('b', late)
    await pass(server, LEASE_MS / 3)
    expect([ids(a), a.told]).toEqual([['a'], ['gone b']])
  })

  it('closing takes a second at most, however slow Redis is', async () => {
    const server = new FakeRedisServer()
    const a = await open(server, 'a')
    a.redis.run = () => new Promise(() => {})
    const closed = a.fleet.close()
    server.clock.advance(999)
    expect(server.clock.pending).toBe(1)
    server.clock.advance(1)
    await closed
    expect(server.clock.pending).toBe(0)
  })

  it('that it drains is known to others at once', async () => {
    const server = new FakeRedisServer()
    const [a, b] = [await open(server, 'a'), await open(server, 'b')]
    await pass(server, LEASE_MS)
    b.said.isDraining = true
    await b.fleet.announce()
    expect(a.fleet.members()[1]).toMatchObject({ id: 'b', isDraining: true })
  })

  it('an unknown id is asked of Redis, which may know it before the copy does', async () => {
    const server = new FakeRedisServer()
    const a = await open(server, 'a')
    await pass(server, 2 * LEASE_MS)
    await open(server, 'b')
    expect(ids(a)).toEqual(['a'])
    expect(await a.fleet.gone([gatewayId('b'), gatewayId('c')])).toEqual(new Set(['c']))
  })

  it('many ids are asked in several questions', async () => {
    const server = new FakeRedisServer()
    const a = await open(server, 'a')
    await pass(server, 2 * LEASE_MS)
    const before = a.redis.asked
    const many = Array.from({ length: 1200 }, (_, index) => gatewayId(`x${index}`))
    expect((await a.fleet.gone(many)).size).toBe(1200)
    expect(a.redis.asked - before).toBe(3)
  })

  it('whoever has just started calls nobody gone', async () => {
    const server = new FakeRedisServer()
    const a = await open(server, 'a')
    await pass(server, LEASE_MS - 1000)
    expect(await a.fleet.gone([gatewayId('c')])).toEqual(new Set())
    await pass(server, 1000)
    expect(await a.fleet.gone([gatewayId('c')])).toEqual(new Set(['c']))
  })
})

describe('Redis away', () => {
  it('keeps its list, and calls nobody gone, until a lease after the return', async () => {
    const server = new FakeRedisServer()
    const [a, b, c] = [await open(server, 'a'), await open(server, 'b'), await open(server, 'c')]
    await pass(server, 2 * LEASE_MS)
    server.setUp(false)
    await pass(server, 3 * LEASE_MS)
    expect([ids(a), a.told]).toEqual([['a', 'b', 'c'], []])
    await expect(a.fleet.gone([gatewayId('x')])).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    expect(await a.fleet.gone([b.fleet.id])).toEqual(new Set())
    kill(c)
    a.redis.setUp(true)
    await settled()
    expect([ids(a), a.told]).toEqual([['a', 'b', 'c'], ['return']])
    expect(await a.fleet.gone([gatewayId('x'), b.fleet.id])).toEqual(new Set())
    b.redis.setUp(true)
    await pass(server, LEASE_MS + LEASE_MS / 3)
    expect([ids(a), a.told]).toEqual([
      ['a', 'b'],
      ['return', 'gone c'],
    ])
    expect(b.told).toEqual(['return', 'gone c'])
  })

  it('costs little: it is asked a few times in a lease, and tells no more than the connection does', async () => {
    const server = new FakeRedisServer()
    const a = await open(server, 'a')
    server.setUp(false)
    const before = a.redis.asked
    await pass(server, LEASE_MS)
    expect(a.redis.asked - before).toBeLessThanOrEqual(15)
    expect(a.lines).toEqual([])
    server.setUp(true)
    a.redis.isSlow = true
    await pass(server, LEASE_MS)
    expect(a.lines).toEqual(['gateway cannot announce itself'])
  })

  it('what is sent is lost and counted, and is heard again afterwards', async () => {
    const server = new FakeRedisServer()
    const [a, b] = [await open(server, 'a'), await open(server, 'b')]
    const heard: unknown[] = []
    b.fleet.on('t', (data) => heard.push(data))
    server.setUp(false)
    a.fleet.send('all', 't', 1)
    await settled()
    server.setUp(true)
    a.fleet.send('all', 't', 2)
    await settled()
    expect(heard).toEqual([2])
    const metrics = await a.registry.metrics()
    expect(metrics).toContain('sluice_fleet_messages_total{outcome="lost"} 1')
    expect(metrics).toContain('sluice_fleet_messages_total{outcome="sent"} 1')
  })

  it('a gateway that starts meanwhile is announced afterwards, and says what it holds', async () => {
    const server = new FakeRedisServer()
    const a = make(server, 'a')
    server.setUp(false)
    await a.fleet.start()
    expect([ids(a), a.told]).toEqual([['a'], []])
    server.setUp(true)
    await settled()
    expect([...server.hash(KEY).keys()]).toEqual(['a'])
    expect(a.told).toEqual(['return'])
  })

  it('a gateway whose first announcement failed says what it holds once it is announced', async () => {
    const server = new FakeRedisServer()
    const a = make(server, 'a')
    a.redis.isSlow = true
    await a.fleet.start()
    a.redis.isSlow = false
    await pass(server, 1000)
    expect([[...server.hash(KEY).keys()], a.told]).toEqual([['a'], ['return']])
  })

  it('a return is told of once, though the first renewals after it fail', async () => {
    const server = new FakeRedisServer()
    const a = await open(server, 'a')
    server.setUp(false)
    a.redis.isSlow = true
    server.setUp(true)
    await pass(server, 2000)
    expect(a.told).toEqual([])
    a.redis.isSlow = false
    await pass(server, 2 * LEASE_MS)
    expect(a.told).toEqual(['return'])
  })

  it('that comes and goes all the time is told of to each that asks, and to the log now and then', async () => {
    const server = new FakeRedisServer()
    const lines: string[] = []
    const info = (_fields: unknown, text: unknown): void => void lines.push(String(text))
    const logger = Object.assign(silentLogger(), { child: () => Object.assign(silentLogger(), { info }) })
    const a = await open(server, 'a', { logger })
    for (let times = 0; times < 20; times++) {
      server.setUp(false)
      server.setUp(true)
      await pass(server, 1000)
    }
    expect([a.told.length, lines]).toEqual([20, ['Redis is back, what this gateway holds is said again']])
  })

  it('a slow answer or two is no return', async () => {
    const server = new FakeRedisServer()
    const a = await open(server, 'a')
    a.redis.isSlow = true
    await pass(server, LEASE_MS / 2)
    a.redis.isSlow = false
    await pass(server, 2 * LEASE_MS)
    expect(a.told).toEqual([])
  })

  it('whoever was cut off until its lease had run out says again what it holds', async () => {
    const server = new FakeRedisServer()
    const [a, b] = [await open(server, 'a'), await open(server, 'b')]
    await pass(server, 2 * LEASE_MS)
    b.redis.isSlow = true
    await pass(server, 2 * LEASE_MS)
    expect(a.told).toEqual(['gone b'])
    b.redis.isSlow = false
    await pass(server, LEASE_MS / 3)
    expect([ids(a), b.told]).toEqual([['a', 'b'], ['return']])
  })
})

describe('Redis emptied', () => {
  it('every gateway says again what it holds, once, and none is called gone', async () => {
    const server = new FakeRedisServer()
    const members = [await open(server, 'a'), await open(server, 'b'), await open(server, 'c')]
    await pass(server, 2 * LEASE_MS)
    server.flush()
    await pass(server, 3 * LEASE_MS)
    for (const member of members) {
      expect(ids(member)).toEqual(['a', 'b', 'c'])
      expect(member.told).toEqual(['return'])
    }
    server.flush()
    await pass(server, LEASE_MS)
    for (const { told } of members) expect(told).toEqual(['return', 'return'])
  })
})

describe('messages', () => {
  it('go to one gateway or to all others, and only to those who hear the topic', async () => {
    const server = new FakeRedisServer()
    const [a, b, c] = [await open(server, 'a'), await open(server, 'b'), await open(server, 'c')]
    const heard: unknown[] = []
    for (const { fleet } of [a, b, c]) fleet.on('t', (data, from) => heard.push([fleet.id, from, data]))
    a.fleet.send('all', 't', { x: 1 })
    a.fleet.send(c.fleet.id, 't', [2])
    a.fleet.send('all', 'other', 3)
    await settled()
    expect(heard).toEqual([
      ['b', 'a', { x: 1 }],
      ['c', 'a', { x: 1 }],
      ['c', 'a', [2]],
    ])
  })

  it('are heard until that is ended, and one that fails keeps nothing from others', async () => {
    const server = new FakeRedisServer()
    const [a, b] = [await open(server, 'a'), await open(server, 'b')]
    const heard: unknown[] = []
    b.fleet.on('t', () => {
      throw new Error('fails')
    })
    const end = b.fleet.on('t', (data) => heard.push(data))
    a.fleet.send('all', 't', 1)
    await settled()
    end()
    a.fleet.send('all', 't', 2)
    await settled()
    expect(heard).toEqual([1])
    expect(b.lines).toEqual(['a listener failed'])
  })

  it('that are too long are not sent', async () => {
    const server = new FakeRedisServer()
    const [a, b] = [await open(server, 'a'), await open(server, 'b')]
    const heard: unknown[] = []
    b.fleet.on('t', (data) => heard.push(data))
    a.fleet.send('all', 't', 'x'.repeat(65_536))
    a.fleet.send('all', 't', 'x'.repeat(65_000))
    await settled()
    expect(heard).toEqual(['x'.repeat(65_000)])
    expect(await a.registry.metrics()).toContain('sluice_fleet_messages_total{outcome="bad"} 1')
  })

  it.each([
    ['no JSON', '{'],
    ['no object', '5'],
    ['no sender', '{"topic":"t"}'],
    ['a sender that is no id', '{"from":"a b","topic":"t"}'],
    ['no topic', '{"from":"x"}'],
    ['too long', JSON.stringify({ from: 'x', topic: 't', data: 'y'.repeat(70_000) })],
    ['nested without end', `{"from":"x","topic":"t","data":${'['.repeat(30_000)}`],
  ])('that are %s are counted and passed over', async (_, message) => {
    const server = new FakeRedisServer()
    const a = await open(server, 'a')
    const heard: unknown[] = []
    a.fleet.on('t', (data) => heard.push(data))
    await a.redis.publish('p:sluice-bus', message)
    expect(heard).toEqual([])
    expect(await a.registry.metrics()).toContain('sluice_fleet_messages_total{outcome="bad"} 1')
  })

  it.each([
    null,
    5,
    { bye: 7 },
    { bye: 'x'.repeat(100) },
    { bye: 'another run' },
    { is: { instance: 'another run' } },
    { is: null },
  ])('of a gateway about itself, such as %j, change nothing when they are wrong', async (data) => {
    const server = new FakeRedisServer()
    const [a] = [await open(server, 'a'), await open(server, 'b')]
    await pass(server, LEASE_MS)
    await a.redis.publish('p:sluice-bus', JSON.stringify({ from: 'b', topic: 'sluice-fleet', data }))
    expect([ids(a), a.told]).toEqual([['a', 'b'], []])
  })
})

describe('entries in Redis', () => {
  it.each([
    ['nothing of use', 'rubbish'],
    ['no JSON', '9999999999999 {'],
    ['other JSON', '1767225700000 {"version":1}'],
    ['a time that no page can show', `1767225700000 ${entryJson({ startedMs: 1e300 })}`],
    ['far too much', `1767225700000 ${entryJson({ version: 'x'.repeat(9000) })}`],
  ])('with %s are passed over', async (_, value) => {
    const server = new FakeRedisServer()
    server.hash(KEY).set('x', value)
    server.hash(KEY).set('not an id', `1767225700000 ${entryJson({})}`)
    server.hash(KEY).set('good', `1767225700000 ${entryJson({})}`)
    const a = await open(server, 'a')
    expect(ids(a)).toEqual(['a', 'good'])
  })

  it('one gateway too many is not announced, and says so', async () => {
    const server = new FakeRedisServer()
    for (let index = 0; index < 1000; index++) {
      server.hash(KEY).set(`x${index}`, `${server.clock.wallMs() + 20_000} ${entryJson({})}`)
    }
    const a = await open(server, 'a')
    expect(server.hash(KEY).has('a')).toBe(false)
    expect(a.lines).toEqual(['too many gateways share this Redis, this one is not announced'])
    await pass(server, 21_000)
    expect(ids(a)).toEqual(['a'])
    expect(server.hash(KEY).has('a')).toBe(true)
  })

  it('have the first addresses where those are many, and none where they are too long', async () => {
    const server = new FakeRedisServer()
    const say = (http: readonly string[]) => () => ({
      ...describeAs({ isDraining: true, sessions: 1 })(),
      addresses: { http },
    })
    const many = Array.from({ length: 100 }, (_, index) => `10.0.0.1:${index}`)
    await open(server, 'a', { describe: say(many) })
    await open(server, 'b', { describe: say(many.map((text) => text.padEnd(250))) })
    const c = await open(server, 'c')
    const [first, second] = c.fleet.members()
    expect(first).toMatchObject({ id: 'a', addresses: { http: many.slice(0, 64) }, isDraining: true })
    expect(second).toMatchObject({ id: 'b', addresses: {}, isDraining: true })
  })

  it('two gateways of one id are told apart, and both say so', async () => {
    const server = new FakeRedisServer()
    const [first, second] = [await open(server, 'a'), await open(server, 'a')]
    await eventually(async () => {
      await pass(server, 1000)
      for (const { lines } of [first, second]) {
        expect(lines).toEqual(['another gateway has the same id: give each its own'])
      }
    })
    await first.fleet.close()
    expect([first.told, second.told]).toEqual([[], []])
  })

  it('a new run of the same id does not go with the goodbye of the one before', async () => {
    const server = new FakeRedisServer()
    const [watcher, before] = [await open(server, 'w'), await open(server, 'a')]
    const after = await open(server, 'a')
    await pass(server, 1000)
    await before.fleet.close()
    expect(server.hash(KEY).has('a')).toBe(true)
    await pass(server, LEASE_MS)
    expect([ids(watcher), after.told]).toEqual([['a', 'w'], []])
  })
})

it.each([0, 999, 3_600_001, Number.NaN])('a lease of %d ms is refused', (leaseMs) => {
  expect(() => make(new FakeRedisServer(), 'a', { leaseMs })).toThrow(
    expect.objectContaining({ code: 'FLEET_BAD_OPTION' }),
  )
})

function entryJson(over: object): string {
  const { addresses, load, isDraining } = describeAs({ isDraining: false, sessions: 0 })()
  const entry = { instance: 'i', version: 'v', startedMs: 1, addresses, load, isDraining, ...over }
  return JSON.stringify(entry)
}
