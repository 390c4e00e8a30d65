import { afterEach, describe, expect, it } from 'vitest'
import { StaticUsers } from './credentials/static-users.ts'
import type { TurnServerOptions } from './options.ts'
import { admitAll } from './peers/fixed-policies.ts'
import type { QuotaRequest } from './quota.ts'
import { TestTurnClient } from './turn-client.testkit.ts'
import { TurnServer } from './turn-server.ts'

const users = ['alice', 'bob'].map((username) => ({ username, password: 'secret' }))

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

function make(options: Partial<TurnServerOptions>): TurnServer {
  const listen = { host: '127.0.0.1', port: 0 }
  const relays = [{ address: '127.0.0.1' }]
  return new TurnServer({
    listeners: [{ name: 'udp', transport: 'udp', listen, relays, peers: admitAll }],
    credentials: new StaticUsers(users),
    engine: 'node',
    ...options,
  })
}

async function start(options: Partial<TurnServerOptions>): Promise<TurnServer> {
  const server = make(options)
  await server.start()
  closers.push(() => server.close())
  return server
}

async function join(server: TurnServer, username = 'alice'): Promise<TestTurnClient> {
  const port = server.ports.get('udp') ?? 0
  const client = await TestTurnClient.open({ username, password: 'secret', transport: 'udp', port })
  closers.push(() => client[Symbol.asyncDispose]())
  return client
}

describe('a quota that is a number', () => {
  it('is how many allocations each user may have', async () => {
    const server = await start({ quota: 1, limits: { maxPerUser: 10 } })
    const [first, second, other] = [await join(server), await join(server), await join(server, 'bob')]
    await first.allocate()
    await expect(second.allocate()).rejects.toMatchObject({ code: 486 })
    await other.allocate()
    await first.release()
    await second.allocate()
  })

  it('counts what there is already when it is changed', async () => {
    const server = await start({})
    await (await join(server)).allocate()
    await server.update({ quota: 1 })
    const late = await join(server)
    await expect(late.allocate()).rejects.toMatchObject({ code: 486 })
    await server.update({ quota: 2 })
    await late.allocate()
  })

  it.each([-1, Number.NaN])('cannot be %d', (quota) => {
    expect(() => make({ quota })).toThrow(`quota is ${quota}: must be 0 (no limit) or more`)
  })
})

describe('a quota that is a function', () => {
  it('is asked before each allocation, and refuses it', async () => {
    const asked: QuotaRequest[] = []
    const quota = async (request: QuotaRequest) => {
      asked.push(request)
      return request.userId === 'alice'
    }
    const server = await start({ quota })
    await (await join(server)).allocate()
    await expect((await join(server, 'bob')).allocate()).rejects.toMatchObject({ code: 486 })
    const common = { realm: 'sluice', listener: 'udp', clientAddress: '127.0.0.1' }
    expect(asked).toEqual([
      { userId: 'alice', ...common },
      { userId: 'bob', ...common },
    ])
  })

  it('refuses with 500 when it rejects or throws', async () => {
    const server = await start({ quota: () => Promise.reject(new Error('the store is away')) })
    await expect((await join(server)).allocate()).rejects.toMatchObject({ code: 500 })
    const thrown = () => {
      throw new Error('a bug')
    }
    await server.update({ quota: thrown })
    await expect((await join(server)).allocate()).rejects.toMatchObject({ code: 500 })
    expect(server.allocationCount).toBe(0)
  })
})
