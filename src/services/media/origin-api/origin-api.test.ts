import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { MemoryBalancerStore, type OriginId } from '../../../mechanisms/balancer/index.ts'
import { HttpApi } from '../../../mechanisms/http-api/index.ts'
import { createLogger } from '../../../mechanisms/telemetry/index.ts'
import { OriginApi } from './index.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function gateway(options: { readonly maxAnswerBytes?: number; readonly timeoutMs?: number } = {}) {
  const store = new MemoryBalancerStore()
  const logger = createLogger({ stream: { write: () => {} } })
  const origins = new OriginApi({ origins: store, logger, ...options })
  const api = new HttpApi({
    listen: { host: '127.0.0.1', port: 0 },
    log: logger,
    serverHeader: 'test',
    token: 'secret',
    routes: origins.routes,
  })
  await api.start()
  closers.push(
    () => origins.close(),
    () => api.close(),
  )
  const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://127.0.0.1:${api.address?.port}${path}`, {
      headers: { authorization: 'Bearer secret' },
      ...init,
    })
  return { store, ask }
}

/** An origin that answers so, registered; with the requests it got. */
async function origin(
  store: MemoryBalancerStore,
  server: string,
  listener: RequestListener,
): Promise<{ readonly id: OriginId; readonly seen: IncomingMessage[] }> {
  const seen: IncomingMessage[] = []
  const http = createServer((request, response) => {
    seen.push(request)
    listener(request, response)
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  closers.push(async () => {
    http.closeAllConnections()
    http.close()
  })
  const { port } = http.address() as AddressInfo
  const lists = { rtmp: [], http: [], srt: [], api: [port], rtc: [8000] }
  return { id: await store.announce({ ip: '127.0.0.1', server, service: 's', pid: '1', ...lists }), seen }
}

const json =
  (body: unknown): RequestListener =>
  (_, response) =>
    response.setHeader('content-type', 'application/json').end(JSON.stringify(body))

describe('the APIs of origins', () => {
  it('one origin is asked with method, path, query and body, and its answer passes', async () => {
    const { store, ask } = await gateway()
    let got = ''
    const { id, seen } = await origin(store, 'a', (request, response) => {
      request.on('data', (chunk) => {
        got += String(chunk)
      })
      request.on('end', () =>
        response.writeHead(202, { 'content-type': 'application/json' }).end('{"code":7}'),
      )
    })
    const response = await ask(`/origins/${id}/api/v1/raw%20x/1?rpc=reload&a=b`, {
      method: 'POST',
      body: '{"x":1}',
      headers: { authorization: 'Bearer secret' },
    })
    expect([response.status, await response.text()]).toEqual([202, '{"code":7}'])
    expect([seen[0]?.method, seen[0]?.url, got]).toEqual([
      'POST',
      '/api/v1/raw%20x/1?rpc=reload&a=b',
      '{"x":1}',
    ])
    expect(seen[0]?.headers.authorization).toBeUndefined()
  })

  it('nobody without the token gets there, and no path leads out of /api/', async () => {
    const { store, ask } = await gateway()
    const { id, seen } = await origin(store, 'a', json({}))
    expect((await ask(`/origins/${id}/api/v1/clients`, { headers: {} })).status).toBe(401)
    expect((await ask(`/origins/${id}/api/..%2Frtc/v1/whip/`)).status).toBe(400)
    expect(seen).toEqual([])
  })

  it('an origin that is unknown, has no API, or is away says so', async () => {
    const { store, ask } = await gateway()
    expect(await (await ask('/origins/no-such-1/api/v1/clients')).json()).toMatchObject({
      error: { code: 'ORIGIN_API_NO_SUCH_ORIGIN' },
    })
    const bare = { ip: '127.0.0.1', service: 's', pid: '1', rtmp: [1], http: [], srt: [], rtc: [] }
    const none = await store.announce({ ...bare, server: 'none', api: [] })
    expect((await ask(`/origins/${none}/api/v1/clients`)).status).toBe(404)
    const away = await store.announce({ ...bare, server: 'away', rtc: [1], api: [1] })
    const response = await ask(`/origins/${away}/api/v1/clients`)
    expect([response.status, await response.json()]).toMatchObject([
      502,
      { error: { code: 'ORIGIN_API_UNREACHABLE' } },
    ])
  })

  it('lists of all origins are one list, and those that fail are named', async () => {
    const { store, ask } = await gateway()
    const a = await origin(store, 'a', json({ code: 0, streams: [{ id: 'x' }, { id: 'y' }] }))
    const b = await origin(store, 'b', json({ code: 0, streams: [{ id: 'x' }] }))
    const c = await origin(store, 'c', (_, response) => response.writeHead(500).end('no'))
    const answer = await (await ask('/api/v1/origins/streams?count=5')).json()
    expect(answer).toEqual({
      code: 0,
      streams: expect.arrayContaining([
        { id: 'x', origin: a.id },
        { id: 'y', origin: a.id },
        { id: 'x', origin: b.id },
      ]),
      failed: [c.id],
    })
    expect(a.seen[0]?.url).toBe('/api/v1/streams?count=5')
  })

  it('summaries of all origins', async () => {
    const { store, ask } = await gateway()
    const { id } = await origin(store, 'a', json({ code: 0, data: { ok: true } }))
    expect(await (await ask('/api/v1/origins/summaries')).json()).toEqual({
      code: 0,
      summaries: [{ ok: true, origin: id }],
      failed: [],
    })
  })

  it('an answer that is too large, or never comes, costs an error and no more', async () => {
    const narrow = await gateway({ maxAnswerBytes: 100 })
    const large = await origin(narrow.store, 'a', json({ text: 'x'.repeat(1000) }))
    expect(await (await narrow.ask(`/origins/${large.id}/api/v1/clients`)).json()).toMatchObject({
      error: { code: 'ORIGIN_API_TOO_LARGE' },
    })
    const hasty = await gateway({ timeoutMs: 200 })
    const silent = await origin(hasty.store, 'b', () => {})
    expect(await (await hasty.ask(`/origins/${silent.id}/api/v1/clients`)).json()).toMatchObject({
      error: { code: 'ORIGIN_API_UNREACHABLE' },
    })
  })
})
