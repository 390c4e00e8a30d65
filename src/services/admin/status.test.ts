import { afterEach, describe, expect, it } from 'vitest'
import { MemoryBalancerStore, streamKeyOf } from '../../mechanisms/balancer/index.ts'
import { type FleetMember, gatewayId } from '../../mechanisms/fleet/index.ts'
import { AdminBench, KEY, SESSION } from './admin.testkit.ts'

const bench = new AdminBench()
afterEach(() => bench.close())

const load = { sessions: 7, allocations: 2, tunnelClients: 3, cpu: 0.25, memoryBytes: 1e8 }

function member(id: string, over: Partial<FleetMember> = {}): FleetMember {
  return {
    id: gatewayId(id),
    version: '1.2.3',
    startedMs: Date.UTC(2026, 10, 20, 23),
    addresses: { http: ['10.0.0.1:8080'] },
    isDraining: false,
    load,
    ...over,
  }
}

const fleetOf = (...members: FleetMember[]) => ({ id: gatewayId('a'), members: () => members })

describe('the fleet', () => {
  it('is all gateways, with the one that answers and the state of Redis', async () => {
    const redis = { isUp: true }
    const { call } = await bench.open({
      fleet: fleetOf(member('a'), member('b', { isDraining: true })),
      redis,
    })
    const shown = {
      version: '1.2.3',
      started: '2026-11-20T23:00:00.000Z',
      uptimeSeconds: 3600,
      addresses: { http: ['10.0.0.1:8080'] },
      load,
    }
    const answer = {
      gateway: 'a',
      redis: 'up',
      gateways: [
        { id: 'a', draining: false, ...shown },
        { id: 'b', draining: true, ...shown },
      ],
    }
    expect(await call('GET', '/api/v1/fleet')).toMatchObject({ status: 200, json: answer })
    redis.isUp = false
    expect((await call('GET', '/api/v1/fleet')).json).toEqual({ ...answer, redis: 'away' })
  })

  it('of a gateway that was told of none is itself', async () => {
    const { call } = await bench.open()
    expect((await call('GET', '/api/v1/fleet')).json).toMatchObject({
      gateway: 'gateway',
      redis: 'none',
      gateways: [
        {
          id: 'gateway',
          version: '1.2.3',
          draining: false,
          load: { sessions: 1, allocations: 0, tunnelClients: 0, memoryBytes: expect.any(Number) },
        },
      ],
    })
  })

  it('a gateway whose clock is ahead of ours has just started', async () => {
    const { call } = await bench.open({ fleet: fleetOf(member('a', { startedMs: Date.UTC(2027, 0, 1) })) })
    expect((await call('GET', '/api/v1/fleet')).json).toMatchObject({ gateways: [{ uptimeSeconds: 0 }] })
  })
})

describe('streams', () => {
  it('are shown with the gateways that a shared store knows of, and without a time where that knows none', async () => {
    const store = new MemoryBalancerStore()
    const streams = [
      {
        ...{ key: KEY, originId: 's-v-1', publishers: 1, players: 1, isPinned: false, isFollowed: false },
        gateways: ['a', 'b'],
      },
      {
        key: 'v/live/pinned',
        originId: 's-v-1',
        publishers: 0,
        players: 0,
        isPinned: true,
        isFollowed: false,
      },
    ]
    store.streams = () => Promise.resolve(streams as never)
    const { call } = await bench.open({ balancer: store })
    expect((await call('GET', '/api/v1/streams')).json).toEqual({
      streams: [streams[0], { ...streams[1], gateways: [] }],
    })
  })
})

describe('the status', () => {
  it('is all of it in one answer', async () => {
    const { call, store, id } = await bench.open({
      fleet: fleetOf(member('a'), member('b')),
      redis: { isUp: true },
      readiness: [() => ({ ok: true, isDegraded: true, reason: 'why' })],
    })
    await (await store.pick(KEY, 'rtmp', { role: 'publish' })).keep()
    const { status, json } = await call('GET', '/api/v1/status')
    expect(status).toBe(200)
    expect(json).toMatchObject({
      gateway: 'a',
      redis: 'up',
      gateways: [{ id: 'a' }, { id: 'b' }],
      readiness: { ready: true, degraded: true, reasons: ['why'] },
      origins: [{ id, state: 'healthy', streams: 1, lastHeartbeatAgeSeconds: 0 }],
      streams: { count: 1, list: [{ key: KEY, originId: id, gateways: ['a'] }] },
      sessions: { webrtc: 0, rtmp: 1, http: 0, hls: 0, srt: 0 },
    })
    expect(json).not.toHaveProperty('origins.0.lastHeartbeatMs')
    expect(SESSION.protocol).toBe('rtmp')
  })

  it('lists the first streams by their keys, as many as are asked for', async () => {
    const { call, store } = await bench.open()
    for (let number = 59; number >= 0; number--) {
      const key = streamKeyOf('', 'live', `s${String(number).padStart(2, '0')}`)
      await (await store.pick(key, 'rtmp', { role: 'play' })).keep()
    }
    const listed = async (query: string): Promise<readonly string[]> => {
      const { json } = await call('GET', `/api/v1/status${query}`)
      const { streams } = json as { streams: { count: number; list: { key: string }[] } }
      expect(streams.count).toBe(60)
      return streams.list.map(({ key }) => key.slice(-3))
    }
    expect(await listed('?streams=2')).toEqual(['s00', 's01'])
    expect(await listed('?streams=0')).toEqual([])
    expect(await listed('')).toHaveLength(50)
    expect(await listed('?streams=100000')).toHaveLength(60)
  })

  it.each(['-1', 'x', '1e3', '100001', ''])('streams=%s is refused', async (text) => {
    const { call } = await bench.open()
    expect(await call('GET', `/api/v1/status?streams=${text}`)).toMatchObject({
      status: 400,
      json: { error: { code: 'ADMIN_BAD_QUERY' } },
    })
  })
})
