import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../../foundation/clock.ts'
import { SluiceError } from '../../../../foundation/errors.ts'
import { HlsOrigin } from './hls-origin.testkit.ts'
import { FakeAccess, files, HlsFakeBalancer, HlsGateway, playlist, TestOrigin } from './hls-proxy.testkit.ts'
import { until } from '../http.testkit.ts'

const FILES = {
  '/live/s.m3u8': playlist('#EXT-X-MAP:URI="s-i.mp4"', 's-1.ts', 's-2.ts'),
  '/live/s-1.ts': 'one',
  '/live/s-2.ts': 'two',
  '/live/t.m3u8': playlist('t-1.ts'),
}

describe('a viewer of HLS', () => {
  it('is let in once for its playlists and segments, listed, and over 120 s after its last request', async () => {
    const clock = new ManualClock()
    const access = new FakeAccess()
    await using origin = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer, { access, clock })
    for (const path of [
      '/live/s.m3u8?token=x',
      '/live/s.m3u8?hls_ctx=c1&token=x',
      '/live/s-1.ts?spbhid=0000001&hls_ctx=c1',
      '/live/s.m3u8?hls_ctx=c1&token=x&_HLS_msn=7',
      '/live/s-2.ts',
    ]) {
      expect(
        (await gateway.get(path, { headers: { Authorization: 'Bearer b', Referer: 'http://page/' } })).status,
      ).toBe(200)
    }
    expect(access.asked).toHaveLength(1)
    expect(access.asked[0]).toMatchObject({
      protocol: 'hls',
      role: 'play',
      key: '__defaultVhost__/live/s',
      address: '127.0.0.1',
      query: 'token=x',
      bearer: 'b',
      tcUrl: 'http://play.example.com:8080/live',
      pageUrl: 'http://page/',
    })
    const [session] = gateway.hls.listSessions()
    expect(session).toMatchObject({
      id: access.asked[0]?.sessionId,
      protocol: 'hls',
      role: 'play',
      streamKey: '__defaultVhost__/live/s',
      originId: 'o0',
      address: '127.0.0.1',
    })
    expect(session?.bytesOut).toBeGreaterThan(6)
    expect([balancer.kept, balancer.holds]).toEqual([['o0'], 1])
    clock.advance(115_000)
    await gateway.get('/live/s-1.ts?spbhid=0000001&hls_ctx=c1')
    clock.advance(115_000)
    expect(access.ended).toBe(0)
    clock.advance(15_000)
    expect([access.ended, balancer.holds, gateway.hls.listSessions()]).toEqual([1, 0, []])
    await gateway.get('/live/s.m3u8?token=x')
    expect(access.asked).toHaveLength(2)
  })

  it('is another one with other credentials, another hls_ctx or another stream', async () => {
    const access = new FakeAccess()
    await using origin = await TestOrigin.start(files(FILES))
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]), { access })
    for (const path of [
      '/live/s.m3u8?hls_ctx=c1',
      '/live/s.m3u8?hls_ctx=c2',
      '/live/s.m3u8?hls_ctx=c2&token=x',
      '/live/t.m3u8',
      '/live/s.m3u8?hls_ctx=c1',
      '/live/s-1.ts?spbhid=0000001&hls_ctx=c2',
    ]) {
      await gateway.get(path)
    }
    expect(access.asked).toHaveLength(4)
    expect(gateway.hls.listSessions()).toHaveLength(4)
    expect(await gateway.metric('sluice_hls_sessions')).toBe(4)
  })

  it('asks for the stream whose name begins like that of an spbhid, and not for its segments', async () => {
    const access = new FakeAccess()
    const playlists = { '/live/s.m3u8': playlist('s-1.ts'), '/live/s-2.m3u8': playlist('s-2-1.ts') }
    await using origin = await TestOrigin.start(files({ ...playlists, '/live/s-2-1.ts': 'other' }))
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]), { access })
    await gateway.get('/live/s.m3u8')
    expect((await gateway.get('/live/s-2.m3u8?spbhid=0000001')).status).toBe(200)
    expect(access.asked.map(({ key }) => key)).toEqual([
      '__defaultVhost__/live/s',
      '__defaultVhost__/live/s-2',
    ])
    // Its playlist named it.
    expect((await gateway.get('/live/s-2-1.ts?spbhid=0000001')).status).toBe(404)
    expect((await gateway.get('/live/s-2-1.ts')).text).toBe('other')
    const details = { side: 'client', retryable: false, status: 401 } as const
    access.refusal = new SluiceError('ACCESS_CREDENTIALS_MISSING', 'no', details)
    expect((await gateway.get('/live/s-3.m3u8?spbhid=0000001')).status).toBe(401)
  })

  it('asks for each stream that a segment may be of, when nothing but its name says which', async () => {
    const access = new FakeAccess()
    await using origin = await TestOrigin.start(files({ '/live/s-a-1.m4s': 'media' }))
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]), { access })
    expect((await gateway.get('/live/s-a-1.m4s')).text).toBe('media')
    expect(access.asked.map(({ key }) => key)).toEqual([
      '__defaultVhost__/live/s-a',
      '__defaultVhost__/live/s',
    ])
    access.secret = '__defaultVhost__/live/s'
    expect((await gateway.get('/live/s-a-1.m4s?spbhid=ffffff0')).status).toBe(403)
  })

  it('is another one when a second player of the address begins with the same playlist', async () => {
    const access = new FakeAccess()
    await using origin = await TestOrigin.start(files(FILES))
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]), { access })
    for (const query of ['', '?hls_ctx=c1', '', '?hls_ctx=c2', '?hls_ctx=c1'])
      await gateway.get(`/live/s.m3u8${query}`)
    expect(access.asked).toHaveLength(2)
  })

  it('is asked for once when its first requests come together', async () => {
    const access = new FakeAccess()
    await using origin = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer, { access })
    await Promise.all(Array.from({ length: 10 }, () => gateway.get('/live/s.m3u8')))
    expect([access.asked.length, balancer.kept.length, balancer.holds]).toEqual([1, 1, 1])
  })

  it('that is refused is told so, before any origin is asked', async () => {
    const access = new FakeAccess()
    await using origin = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer, { access })
    for (const [status, code] of [
      [401, 'ACCESS_CREDENTIALS_MISSING'],
      [403, 'ACCESS_CREDENTIALS_WRONG'],
      [429, 'ACCESS_TOO_MANY'],
      [503, 'ACCESS_HOOK_AWAY'],
    ] as const) {
      access.refusal = new SluiceError(code, 'no', { side: 'client', retryable: false, status })
      for (const path of ['/live/s.m3u8', '/live/s-1.ts?spbhid=ffffff0']) {
        const { status: got, text, headers } = await gateway.get(path)
        expect([got, JSON.parse(text).code]).toEqual([status, code])
        expect(headers['www-authenticate']).toBe(status === 401 ? 'Bearer' : undefined)
        expect(headers['access-control-allow-origin']).toBe('*')
      }
    }
    expect([balancer.keys, origin.urls, gateway.hls.listSessions()]).toEqual([[], [], []])
    expect(await gateway.metric('sluice_hls_sessions')).toBe(0)
  })

  it('that finds no stream leaves nothing behind', async () => {
    const access = new FakeAccess()
    await using origin = await TestOrigin.start(files({}))
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer, { access })
    expect((await gateway.get('/live/s.m3u8')).status).toBe(404)
    expect([access.ended, access.running.size, balancer.kept, balancer.released]).toEqual([1, 0, [], ['o0']])
    expect(balancer.sessions).toEqual([])
    expect(await gateway.metric('sluice_hls_sessions')).toBe(0)
  })

  it('is over when its admission is, and its body is cut', async () => {
    const access = new FakeAccess()
    await using origin = await TestOrigin.start((_request, response) => {
      response.writeHead(200, { 'Content-Length': 10 })
      response.write('12345')
    })
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer, { access })
    const body = gateway.get('/live/s-1.m4s')
    await until(() => balancer.holds === 1)
    for (const controller of access.running) controller.abort()
    expect((await body).isComplete).toBe(false)
    expect([access.ended, balancer.holds, gateway.hls.listSessions()]).toEqual([1, 0, []])
  })

  it('that was kicked gets 403 until it would have expired', async () => {
    const clock = new ManualClock()
    await using origin = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer, { clock })
    await gateway.get('/live/s.m3u8')
    const [session] = gateway.hls.listSessions()
    expect(gateway.hls.kickSession('nobody')).toBe(false)
    expect(gateway.hls.kickSession(session?.id ?? '')).toBe(true)
    expect(gateway.hls.kickSession(session?.id ?? '')).toBe(false)
    expect([balancer.holds, gateway.hls.listSessions()]).toEqual([0, []])
    for (const path of ['/live/s.m3u8', '/live/s-1.ts?spbhid=0000001']) {
      const { status, text } = await gateway.get(path)
      expect([status, JSON.parse(text).code]).toEqual([403, 'HTTP_SESSION_KICKED'])
    }
    clock.advance(130_000)
    expect((await gateway.get('/live/s.m3u8')).status).toBe(200)
  })

  it('gets nothing any more that an origin answers after its end', async () => {
    await using origin = await HlsOrigin.start()
    origin.publish(4)
    const access = new FakeAccess()
    const hls = `http://127.0.0.1:${origin.port}/{app}/{stream}.m3u8`
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([{ http: [], urls: { hls } }]), {
      access,
    })
    await gateway.get('/live/s/main.m3u8')
    const replies = [
      gateway.get('/live/s/main.m3u8?_HLS_msn=2'),
      gateway.get('/live/s/seg1.0.m4s?spbhid=0000001'),
    ]
    await until(() => origin.waiting === 2)
    expect(gateway.hls.kickSession(gateway.hls.listSessions()[0]?.id ?? '')).toBe(true)
    origin.publish(8)
    for (const { status, text } of await Promise.all(replies)) {
      expect([status, JSON.parse(text).code]).toEqual([403, 'HTTP_SESSION_KICKED'])
    }
    expect([access.ended, access.running.size]).toEqual([1, 0])
  })

  it('is served no faster than its limits say', async () => {
    const clock = new ManualClock()
    const access = new FakeAccess()
    const charged: number[] = []
    access.limits = [
      {
        id: 'app live',
        bytesPerSecond: 1,
        burstBytes: 1,
        charge: (bytes) => (charged.push(bytes) === 1 ? 5000 : 0),
      },
    ]
    const text = 'x'.repeat(500_000)
    await using origin = await TestOrigin.start((_request, response) => {
      response.writeHead(200, { 'Content-Length': text.length }).end(text)
    })
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]), { access, clock })
    const body = gateway.get('/live/s-1.m4s')
    await until(() => charged.length === 1 && clock.dueInMs !== undefined)
    // The look at bodies that stand still comes each second, and finds this one waiting.
    clock.advance(4999)
    expect(charged).toHaveLength(1)
    clock.advance(1)
    expect((await body).text).toHaveLength(text.length)
    expect(charged.reduce((sum, bytes) => sum + bytes, 0)).toBe(text.length)
  })

  it('has a bound for one address, and one for all', async () => {
    const access = new FakeAccess()
    await using origin = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer, { access, maxViewersPerAddress: 3 })
    const statuses = async (to: HlsGateway): Promise<number[]> => {
      const replies = []
      for (const name of ['a', 'b', 'c', 'd', 'a']) replies.push(await to.get(`/live/s.m3u8?name=${name}`))
      return replies.map(({ status }) => status)
    }
    expect(await statuses(gateway)).toEqual([200, 200, 200, 429, 200])
    expect(access.asked).toHaveLength(3)
    await using small = await HlsGateway.start(balancer, { access, maxViewers: 2 })
    expect(await statuses(small)).toEqual([200, 200, 200, 200, 200])
    expect(small.hls.listSessions()).toHaveLength(2)
    expect(access.running.size).toBe(5)
  })

  it('is over when the proxy closes, and no timer or connection is left', async () => {
    const clock = new ManualClock()
    const access = new FakeAccess()
    await using origin = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([origin.port])
    const gateway = await HlsGateway.start(balancer, { access, clock })
    await gateway.get('/live/s.m3u8')
    await gateway[Symbol.asyncDispose]()
    await gateway.hls.close()
    expect([access.ended, balancer.holds, clock.pending]).toEqual([1, 0, 0])
    await gateway.untilMetric('sluice_hls_origin_connections', 0)
  })

  it('tells the origin who it is', async () => {
    await using origin = await TestOrigin.start(files(FILES))
    const clientOf = () => ({
      address: '192.0.2.7',
      isSecure: true,
      headers: [{ name: 'X-Real-IP', value: '192.0.2.7' }],
    })
    const access = new FakeAccess()
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]), { access, clientOf })
    await gateway.get('/live/s.m3u8', { headers: { 'X-Real-IP': '1.2.3.4', 'X-Forwarded-For': '1.2.3.4' } })
    expect(origin.requests[0]?.headers).toMatchObject({
      'x-real-ip': '192.0.2.7',
      host: 'play.example.com:8080',
    })
    expect(origin.requests[0]?.headers['x-forwarded-for']).toBeUndefined()
    expect(access.asked[0]).toMatchObject({
      address: '192.0.2.7',
      tcUrl: 'https://play.example.com:8080/live',
    })
  })
})
