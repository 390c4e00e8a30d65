import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { HttpApi } from '../../mechanisms/http-api/index.ts'
import { silentLogger } from '../../mechanisms/telemetry/index.ts'
import { turnRoutes } from './admin-routes.ts'
import type { AllocationInfo } from './allocation-info.ts'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

function allocation(id: string, userId: string): AllocationInfo {
  return {
    id,
    userId,
    username: `1767225600:${userId}`,
    realm: 'sluice',
    listener: 'udp',
    transport: 'udp',
    client: '192.0.2.1:4000',
    relayTransport: 'udp',
    relayed: ['198.51.100.1:50000'],
    peers: ['203.0.113.7:9000'],
    sinceMs: Date.UTC(2026, 0, 1),
    expiresAtMs: Date.UTC(2026, 0, 1, 0, 10),
    sent: { packets: 3, bytes: 300 },
    received: { packets: 2, bytes: 200 },
    peerTraffic: [],
    dropped: 1,
  }
}

/** The routes, on a server with these allocations. */
async function open(allocations: AllocationInfo[]) {
  const end = (isMeant: (one: AllocationInfo) => boolean): number => {
    const left = allocations.filter((one) => !isMeant(one))
    const ended = allocations.length - left.length
    allocations.splice(0, allocations.length, ...left)
    return ended
  }
  const log = silentLogger()
  const routes = turnRoutes(
    {
      listAllocations: () => allocations,
      killAllocation: (id) => end((one) => one.id === id) > 0,
      killUser: (user) => end((one) => one.userId === user),
    },
    log,
  )
  const listen = { host: '127.0.0.1', port: 0 }
  const api = new HttpApi({ listen, log, serverHeader: 'test', routes, token: 't0ken' })
  await api.start()
  closers.push(() => api.close())
  const { port } = api.address as AddressInfo
  return async (method: string, path: string, token = 't0ken') => {
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/turn${path}`, { method, headers })
    return { status: response.status, body: (await response.json()) as unknown }
  }
}

describe('the admin API of allocations', () => {
  it('lists them with who, where, how much and since when', async () => {
    const ask = await open([allocation('a', 'alice')])
    const { sinceMs, expiresAtMs, ...rest } = allocation('a', 'alice')
    expect(sinceMs).toBeLessThan(expiresAtMs)
    expect(await ask('GET', '/allocations')).toEqual({
      status: 200,
      body: {
        allocations: [{ ...rest, since: '2026-01-01T00:00:00.000Z', expires: '2026-01-01T00:10:00.000Z' }],
      },
    })
  })

  it('lists those of one user', async () => {
    const ask = await open([allocation('a', 'alice'), allocation('b', 'bob & co')])
    expect((await ask('GET', '/allocations?user=bob%20%26%20co')).body).toMatchObject({
      allocations: [{ id: 'b' }],
    })
    expect((await ask('GET', '/allocations?user=nobody')).body).toEqual({ allocations: [] })
  })

  it('ends one by its id, once', async () => {
    const left = [allocation('a', 'alice'), allocation('b', 'alice')]
    const ask = await open(left)
    expect(await ask('DELETE', '/allocations/a')).toEqual({ status: 200, body: { id: 'a' } })
    expect(left.map(({ id }) => id)).toEqual(['b'])
    expect(await ask('DELETE', '/allocations/a')).toMatchObject({ status: 404 })
  })

  it('ends all of a user, whose name may hold any character', async () => {
    const left = [allocation('a', 'a/b c'), allocation('b', 'bob'), allocation('c', 'a/b c')]
    const ask = await open(left)
    expect(await ask('DELETE', '/users/a%2Fb%20c/allocations')).toEqual({
      status: 200,
      body: { user: 'a/b c', killed: 2 },
    })
    expect(left.map(({ id }) => id)).toEqual(['b'])
    expect((await ask('DELETE', '/users/nobody/allocations')).body).toEqual({ user: 'nobody', killed: 0 })
  })

  it('asks for the token', async () => {
    const left = [allocation('a', 'alice')]
    const ask = await open(left)
    expect((await ask('GET', '/allocations', 'other')).status).toBe(401)
    expect((await ask('DELETE', '/allocations/a', 'other')).status).toBe(401)
    expect(left).toHaveLength(1)
  })
})
