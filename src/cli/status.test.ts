import { afterEach, describe, expect, it, vi } from 'vitest'
import { streamKeyOf } from '../mechanisms/balancer/index.ts'
import { gatewayId } from '../mechanisms/fleet/index.ts'
import type { AdminServiceOptions } from '../services/admin/index.ts'
import { AdminBench, KEY, type OpenAdmin } from '../services/admin/admin.testkit.ts'
import { status, type StatusOptions } from './status.ts'

const bench = new AdminBench()
afterEach(async () => {
  vi.restoreAllMocks()
  await bench.close()
})

async function open(
  options: Partial<AdminServiceOptions> = {},
): Promise<OpenAdmin & { readonly shown: (more?: StatusOptions) => Promise<string> }> {
  const admin = await bench.open(options)
  const shown = async (more: StatusOptions = {}): Promise<string> => {
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    await status({ admin: `127.0.0.1:${admin.service.address?.port}`, ...more })
    return String(write.mock.lastCall?.[0])
  }
  return { ...admin, shown }
}

const load = { sessions: 7, allocations: 2, tunnelClients: 3, cpu: 0.256, memoryBytes: 181_400_000 }
const common = { version: '1.2.3', addresses: {}, load }
const fleet = {
  id: gatewayId('edge-1'),
  members: () => [
    { ...common, id: gatewayId('edge-1'), startedMs: Date.UTC(2026, 10, 20, 20, 57), isDraining: false },
    { ...common, id: gatewayId('edge-22'), startedMs: Date.UTC(2026, 10, 20, 23, 59), isDraining: true },
  ],
}

describe('sluice status', () => {
  it('shows gateways, origins, streams and sessions', async () => {
    const { shown, store, id } = await open({
      fleet,
      redis: { isUp: false },
      readiness: [() => ({ ok: true, isDegraded: true, reason: 'Redis is away' })],
    })
    await (await store.pick(KEY, 'rtmp', { role: 'publish' })).keep()
    await store.drain(id, true)
    expect(await shown()).toBe(`edge-1 is degraded (Redis is away), Redis is away

gateways: 2
   GATEWAY  VERSION  UP     STATE     SESSIONS  ALLOCATIONS  TUNNEL CLIENTS  CORES   MB
*  edge-1   1.2.3    3h 3m  serving          7            2               3  0.26   181
   edge-22  1.2.3    1m 0s  draining         7            2               3  0.26   181

origins: 1
ORIGIN  KIND  ADDRESS    STATE              STREAMS  WEIGHT
s-v-1   srs   127.0.0.1  healthy, draining        1       1

streams: 1
STREAM                        ORIGIN  PUBLISHERS  PLAYERS  GATEWAYS
__defaultVhost__/live/café 1  s-v-1            1        0  edge-1

sessions here: 1 (rtmp 1)
`)
  })

  it('of a gateway that has nothing is short', async () => {
    const { shown, store, id } = await open({ sessions: [] })
    await store.remove(id)
    const text = await shown()
    expect(text).toContain('gateway is ready\n\ngateways: 1\n')
    expect(text).toContain('\n\norigins: 0\n\nstreams: 0\n\nsessions here: 0\n')
  })

  it('says that a gateway is not ready, and why', async () => {
    const { shown } = await open({ readiness: [() => ({ ok: false, reason: 'no origin has registered' })] })
    expect(await shown()).toMatch(/^gateway is not ready \(no origin has registered\)\n/)
  })

  it('shows the first 50 streams and how many more there are, or all', async () => {
    const { shown, store } = await open()
    for (let number = 0; number < 60; number++) {
      await (await store.pick(streamKeyOf('', 'live', `s${number}`), 'rtmp', { role: 'play' })).keep()
    }
    const lines = (text: string): number => text.split('\n').filter((line) => line.includes('/live/s')).length
    const first = await shown()
    expect([lines(first), first.includes('and 10 more (--all shows them)')]).toEqual([50, true])
    const all = await shown({ all: true })
    expect([lines(all), all.includes('more')]).toEqual([60, false])
  })

  it('as JSON is the answer of the gateway', async () => {
    const { shown, call } = await open({ fleet })
    const json: unknown = JSON.parse(await shown({ json: true }))
    expect(json).toEqual((await call('GET', '/api/v1/status')).json)
    expect(json).toMatchObject({ gateways: [{ id: 'edge-1', addresses: {} }, { id: 'edge-22' }] })
  })

  it('asks with the token', async () => {
    const { shown } = await open({ token: 'tok' })
    expect(await shown({ token: 'tok' })).toContain('gateway is ready')
    await expect(shown()).rejects.toMatchObject({ code: 'ADMIN_TOKEN_REFUSED' })
  })
})
