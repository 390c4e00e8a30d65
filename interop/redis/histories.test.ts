import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { eventually } from '../../src/foundation/eventually.testkit.ts'
import { announcement } from '../../src/mechanisms/balancer/conformance.testkit.ts'
import {
  type Claim,
  type Hold,
  type OriginId,
  originIdOf,
  parseStreamKey,
  type Role,
  type StreamKey,
} from '../../src/mechanisms/balancer/index.ts'
import type { RedisScript } from '../../src/mechanisms/redis/index.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'
import { openStore, openStores, type StoreMember } from './store-fleet.ts'
import { ToxicLink } from './toxic-link.ts'

/** Histories of each kind; they run beside one another, so that all together take as long as the slowest. */
const HISTORIES = 16
const SEED = 20_261_126
const GATEWAYS = 3
const ORIGINS = 4
const STREAMS = 4

type Step =
  | {
      readonly do: 'announce' | 'restart' | 'remove' | 'suspect'
      readonly at: number
      readonly origin: number
    }
  | { readonly do: 'drain'; readonly at: number; readonly origin: number; readonly on: boolean }
  | { readonly do: 'pick'; readonly at: number; readonly stream: number; readonly role: Role }
  | { readonly do: 'keep' | 'release' | 'unreachable' | 'silent' | 'end'; readonly which: number }
  | {
      readonly do: 'follow'
      readonly at: number
      readonly stream: number
      readonly origin: number
      readonly on: boolean
    }
  | { readonly do: 'clear'; readonly at: number; readonly stream: number }
  | { readonly do: 'pin'; readonly at: number; readonly stream: number; readonly origin: number }
  | { readonly do: 'flush' }
  | { readonly do: 'cut' | 'stall' | 'mend' | 'kill' | 'close'; readonly at: number }

const at = fc.nat(GATEWAYS - 1)
const origin = fc.nat(ORIGINS - 1)
const stream = fc.nat(STREAMS - 1)
const which = fc.nat()
const on = fc.boolean()
const pick = fc.record({
  do: fc.constant('pick' as const),
  at,
  stream,
  role: fc.constantFrom<Role>('publish', 'play', 'play'),
})
const claimed = fc.record({
  do: fc.constantFrom('keep' as const, 'keep' as const, 'release' as const),
  which,
})
const ended = fc.record({ do: fc.constant('end' as const), which })

/** What users and origins do. */
const used = [
  { weight: 8, arbitrary: pick },
  { weight: 7, arbitrary: claimed },
  { weight: 3, arbitrary: ended },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('unreachable' as const, 'silent' as const), which }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('announce' as const, 'suspect' as const), at, origin }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('follow' as const), at, stream, origin, on }) },
]

/** What operators do. */
const ordered = [
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drain' as const), at, origin, on }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('remove' as const, 'restart' as const), at, origin }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const), at, stream }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pin' as const), at, stream, origin }) },
]

/** What breaks. */
const broken = [
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('cut' as const, 'stall' as const, 'mend' as const), at }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('kill' as const, 'close' as const), at }) },
]

/** Makes every key of a prefix so much older that only what has no end is left. ARGV: 1 pattern of the keys. */
const AGE: RedisScript = {
  name: 'age-all',
  lua: `
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  if redis.call('PTTL', key) >= 0 then redis.call('DEL', key) end
end
return 1
`,
}

const FLUSH: RedisScript = {
  name: 'flush-prefix',
  lua: `
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end
return 1
`,
}

interface User {
  readonly at: StoreMember
  readonly key: StreamKey
  readonly role: Role
  readonly origin: OriginId
}

let server: RedisProcess
let histories = 0

beforeAll(async () => {
  server = await startRedis({ args: ['--maxclients', '2000'] })
})
afterAll(async () => await server[Symbol.asyncDispose]())

/** Three gateways on one Redis, what was done to them, and what they must come to. */
class History implements AsyncDisposable {
  readonly #prefix = `history-${histories++}`
  readonly #links: ToxicLink[] = []
  readonly #gateways: StoreMember[] = []
  /** Where Redis is asked by the test. */
  #probe: StoreMember | undefined
  readonly #runs = Array.from({ length: ORIGINS }, () => 1)
  readonly #isThere = Array.from({ length: ORIGINS }, () => true)
  readonly #claims: (User & { readonly claim: Claim })[] = []
  readonly #holds: (User & { readonly hold: Hold })[] = []
  /** Ids that are no more; what runs there runs apart. */
  readonly #gone = new Set<OriginId>()
  /** What ran when these were cleared runs apart, too, and nobody outside can tell what heard of that when. */
  readonly #cleared = new Set<StreamKey>()
  readonly #pinned = new Set<StreamKey>()
  readonly #failed = new Set<StreamKey>()
  readonly #pending: Promise<void>[] = []
  #hasLost = false

  static async open(): Promise<History> {
    const history = new History()
    for (let number = 0; number < GATEWAYS; number++) {
      history.#links.push(await ToxicLink.start({ toPort: server.port }))
      history.#gateways.push(await history.#gateway(number))
    }
    history.#probe = await openStore('probe', { redis: { url: server.url, prefix: history.#prefix } })
    for (let number = 0; number < ORIGINS; number++) await history.#announce(0, number)
    for (const { store } of history.#gateways)
      await eventually(async () => expect(await store.list()).toHaveLength(ORIGINS))
    return history
  }

  /** Some are waited for, others overlap with what comes next. */
  async run(steps: readonly (readonly [Step, boolean])[]): Promise<void> {
    for (const [step, isWaitedFor] of steps) {
      const work = this.#do(step).catch((error: unknown) => this.#expected(error))
      if (isWaitedFor) await work
      else this.#pending.push(work)
    }
    await Promise.all(this.#pending.splice(0))
  }

  /** All is mended, and nobody waits for an origin. */
  async rest(): Promise<void> {
    for (const link of this.#links) await mend(link)
    await eventually(() => expect(this.#gateways.every(({ redis }) => redis.isUp)).toBe(true))
    for (const { claim } of this.#claims.splice(0)) await claim.release()
    for (const [number, isThere] of this.#isThere.entries()) {
      if (!isThere) continue
      for (const [index, { store }] of this.#gateways.entries()) {
        await this.#announce(index, number)
        await store.drain(this.#id(number), false)
      }
    }
  }

  async check(): Promise<void> {
    for (let number = 0; number < STREAMS; number++) {
      const key = streamOf(number)
      const holds = this.#holds.filter((hold) => hold.key === key && !this.#gone.has(hold.origin))
      const apart = this.#holds.filter((hold) => hold.key === key && this.#gone.has(hold.origin))
      if (holds.length === 0 || this.#cleared.has(key)) continue
      const published = new Set(holds.flatMap((hold) => (hold.role === 'publish' ? [hold.origin] : [])))
      if (published.size > 1 || apart.some(({ role }) => role === 'publish')) continue
      // Without a publisher it leaves an origin that failed, whoever plays there; and who comes goes to a pin.
      if (published.size === 0 && (this.#failed.has(key) || this.#pinned.has(key))) continue
      const expected = await this.#place(key)
      const users = holds
        .map(({ at: gateway, role, origin: id }) => `${gateway.name} ${role} ${id}`)
        .join(', ')
      expect(expected, `place of ${key}: ${users}`).toBeDefined()
      if (published.size === 1) expect(published, `publisher of ${key}: ${users}`).toContain(expected)
      for (const { store, name } of this.#gateways) {
        const claim = await store.pick(key, 'rtmp', { role: 'play' })
        await claim.release()
        expect(claim.origin.id, `place of ${key} at ${name}: ${users}`).toBe(expected)
      }
    }
    // A removal may be lost with the gateway that was told, or in Redis before all heard of it: then only silence tells.
    for (const { store, name } of this.#hasLost ? [] : this.#gateways)
      for (const id of (await store.list()).map((listed) => listed.id))
        expect(this.#gone.has(id), `${id} at ${name}`).toBe(false)
  }

  /** Everybody leaves, and what is not used ends. */
  async end(): Promise<void> {
    for (const { hold } of this.#holds.splice(0)) hold.end()
    const [first] = this.#gateways
    if (first === undefined) throw new Error('no gateway')
    for (let number = 0; number < STREAMS; number++) {
      for (const [index, isThere] of this.#isThere.entries())
        if (isThere) await first.store.follow(streamOf(number), this.#id(index), false)
    }
    const probe = this.#probe
    if (probe === undefined) throw new Error('no probe')
    await eventually(async () => {
      for (const { store, name } of this.#gateways) expect(store.sharing.held, `held at ${name}`).toBe(0)
      for (const name of await probe.redis.scan(`sluice-p*:{${this.#prefix}:*`, 1000)) {
        const users = await probe.redis.command('HKEYS', name)
        expect([name, users].flat().filter((who) => !this.#isPast(String(who)))).toEqual([name])
      }
    })
    await probe.redis.run(AGE, [probe.redis.key('any')], [`*${this.#prefix}:*`])
    const left = await probe.redis.scan(`*${this.#prefix}:*`, 1000)
    const lasting = left.filter((name) => !/:(srs-proxy-(server|all-servers)|sluice-)/.test(name))
    expect(lasting).toEqual([])
  }

  /** What was taken back, and the word of an origin that is no more, which counts for nobody, go with their time. */
  #isPast(who: string): boolean {
    return who.startsWith('!') || this.#gone.has(who.slice(1) as OriginId)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const link of this.#links) await mend(link)
    for (const gateway of [...this.#gateways, this.#probe]) await gateway?.[Symbol.asyncDispose]()
    for (const link of this.#links) await link[Symbol.asyncDispose]()
  }

  async #do(step: Step): Promise<void> {
    switch (step.do) {
      case 'announce':
        if (this.#isThere[step.origin] === true) await this.#announce(step.at, step.origin)
        return
      case 'restart': {
        this.#gone.add(this.#id(step.origin))
        this.#runs[step.origin] = (this.#runs[step.origin] ?? 0) + 1
        this.#isThere[step.origin] = true
        await this.#announce(step.at, step.origin)
        return
      }
      case 'remove':
        // One stays, so that streams can go somewhere.
        if (step.origin === 0) return
        this.#isThere[step.origin] = false
        this.#gone.add(this.#id(step.origin))
        // It comes back as another one only.
        this.#runs[step.origin] = (this.#runs[step.origin] ?? 0) + 1
        await this.#store(step.at).remove(
          originIdOf(this.#announcement(step.origin, (this.#runs[step.origin] ?? 0) - 1)),
        )
        return
      case 'suspect':
        await this.#store(step.at).suspect(this.#id(step.origin))
        return
      case 'drain':
        await this.#store(step.at).drain(this.#id(step.origin), step.on)
        return
      case 'pick': {
        const gateway = this.#member(step.at)
        const key = streamOf(step.stream)
        const claim = await gateway.store.pick(key, 'rtmp', { role: step.role })
        if (this.#gateways.includes(gateway))
          this.#claims.push({ at: gateway, key, role: step.role, origin: claim.origin.id, claim })
        return
      }
      case 'keep': {
        const claimed = takeOne(this.#claims, step.which)
        if (claimed === undefined) return
        const hold = await claimed.claim.keep()
        if (this.#gateways.includes(claimed.at)) this.#holds.push({ ...claimed, hold })
        return
      }
      case 'release':
        await takeOne(this.#claims, step.which)?.claim.release()
        return
      case 'unreachable':
      case 'silent': {
        const failed = takeOne(this.#claims, step.which)
        if (failed !== undefined) this.#failed.add(failed.key)
        await failed?.claim.failed(step.do)
        return
      }
      case 'end':
        takeOne(this.#holds, step.which)?.hold.end()
        return
      case 'follow':
        await this.#store(step.at).follow(streamOf(step.stream), this.#id(step.origin), step.on)
        return
      case 'clear':
        this.#cleared.add(streamOf(step.stream))
        await this.#store(step.at).clearPick(streamOf(step.stream))
        return
      case 'pin':
        this.#pinned.add(streamOf(step.stream))
        await this.#store(step.at).pin(streamOf(step.stream), this.#id(step.origin))
        return
      case 'flush':
        this.#hasLost = true
        await this.#probe?.redis.run(FLUSH, [this.#probe.redis.key('any')], [`*${this.#prefix}:*`])
        return
      case 'cut':
        await this.#links[step.at]?.refuse()
        return
      case 'stall':
        this.#links[step.at]?.stall('replies')
        return
      case 'mend': {
        const link = this.#links[step.at]
        if (link !== undefined) await mend(link)
        return
      }
      case 'kill':
      case 'close': {
        this.#hasLost = true
        const gateway = this.#member(step.at)
        const next = await this.#gateway(step.at)
        this.#gateways[step.at] = next
        for (const users of [this.#claims, this.#holds] as User[][])
          users.splice(0, users.length, ...users.filter((user) => user.at !== gateway))
        await (step.do === 'kill' ? gateway.kill() : gateway[Symbol.asyncDispose]())
        return
      }
      default:
        step satisfies never
    }
  }

  async #gateway(number: number): Promise<StoreMember> {
    const port = this.#links[number]?.port
    return await openStore(`g${number}`, {
      redis: {
        url: `redis://127.0.0.1:${port}`,
        prefix: this.#prefix,
        timeoutSeconds: 0.5,
        maxRetryMs: 200,
      },
      pickIdleMs: 3000,
    })
  }

  async #announce(index: number, number: number): Promise<void> {
    await this.#store(index).announce(this.#announcement(number, this.#runs[number] ?? 1))
  }

  #announcement(number: number, run: number): ReturnType<typeof announcement> {
    return announcement(`${number}`, { pid: `${run}`, rtmp: [2000 + number], http: [3000 + number], api: [] })
  }

  #id(number: number): OriginId {
    return originIdOf(this.#announcement(number, this.#runs[number] ?? 1))
  }

  async #place(key: StreamKey): Promise<OriginId | undefined> {
    const redis = this.#probe?.redis
    const text = await redis?.command('GET', redis.key(`srs-proxy-url:${key}`))
    const prefix = redis?.key('srs-proxy-server:') ?? ''
    return typeof text === 'string' ? (text.slice(prefix.length) as OriginId) : undefined
  }

  #member(index: number): StoreMember {
    const gateway = this.#gateways[index]
    if (gateway === undefined) throw new Error(`no gateway ${index}`)
    return gateway
  }

  #store(index: number): StoreMember['store'] {
    return this.#member(index).store
  }

  #expected(error: unknown): void {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (!code.startsWith('BALANCER_')) throw error
  }
}

async function mend(link: ToxicLink): Promise<void> {
  link.flow()
  await link.accept()
}

function streamOf(number: number): StreamKey {
  return parseStreamKey(`__defaultVhost__/live/${number}`)
}

function takeOne<T>(items: T[], which: number): T | undefined {
  return items.length === 0 ? undefined : items.splice(which % items.length, 1)[0]
}

type Steps = readonly (readonly [Step, boolean])[]

async function play(steps: Steps, name: string): Promise<void> {
  const history = await History.open()
  try {
    await history.run(steps)
    await history.rest()
    // What a lost message would have told is asked for within 11 seconds.
    await vi.waitFor(() => history.check(), { timeout: 40_000, interval: 50 })
    await history.end()
  } catch (error) {
    const told = steps.map(([step, isWaitedFor]) => `${isWaitedFor ? '' : '~'}${JSON.stringify(step)}`)
    throw new Error(
      `${name}: ${error instanceof Error ? error.message : String(error)}\n${told.join('\n')}`,
      {
        cause: error,
      },
    )
  } finally {
    await history[Symbol.asyncDispose]()
  }
}

function playAll(
  kinds: readonly { weight: number; arbitrary: fc.Arbitrary<Step> }[],
  seed: number,
): Promise<void[]> {
  const step = fc.oneof(...kinds)
  const steps = fc.array(fc.tuple(step, fc.boolean()), { minLength: 20, maxLength: 60, size: 'max' })
  return Promise.all(
    fc
      .sample(steps, { seed, numRuns: HISTORIES })
      .map((history, number) => play(history, `history ${seed}/${number}`)),
  )
}

interface Visit {
  readonly at: number
  readonly stream: number
  readonly role: Role
  readonly isAccepted: boolean
}

describe('gateways on one Redis', () => {
  it('that pick the same new streams at the same instant agree, whoever is accepted', async () => {
    const prefix = 'instant'
    // However slow the machine is: what takes longer is decided alone.
    const gateways = await openStores(GATEWAYS, { redis: { url: server.url, prefix, timeoutSeconds: 30 } })
    const storeOf = (number: number): StoreMember['store'] => {
      const gateway = gateways[number]
      if (gateway === undefined) throw new Error(`no gateway ${number}`)
      return gateway.store
    }
    try {
      for (let number = 0; number < 6; number++)
        await storeOf(0).announce(
          announcement(`${number}`, { rtmp: [2000 + number], http: [3000 + number], api: [] }),
        )
      for (const { store } of gateways)
        await eventually(async () => expect(await store.list()).toHaveLength(6))
      let round = 0
      const role = fc.constantFrom<Role>('publish', 'play')
      const visit: fc.Arbitrary<Visit> = fc.record({ at, stream, role, isAccepted: on })
      await fc.assert(
        fc.asyncProperty(fc.array(visit, { minLength: 2, maxLength: 30 }), async (visits) => {
          round++
          const nameOf = (number: number): StreamKey =>
            parseStreamKey(`__defaultVhost__/instant/${round}-${number}`)
          const claims = await Promise.all(
            visits.map(async (one) => {
              const claim = await storeOf(one.at).pick(nameOf(one.stream), 'rtmp', { role: one.role })
              return { ...one, claim }
            }),
          )
          for (let number = 0; number < STREAMS; number++) {
            const ids = claims.filter((one) => one.stream === number).map(({ claim }) => claim.origin.id)
            expect(new Set(ids).size).toBeLessThanOrEqual(1)
          }
          const accepted = claims.filter(({ isAccepted }) => isAccepted)
          await Promise.all(
            claims.map(({ isAccepted, claim }) => (isAccepted ? claim.keep() : claim.release())),
          )
          // What they said of that, each on its connection, was done before this.
          await Promise.all(gateways.map(({ redis }) => redis.command('EXISTS', redis.key('any'))))
          for (const { stream: number, claim } of accepted)
            for (let index = 0; index < GATEWAYS; index++) {
              const later = await storeOf(index).pick(nameOf(number), 'rtmp', { role: 'play' })
              await later.release()
              expect(later.origin.id).toBe(claim.origin.id)
            }
        }),
        { seed: SEED, numRuns: 60 },
      )
    } finally {
      for (const gateway of gateways) await gateway[Symbol.asyncDispose]()
    }
  }, 60_000)
})

describe('gateways on one Redis come to one mind', () => {
  it('whatever users do', async () => {
    await playAll(used, SEED)
  }, 120_000)

  it('whatever operators do meanwhile', async () => {
    await playAll([...used, ...ordered], SEED + 1)
  }, 120_000)

  it('whatever breaks meanwhile', async () => {
    await playAll([...used, ...broken], SEED + 2)
  }, 120_000)

  it('whatever happens', async () => {
    await playAll([...used, ...ordered, ...broken], SEED + 3)
  }, 120_000)
})
