import { Gauge, Registry } from 'prom-client'
import { afterEach, describe, expect, it } from 'vitest'
import { AdminBench, KEY, SESSION } from './admin.testkit.ts'

const bench = new AdminBench()
const open: AdminBench['open'] = (options) => bench.open(options)
afterEach(() => bench.close())

describe('health and metrics', () => {
  it('healthz is 200 ok', async () => {
    const { call } = await open()
    expect(await call('GET', '/healthz')).toMatchObject({ status: 200, body: 'ok\n' })
  })

  it('readyz tells what is missing, and is read at each request', async () => {
    let hasStore = false
    const { call } = await open({
      readiness: [
        () => ({ ok: true, reason: 'never shown' }),
        () => ({ ok: hasStore, reason: 'the store is away' }),
      ],
    })
    expect(await call('GET', '/readyz')).toMatchObject({
      status: 503,
      json: { ready: false, reasons: ['the store is away'] },
    })
    hasStore = true
    expect(await call('GET', '/readyz')).toMatchObject({ status: 200, json: { ready: true, reasons: [] } })
  })

  it('readyz is 200 while the gateway is degraded, and says why; what is not ready comes first', async () => {
    let isAway = true
    let isOk = true
    const { call } = await open({
      readiness: [
        () => ({ ok: true, isDegraded: isAway, reason: 'Redis is away' }),
        () => ({ ok: isOk, isDegraded: true, reason: 'no origin' }),
        () => ({ ok: true, isDegraded: false, reason: 'never shown' }),
      ],
    })
    const readyz = async (): Promise<unknown> => {
      const { status, json } = await call('GET', '/readyz')
      return [status, json]
    }
    expect(await readyz()).toEqual([
      200,
      { ready: true, degraded: true, reasons: ['Redis is away', 'no origin'] },
    ])
    isAway = false
    expect(await readyz()).toEqual([200, { ready: true, degraded: true, reasons: ['no origin'] }])
    isOk = false
    isAway = true
    expect(await readyz()).toEqual([503, { ready: false, reasons: ['no origin'] }])
  })

  it('metrics shows the registry it was given', async () => {
    const registry = new Registry()
    new Gauge({ name: 'sluice_test', help: 'h', registers: [registry] }).set(7)
    const { call } = await open({ registry })
    const { head, body } = await call('GET', '/metrics')
    expect(head).toContain('Content-Type: text/plain; version=0.0.4')
    expect(body).toContain('sluice_test 7')
  })

  it('health needs no token, everything else does', async () => {
    const { call } = await open({ token: 'tok' })
    for (const path of ['/healthz', '/readyz']) expect((await call('GET', path)).status).toBe(200)
    for (const [method, path] of [
      ['GET', '/metrics'],
      ['GET', '/api/v1/origins'],
      ['POST', '/api/v1/origins/s-v-1/drain'],
      ['POST', '/api/v1/origins/s-v-1/undrain'],
      ['DELETE', '/api/v1/origins/s-v-1'],
      ['GET', '/api/v1/streams'],
      ['DELETE', '/api/v1/picks/x'],
      ['GET', '/api/v1/sessions'],
      ['GET', '/api/v1/fleet'],
      ['GET', '/api/v1/status'],
      ['GET', '/api/v1/drain'],
      ['POST', '/api/v1/drain'],
      ['POST', '/api/v1/undrain'],
      ['DELETE', '/api/v1/sessions/x'],
    ] as const) {
      expect((await call(method, path)).status, path).toBe(401)
    }
    expect((await call('GET', '/metrics', { Authorization: 'Bearer tok' })).status).toBe(200)
  })
})

describe('origins', () => {
  it('are listed, drained, undrained and removed', async () => {
    const { call, store, clock, id } = await open()
    clock.advance(5000)
    const { json } = await call('GET', '/api/v1/origins')
    expect(json).toMatchObject({
      origins: [
        { id, state: 'healthy', lastHeartbeat: '2026-11-21T00:00:00.000Z', lastHeartbeatAgeSeconds: 5 },
      ],
    })
    expect(await call('POST', `/api/v1/origins/${id}/drain`)).toMatchObject({
      status: 200,
      json: { id, draining: true },
    })
    expect((await store.list())[0]?.draining).toBe(true)
    expect(await call('POST', `/api/v1/origins/${id}/undrain`)).toMatchObject({
      json: { id, draining: false },
    })
    expect((await store.list())[0]?.draining).toBe(false)
    expect(await call('DELETE', `/api/v1/origins/${id}`)).toMatchObject({ status: 200, json: { id } })
    expect(await store.list()).toEqual([])
  })

  it.each([
    ['DELETE', '/api/v1/origins/absent'],
    ['POST', '/api/v1/origins/absent/drain'],
    ['POST', '/api/v1/origins/absent/undrain'],
    ['DELETE', `/api/v1/origins/${'x'.repeat(2000)}`],
  ])('%s of one that is not there is 404', async (method, path) => {
    const { call } = await open()
    expect(await call(method, path)).toMatchObject({
      status: 404,
      json: { error: { code: 'ADMIN_NO_SUCH_ORIGIN' } },
    })
  })
})

describe('streams and picks', () => {
  it('are listed, and a pick is cleared by its encoded key', async () => {
    const { call, store, id } = await open()
    await (await store.pick(KEY, 'rtmp', { role: 'publish' })).keep()
    expect((await call('GET', '/api/v1/streams')).json).toEqual({
      streams: [
        {
          ...{ key: KEY, originId: id, publishers: 1, players: 0, since: '2026-11-21T00:00:00.000Z' },
          ...{ isPinned: false, isFollowed: false, gateways: ['gateway'] },
        },
      ],
    })
    const path = `/api/v1/picks/${encodeURIComponent(KEY)}`
    expect(await call('DELETE', path)).toMatchObject({ status: 200, json: { key: KEY } })
    expect(await store.streams()).toEqual([])
    expect(await call('DELETE', path)).toMatchObject({
      status: 404,
      json: { error: { code: 'ADMIN_NO_SUCH_PICK' } },
    })
    expect(await call('DELETE', '/api/v1/picks/%00')).toMatchObject({
      status: 400,
      json: { error: { code: 'BALANCER_BAD_STREAM_KEY' } },
    })
  })
})

describe('a pin', () => {
  const path = `/api/v1/picks/${encodeURIComponent(KEY)}`

  it('leads a stream to the origin that is named, until it is cleared', async () => {
    const { call, put, store, id } = await open()
    expect(await put(path, { origin: id })).toMatchObject({
      status: 200,
      json: { key: KEY, origin: id },
    })
    expect(await store.streams()).toMatchObject([{ key: KEY, originId: id, isPinned: true }])
    expect((await call('DELETE', path)).status).toBe(200)
    expect(await store.streams()).toEqual([])
  })

  it.each([
    ['not JSON', '{', 400, 'ADMIN_BAD_BODY'],
    ['no origin', {}, 400, 'ADMIN_BAD_BODY'],
    ['an origin that is no text', { origin: 5 }, 400, 'ADMIN_BAD_BODY'],
    ['an origin that is not there', { origin: 'x-y-1' }, 404, 'ADMIN_NO_SUCH_ORIGIN'],
  ])('%s is an error', async (_, body, status, code) => {
    const { put, store } = await open()
    expect(await put(path, body)).toMatchObject({ status, json: { error: { code } } })
    expect(await store.streams()).toEqual([])
  })
})

describe('sessions', () => {
  it('of all services are listed and kicked', async () => {
    const { call } = await open()
    const { sinceMs: _, ...shown } = SESSION
    expect((await call('GET', '/api/v1/sessions')).json).toEqual({
      sessions: [{ ...shown, since: '2026-11-21T00:00:00.000Z' }],
    })
    expect((await call('DELETE', '/api/v1/sessions/abc%2F1')).status).toBe(200)
    expect((await call('GET', '/api/v1/sessions')).json).toEqual({ sessions: [] })
    expect(await call('DELETE', '/api/v1/sessions/abc%2F1')).toMatchObject({
      status: 404,
      json: { error: { code: 'ADMIN_NO_SUCH_SESSION' } },
    })
  })

  it('a failing list is a 500 that tells nothing, and the service goes on', async () => {
    const { call } = await open({
      sessions: [
        {
          sessionCount: 1,
          listSessions: () => {
            throw new Error('inner')
          },
          kickSession: () => false,
        },
      ],
    })
    const { status, body } = await call('GET', '/api/v1/sessions')
    expect(status).toBe(500)
    expect(body).not.toContain('inner')
    expect((await call('GET', '/healthz')).status).toBe(200)
  })
})
