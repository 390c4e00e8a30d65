import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { Drain, type DrainOptions } from '../../mechanisms/fleet/index.ts'
import { silentLogger } from '../../mechanisms/telemetry/index.ts'
import { AdminBench, type OpenAdmin } from './admin.testkit.ts'

const bench = new AdminBench()
afterEach(() => bench.close())

async function open(options: Partial<DrainOptions> = {}): Promise<OpenAdmin & { readonly drain: Drain }> {
  const drain = new Drain({
    left: () => ({ sessions: 4, allocations: 5, tunnelClients: 6 }),
    onChange: () => {},
    logger: silentLogger(),
    clock: new ManualClock(),
    ...options,
  })
  const readiness = [() => ({ ok: !drain.isDraining, reason: 'draining' })]
  return { ...(await bench.open({ drain, readiness })), drain }
}

const left = { sessions: 4, allocations: 5, tunnelClients: 6 }

describe('a drain', () => {
  it('is begun, seen and taken back, and readiness follows', async () => {
    const { call } = await open()
    const idle = { draining: false, exit: false, left }
    const draining = { ...idle, draining: true, since: '2026-01-01T00:00:00.000Z' }
    expect((await call('GET', '/api/v1/drain')).json).toEqual(idle)
    expect(await call('POST', '/api/v1/drain')).toMatchObject({ status: 200, json: draining })
    expect(await call('POST', '/api/v1/drain')).toMatchObject({ status: 200, json: draining })
    expect((await call('GET', '/api/v1/drain')).json).toEqual(draining)
    expect(await call('GET', '/readyz')).toMatchObject({
      status: 503,
      json: { ready: false, reasons: ['draining'] },
    })
    expect((await call('GET', '/api/v1/fleet')).json).toMatchObject({ gateways: [{ draining: true }] })
    expect((await call('POST', '/api/v1/undrain')).json).toEqual(idle)
    expect((await call('GET', '/readyz')).status).toBe(200)
  })

  it('can be told to end the gateway, where that can end itself', async () => {
    const { post, drain } = await open({ onEmpty: () => {} })
    expect((await post('/api/v1/drain', '{}')).json).toMatchObject({ draining: true, exit: false })
    expect((await post('/api/v1/drain', '{"exit":true}')).json).toMatchObject({ draining: true, exit: true })
    drain.end()
    const without = await open()
    expect(await without.post('/api/v1/drain', '{"exit":true}')).toMatchObject({
      status: 409,
      json: { error: { code: 'ADMIN_CANNOT_DRAIN' } },
    })
    expect(without.drain.isDraining).toBe(false)
  })

  it('cannot be taken back on the way down', async () => {
    const { call, drain } = await open()
    await drain.close(0)
    expect(await call('POST', '/api/v1/undrain')).toMatchObject({
      status: 409,
      json: { error: { code: 'ADMIN_IS_ENDING' } },
    })
  })

  it.each(['{', '5', '{"exit":1}', '{"wait":true}'])('with the body %s is refused', async (body) => {
    const { post, drain } = await open({ onEmpty: () => {} })
    expect(await post('/api/v1/drain', body)).toMatchObject({
      status: 400,
      json: { error: { code: 'ADMIN_BAD_BODY' } },
    })
    expect(drain.isDraining).toBe(false)
  })

  it.each([
    ['GET', '/api/v1/drain'],
    ['POST', '/api/v1/drain'],
    ['POST', '/api/v1/undrain'],
  ])('%s %s of a gateway that was made without one is refused', async (method, path) => {
    const { call } = await bench.open()
    expect(await call(method, path)).toMatchObject({
      status: 409,
      json: { error: { code: 'ADMIN_CANNOT_DRAIN' } },
    })
  })
})
