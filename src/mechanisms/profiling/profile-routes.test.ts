import { gunzipSync } from 'node:zlib'
import { Profile } from 'pprof-format'
import { afterEach, describe, expect, it } from 'vitest'
import { HttpApi } from '../http-api/index.ts'
import { createLogger } from '../telemetry/index.ts'
import { profileRoutes, Profiler } from './index.ts'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function served(): Promise<(path: string, signal?: AbortSignal) => Promise<Response>> {
  const profiler = new Profiler()
  await profiler.start()
  const api = new HttpApi({
    listen: { host: '127.0.0.1', port: 0 },
    log: createLogger({ stream: { write: () => {} } }),
    serverHeader: 'test',
    routes: profileRoutes(profiler),
  })
  await api.start()
  closers.push(
    () => profiler.close(),
    () => api.close(),
  )
  const base = `http://127.0.0.1:${api.address?.port}/debug/pprof/`
  return (path, signal) => fetch(`${base}${path}`, signal === undefined ? {} : { signal })
}

interface Decoded {
  readonly types: readonly string[]
  readonly functions: ReadonlyMap<string, number>
  readonly total: number
}

/** The last value of each sample, by the name of every function on its stack. */
async function decoded(response: Response): Promise<Decoded> {
  expect(response.status).toBe(200)
  const profile = Profile.decode(gunzipSync(Buffer.from(await response.arrayBuffer())))
  const text = (index: number | bigint): string => profile.stringTable.strings[Number(index)] ?? ''
  const names = new Map(profile.function.map(({ id, name }) => [Number(id), text(name)]))
  const nameOf = new Map(
    profile.location.map(({ id, line }) => [Number(id), names.get(Number(line[0]?.functionId)) ?? '']),
  )
  const functions = new Map<string, number>()
  let total = 0
  for (const { locationId, value } of profile.sample) {
    const last = Number(value.at(-1))
    total += last
    for (const name of new Set(locationId.map((id) => nameOf.get(Number(id)) ?? ''))) {
      functions.set(name, (functions.get(name) ?? 0) + last)
    }
  }
  return {
    types: profile.sampleType.map(({ type, unit }) => `${text(type)}/${text(unit)}`),
    functions,
    total,
  }
}

describe('profiles over HTTP', () => {
  it('the CPU profile shows who burnt the time, in nanoseconds, and none for waiting', async () => {
    const get = await served()
    const over = new AbortController()
    const profile = get('profile?seconds=1').finally(() => over.abort())
    while (!over.signal.aborted) {
      burn()
      await new Promise(setImmediate)
    }
    const { types, functions } = await decoded(await profile)
    expect(types).toEqual(['samples/count', 'cpu/nanoseconds'])
    expect(functions.get('profile-routes.test.burn')).toBeGreaterThan(0)
    expect(functions.has('(idle)')).toBe(false)
  })

  it('the heap profile shows what lives, and no more once it is gone', async () => {
    const get = await served()
    const kept = hoard()
    const before = await decoded(await get('heap'))
    expect(before.types).toEqual(['inuse_objects/count', 'inuse_space/bytes'])
    expect(before.functions.get('profile-routes.test.hoard')).toBeGreaterThan(4e6)
    kept.length = 0
    const after = await decoded(await get('heap'))
    expect(after.functions.get('profile-routes.test.hoard') ?? 0).toBeLessThan(
      before.functions.get('profile-routes.test.hoard') ?? 0,
    )
  })

  it('the profile of allocations counts what is gone too', async () => {
    const get = await served()
    const profile = get('allocs?seconds=0.3')
    const timer = setInterval(hoard, 20)
    const { types, functions } = await decoded(await profile)
    clearInterval(timer)
    expect(types).toEqual(['alloc_objects/count', 'alloc_space/bytes'])
    expect(functions.get('profile-routes.test.hoard')).toBeGreaterThan(4e6)
  })

  it('tasks are counted by kind, as a profile and as text', async () => {
    const get = await served()
    const { functions } = await decoded(await get('goroutine'))
    expect(functions.get('TCPServerWrap') ?? functions.get('TCPSocketWrap')).toBeGreaterThan(0)
    expect(await (await get('goroutine?debug=1')).text()).toMatch(/^goroutine profile: total \d+\n\d+ \w+\n/)
    expect((await decoded(await get('threadcreate'))).total).toBeGreaterThan(
      process.platform === 'linux' ? 1 : -1,
    )
    expect((await decoded(await get('mutex'))).total).toBe(0)
  })

  it('a trace is one that viewers of Chromium take', async () => {
    const get = await served()
    const { traceEvents } = (await (await get('trace?seconds=0.2')).json()) as { traceEvents: object[] }
    expect(traceEvents.length).toBeGreaterThan(0)
    expect(traceEvents[0]).toHaveProperty('ph')
  })

  it('only one profile of a kind is taken at a time, and one that nobody waits for ends', async () => {
    const get = await served()
    const left = new AbortController()
    // The short one may overtake it.
    const taken = async (): Promise<unknown> => {
      for (;;) {
        const response = await get('profile?seconds=300', left.signal)
        if (response.status !== 409) return response
      }
    }
    const first = taken().catch(() => 'left')
    await expect.poll(async () => (await get('profile?seconds=0.01')).status).toBe(409)
    left.abort()
    expect(await first).toBe('left')
    await expect.poll(async () => (await get('profile?seconds=0.01')).status).toBe(200)
  })

  it.each(['0', '-1', '301', 'x', ''])('seconds=%s is an error', async (seconds) => {
    const get = await served()
    const response = await get(`profile?seconds=${seconds}`)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code: 'PROFILING_BAD_QUERY' } })
  })
})

function burn(): number {
  let sum = 0
  for (let i = 0; i < 1e5; i++) sum += Math.sqrt(i)
  return sum
}

function hoard(): unknown[] {
  return Array.from({ length: 200_000 }, (_, i) => ({ i, text: [i] }))
}
