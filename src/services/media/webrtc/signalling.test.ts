import { connect, Socket } from 'node:net'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import type { HttpClientOf } from '../../../mechanisms/net/index.ts'
import { MemoryBalancerStore, streamKeyOfHttp } from '../../../mechanisms/balancer/index.ts'
import { until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import { answerSdp, check, FakeOrigin, offerSdp, openClient, TestGateway } from './webrtc.testkit.ts'

async function stage(options: Parameters<typeof TestGateway.start>[0] = {}): Promise<{
  origin: FakeOrigin
  gateway: TestGateway
}> {
  const origin = await FakeOrigin.start()
  const gateway = await TestGateway.start(options)
  await gateway.store.announce(origin.announcement())
  return { origin, gateway }
}

async function codeOf(response: Response): Promise<unknown> {
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(response.headers.get('access-control-allow-origin')).toBe('*')
  const body = (await response.json()) as { code: string; message: string }
  expect(body.message).not.toMatch(/127\.0|10\.9/)
  return body.code
}

describe('POST', () => {
  test('answers with status, headers and SDP of the origin, and the addresses of the gateway', async () => {
    const { origin, gateway } = await stage()
    origin.reply = (request) => {
      const reply = origin.accept(request, 'or16')
      return typeof reply === 'string'
        ? reply
        : {
            ...reply,
            headers: {
              ...reply.headers,
              link: [
                '<stun:x>; rel="ice-server"',
                '<http://10.9.8.7/events>; rel="a, b", </events>; rel=c, <turn:y?transport=udp>; rel="ice-server"; credential="a,<b>"',
              ],
              'alt-svc': 'h2="10.9.8.7:1"',
              server: 'SRS/7',
              'x-inner': 'kept',
            },
          }
    }
    const response = await gateway.post('/rtc/v1/whip/?app=live&stream=s', offerSdp('clnt'))
    expect(response.status).toBe(201)
    const header = (name: string): string | null => response.headers.get(name)
    expect(header('content-type')).toBe('application/sdp')
    expect(header('location')).toMatch(/^\/rtc\/v1\/session\/[\w-]{32}$/)
    expect([header('etag'), header('link'), header('server'), header('x-inner')]).toEqual([
      '"or16"',
      '<stun:x>; rel="ice-server", <turn:y?transport=udp>; rel="ice-server"; credential="a,<b>"',
      'SRS/7',
      'kept',
    ])
    expect(header('alt-svc')).toBeNull()
    expect(header('access-control-expose-headers')).toBe('Location, Link, ETag, Retry-After')
    const answer = await response.text()
    const expected = answerSdp('or16', origin.udp.port).replace(
      /a=candidate.*\r\n/,
      `a=candidate:1 1 udp 2130706431 127.0.0.1 ${gateway.media.port} typ host\r\n` +
        `a=candidate:2 1 udp 2130706175 127.0.0.2 ${gateway.media.port} typ host\r\n`,
    )
    expect(answer.replace(/a=candidate:2.*\r\n/, '')).toBe(expected.replace(/a=candidate:2.*\r\n/, ''))
  })

  test('addresses that the origin announces are told with the ports of the gateway, when that is wished', async () => {
    const { origin, gateway } = await stage({
      keepOriginAddresses: true,
      tcpListen: [{ host: '127.0.0.1', port: 0 }],
      iceTcp: true,
    })
    origin.reply = (request) => origin.accept(request, 'or16')
    const { answer } = await gateway.open('clnt')
    const [tcp] = gateway.service.tcpAddresses
    expect(answer.match(/(?:udp|tcp) \d+ \S+ \d+ typ/g)?.map((text) => text.replace(/ \d+/, ''))).toEqual([
      `udp 10.9.8.7 ${gateway.media.port} typ`,
      `udp 127.0.0.1 ${gateway.media.port} typ`,
      `tcp 10.9.8.7 ${tcp?.port} typ`,
      `tcp 127.0.0.1 ${tcp?.port} typ`,
    ])
  })

  test('the origin sees path, query, credentials and client, and no candidates', async () => {
    const clientOf: HttpClientOf = () => ({
      address: '192.0.2.1',
      isSecure: true,
      headers: [
        { name: 'X-Forwarded-For', value: '192.0.2.1' },
        { name: 'X-Real-IP', value: '192.0.2.1' },
      ],
    })
    const { origin, gateway } = await stage({ clientOf })
    const headers = {
      authorization: 'Bearer t',
      'user-agent': 'obs',
      'x-forwarded-for': '6.6.6.6',
      cookie: 'a=b',
    }
    await gateway.post(
      '/rtc/v1/whip/?app=live&stream=s&token=x&ice-ufrag=evil&ice-pwd=evil',
      offerSdp('clnt'),
      headers,
    )
    const [seen] = origin.seen
    expect([seen?.method, seen?.url]).toEqual(['POST', '/rtc/v1/whip/?app=live&stream=s&token=x'])
    expect(seen?.headers).toMatchObject({
      authorization: 'Bearer t',
      'content-type': 'application/sdp',
      'user-agent': 'obs',
      'x-forwarded-for': '192.0.2.1',
      'x-real-ip': '192.0.2.1',
      host: new URL(gateway.url).host,
    })
    expect(seen?.headers.cookie).toBeUndefined()
    expect(seen?.body).toContain('a=ice-ufrag:clnt')
    expect(seen?.body).not.toMatch(/a=candidate|192\.0\.2\.7|50000/)
  })

  test.each([
    '/rtc/v1/whip/?app=live&stream=s&x=1,stream=secret',
    '/rtc/v1/whip/?app=live&stream=s&x=1;stream=secret',
    '/rtc/v1/whip/?app=live&stream=s,stream,secret',
    '/rtc/v1/whep/?x=1,app=secret&%61pp=live&stream=s',
    '/rtc/v1/whip/?app=live&stream=s&x=1,action=play',
    '/rtc/v1/whip/?app=live&stream=s&x=1,ice-ufrag=mine',
    '/live/s/whip?x=1,stream=secret',
  ])('%s, which SRS would read otherwise, does not get there', async (path) => {
    const { origin, gateway } = await stage()
    const response = await gateway.post(path, offerSdp('clnt'))
    expect([response.status, await response.text()]).toEqual([
      400,
      expect.stringContaining('WEBRTC_BAD_QUERY'),
    ])
    expect(origin.seen).toEqual([])
  })

  test('names of a path cannot add parameters', async () => {
    const { origin, gateway } = await stage()
    expect((await gateway.post('/live/s,stream,x;a/whip', offerSdp('clnt'))).status).toBe(201)
    expect(origin.seen[0]?.url).toBe('/rtc/v1/whip/?app=live&stream=s%2Cstream%2Cx%3Ba')
  })

  test('what plays is not what says so twice', async () => {
    const { origin, gateway } = await stage()
    const path = '/rtc/v1/whip/?app=live&stream=s&action=publish&action=play'
    expect((await gateway.post(path, offerSdp('clnt'))).status).toBe(400)
    expect(origin.seen).toEqual([])
  })

  test.each([
    ['/live/s/whip?token=x', '/rtc/v1/whip/?app=live&stream=s&token=x'],
    ['/live/s/whep', '/rtc/v1/whep/?app=live&stream=s'],
    ['/rtc/v1/whep?app=live&stream=s', '/rtc/v1/whep/?app=live&stream=s'],
    // SRS would take `app` for a value.
    ['/rtc/v1/whep?token=a=&app=live&vhost&%73tream=s', '/rtc/v1/whep/?app=live&vhost=&stream=s&token=a='],
  ])('%s asks the origin for %s', async (path, url) => {
    const { origin, gateway } = await stage()
    expect((await gateway.post(path, offerSdp('clnt'))).status).toBe(201)
    expect(origin.seen[0]?.url).toBe(url)
    expect(await gateway.store.streams()).toMatchObject([{ key: '__defaultVhost__/live/s' }])
  })

  test('a Host with and without its port is one stream', async () => {
    const { gateway } = await stage({
      streamKeyOf: (request) => streamKeyOfHttp(request, { keys: 'normal', vhosts: ['cdn.example.com'] }),
    })
    const { hostname, port } = new URL(gateway.url)
    for (const [i, host] of ['cdn.example.com', 'CDN.example.com:8080'].entries()) {
      const socket = connect(Number(port), hostname)
      const body = offerSdp(`clnt${i}`)
      socket.write(
        `POST /live/s/whep HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      )
      const [head] = (await once(socket, 'data')) as [Buffer]
      expect(head.toString()).toMatch(/^HTTP\/1\.1 201 /)
      socket.destroy()
    }
    expect(await gateway.store.streams()).toMatchObject([{ key: 'cdn.example.com/live/s', players: 2 }])
  })

  test('roles are told apart, also by `action=play`', async () => {
    const { gateway } = await stage()
    await gateway.open('aaaa', '/live/s/whip')
    await gateway.open('bbbb', '/live/s/whep')
    await gateway.open('cccc', '/rtc/v1/whip/?app=live&stream=s&action=play')
    expect(gateway.service.listSessions().map(({ role }) => role)).toEqual(['publish', 'play', 'play'])
    expect(await gateway.store.streams()).toMatchObject([{ publishers: 1, players: 2 }])
    expect(await gateway.metric('sluice_webrtc_sessions{role="play"}')).toBe(2)
  })

  test.each([
    ['no SDP', 'hello', 400, 'WEBRTC_BAD_SDP'],
    ['nothing', '', 400, 'WEBRTC_BAD_SDP'],
    ['no ICE credentials', 'v=0\r\nm=video 9 X 0\r\n', 400, 'WEBRTC_NO_ICE_CREDENTIALS'],
    ['too much', offerSdp('clnt').padEnd(65_537, 'a'), 413, 'WEBRTC_BODY_TOO_LARGE'],
  ])('%s is refused before an origin is asked', async (_, body, status, code) => {
    const { origin, gateway } = await stage()
    const response = await gateway.post('/live/s/whip', body)
    expect(response.status).toBe(status)
    expect(await codeOf(response)).toBe(code)
    expect(origin.seen).toEqual([])
    expect(await gateway.metric(`sluice_webrtc_errors_total{code="${code}"}`)).toBe(1)
  })

  test('a request that names no stream is the client`s error', async () => {
    const { gateway } = await stage()
    const response = await gateway.post('/rtc/v1/whip/', offerSdp('clnt'))
    expect([response.status, await codeOf(response)]).toEqual([400, 'BALANCER_BAD_STREAM_KEY'])
  })

  test('a body that does not come in time is given up', async () => {
    const { gateway } = await stage({ requestTimeoutMs: 50 })
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname)
    socket.write('POST /live/s/whip HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nv=0')
    const [head] = (await once(socket, 'data')) as [Buffer]
    expect(head.toString()).toMatch(/^HTTP\/1\.1 408 /)
    socket.destroy()
  })

  test.each([
    [404, { 'retry-after': '7' }, { 'x-inner': '10.9.8.7' }],
    [401, { 'www-authenticate': 'Bearer realm="o"' }, { server: '10.9.8.7' }],
    [503, { 'retry-after': '3' }, { 'content-type': 'application/sdp' }],
  ])(
    'a refusal of the origin (%i) is passed on, but for what it tells of the inside',
    async (status, told, untold) => {
      const { origin, gateway } = await stage()
      const headers = { ...told, ...untold, location: '/sessions/1', connection: 'x-hop', 'x-hop': '1' }
      origin.reply = () => ({ status, headers, body: answerSdp('or16', 1) })
      const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
      expect([response.status, await codeOf(response)]).toEqual([status, 'WEBRTC_ORIGIN_REFUSED'])
      for (const [name, value] of Object.entries(told)) expect(response.headers.get(name)).toBe(value)
      expect(JSON.stringify([...response.headers])).not.toContain('10.9.8.7')
      expect(response.headers.get('x-hop')).toBeNull()
      expect(gateway.service.listSessions()).toEqual([])
      expect(await gateway.store.streams()).toEqual([])
    },
  )

  test('a refusal without the headers that its status calls for gets them', async () => {
    const { origin, gateway } = await stage()
    origin.reply = () => ({ status: 401 })
    expect((await gateway.post('/live/s/whip', offerSdp('clnt'))).headers.get('www-authenticate')).toBe(
      'Bearer',
    )
    origin.reply = () => ({ status: 429 })
    expect((await gateway.post('/live/s/whip', offerSdp('clnt'))).headers.get('retry-after')).toBe('5')
  })

  test('an origin that is too busy is left for another, one that refuses the client is not', async () => {
    const [busy, free] = [await FakeOrigin.start(), await FakeOrigin.start()]
    const gateway = await TestGateway.start()
    const busyId = await gateway.store.announce(busy.announcement())
    busy.reply = () => ({ status: 503 })
    await gateway.store.announce(free.announcement())
    for (let i = 0; i < 6; i++) await gateway.open(`clnt${i}`, `/live/s${i}/whep`)
    expect(gateway.service.listSessions().some(({ originId }) => originId === busyId)).toBe(false)
    expect(busy.seen.length).toBeGreaterThan(0)
    expect(await gateway.store.findOrigin(busyId)).toMatchObject({ state: 'healthy' })
    for (const origin of [busy, free]) origin.reply = () => ({ status: 404 })
    const asked = busy.seen.length + free.seen.length
    expect((await gateway.post('/live/other/whep', offerSdp('clnt'))).status).toBe(404)
    expect(busy.seen.length + free.seen.length).toBe(asked + 1)
  })

  test.each([
    ['no SDP', { status: 201, body: 'hello' }],
    ['a body with status 202', { status: 202, body: answerSdp('or16', 1) }],
    ['no ICE credentials', { status: 201, body: 'v=0\r\nm=video 9 X 0\r\n' }],
    ['too much', { status: 201, body: answerSdp('or16', 1).padEnd(300_000, 'a') }],
  ])('an origin that answers with %s is a 502', async (_, reply) => {
    const { origin, gateway } = await stage()
    origin.reply = ({ method }) =>
      method === 'POST' ? { ...reply, headers: { location: '/there?session=x' } } : { status: 200 }
    const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([response.status, await codeOf(response)]).toEqual([502, 'WEBRTC_ORIGIN_BAD_ANSWER'])
    expect(gateway.datapath.totals().endpoints).toBe(1)
    if (reply.body.length < 300_000) {
      await until(() => origin.seen.length === 2, 'the session to be deleted')
      expect([origin.seen[1]?.method, origin.seen[1]?.url]).toEqual(['DELETE', '/there?session=x'])
    }
  })

  test('an origin that is gone, resets or hangs is passed over for the next', async () => {
    const [bad, good] = [await FakeOrigin.start(), await FakeOrigin.start()]
    // Long enough for the good one on a slow machine.
    const gateway = await TestGateway.start({ headersTimeoutMs: 2000 })
    await gateway.store.announce(bad.announcement())
    await gateway.store.announce(good.announcement())
    for (const reply of ['reset', 'hang'] as const) {
      bad.reply = () => reply
      for (let i = 0; i < 4; i++) await gateway.open(`cl${reply}${i}`, `/live/${reply}${i}/whip`)
    }
    await bad.close()
    for (let i = 0; i < 4; i++) await gateway.open(`gone${i}`, `/live/gone${i}/whip`)
    const ids = new Set(gateway.service.listSessions().map(({ originId }) => originId))
    expect([...ids]).toEqual([`server-${good.apiPort}-run-1`])
    const states = (await gateway.store.list()).map(({ server, state }) => [server, state])
    expect(states).toContainEqual([`server-${bad.apiPort}`, 'suspect'])
  })

  test.each([
    ['closes the connection', 'reset' as const],
    ['breaks off', { status: 201, headers: { 'content-length': '1000' }, body: 'v=0' }],
    ['answers nonsense', { status: 201, body: 'hello' }],
    ['answers without an end', { status: 201, body: Buffer.alloc(1 << 20) }],
  ])('an origin that takes the offer and %s is passed over, and not suspect', async (_, reply) => {
    const [bad, good] = [await FakeOrigin.start(), await FakeOrigin.start()]
    const gateway = await TestGateway.start()
    const badId = await gateway.store.announce(bad.announcement())
    bad.reply = () => reply
    const alone = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([alone.status, await codeOf(alone)]).toEqual([502, 'WEBRTC_ORIGIN_BAD_ANSWER'])
    await gateway.store.announce(good.announcement())
    for (let i = 0; i < 4; i++) await gateway.open(`clnt${i}`, `/live/s${i}/whip`)
    expect(gateway.service.listSessions().some(({ originId }) => originId === badId)).toBe(false)
    expect(await gateway.store.findOrigin(badId)).toMatchObject({ state: 'healthy' })
    expect(gateway.store.stats().pendingPicks).toBe(0)
  })

  test('a second publisher that the origin drops is told that the stream is busy', async () => {
    const { origin, gateway } = await stage()
    await gateway.open('clnt', '/live/s/whip')
    origin.reply = () => 'reset'
    const second = await gateway.post('/live/s/whip', offerSdp('next'))
    expect([second.status, await codeOf(second)]).toEqual([409, 'WEBRTC_STREAM_BUSY'])
    const player = await gateway.post('/live/s/whep', offerSdp('plyr'))
    expect([player.status, await codeOf(player)]).toEqual([502, 'WEBRTC_ORIGIN_BAD_ANSWER'])
  })

  test('an origin that hangs is suspect, unless a publisher of that stream is live there', async () => {
    const { origin, gateway } = await stage({ headersTimeoutMs: 2000 })
    await gateway.open('clnt', '/live/s/whip')
    origin.reply = () => 'hang'
    const stateAfter = async (path: string): Promise<string | undefined> => {
      const response = await gateway.post(path, offerSdp('next'))
      expect([response.status, await codeOf(response)]).toEqual([504, 'WEBRTC_ORIGIN_TIMEOUT'])
      return (await gateway.store.list())[0]?.state
    }
    expect(await stateAfter('/live/s/whep')).toBe('healthy')
    expect(await stateAfter('/live/other/whep')).toBe('suspect')
  })

  test('a publisher whose origin was killed is taken elsewhere, though his old session is not idle yet', async () => {
    const clock = new ManualClock()
    const { origin, gateway } = await stage({ clock })
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    await client.send(check(username), gateway.media)
    await origin.udp.next()
    const other = await FakeOrigin.start()
    const otherId = await gateway.store.announce(other.announcement())
    await origin.close()
    clock.advance(2000)
    expect((await gateway.post('/live/s/whip', offerSdp('next'))).status).toBe(502)
    clock.advance(1000)
    await gateway.open('next')
    expect(gateway.service.listSessions()).toMatchObject([{ originId: otherId }])
    expect(await gateway.store.streams()).toMatchObject([{ originId: otherId, publishers: 1 }])
  })

  test('an origin whose address takes no connection in time is unreachable', async () => {
    const { gateway } = await stage({ connectTimeoutMs: 50, dial: () => new Socket() })
    const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([response.status, await codeOf(response)]).toEqual([502, 'WEBRTC_ORIGIN_UNREACHABLE'])
    expect((await gateway.store.list())[0]?.state).toBe('suspect')
  })

  test('no origin at all: 503; none reachable: 502; none in time: 504', async () => {
    const gateway = await TestGateway.start({ headersTimeoutMs: 100 })
    const none = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([none.status, await codeOf(none)]).toEqual([503, 'BALANCER_NO_ORIGIN'])
    const origin = await FakeOrigin.start()
    await gateway.store.announce(origin.announcement())
    origin.reply = () => 'hang'
    const slow = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([slow.status, await codeOf(slow)]).toEqual([504, 'WEBRTC_ORIGIN_TIMEOUT'])
    await origin.close()
    const gone = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([gone.status, await codeOf(gone)]).toEqual([502, 'WEBRTC_ORIGIN_UNREACHABLE'])
  })

  test('a pair of user fragments that is live for another session is a conflict', async () => {
    const { origin, gateway } = await stage()
    origin.reply = (request) => origin.accept(request, 'same')
    const first = await gateway.open('clnt')
    const second = await gateway.post('/live/other/whip', offerSdp('clnt'))
    expect([second.status, await codeOf(second)]).toEqual([409, 'WEBRTC_SESSION_EXISTS'])
    await until(
      () => origin.seen.at(-1)?.method === 'DELETE',
      'the second session to be deleted at the origin',
    )
    expect(gateway.service.listSessions()).toHaveLength(1)
    expect(gateway.datapath.totals().endpoints).toBe(2)
    await fetch(first.location, { method: 'DELETE' })
    await gateway.open('clnt')
  })

  test('the same holds when the store does not know of the other session', async () => {
    const sessionStore = new MemoryBalancerStore()
    sessionStore.addSession = () => Promise.resolve()
    sessionStore.removeSession = () => Promise.reject(new Error('away'))
    const { origin, gateway } = await stage({ sessionStore })
    origin.reply = (request) => origin.accept(request, 'same')
    const { location } = await gateway.open('clnt')
    expect((await gateway.post('/live/other/whip', offerSdp('clnt'))).status).toBe(409)
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
    await gateway.open('clnt')
  })

  test('a refusal that never ends is not read to its end', async () => {
    const { origin, gateway } = await stage()
    origin.reply = () => ({ status: 404, body: Buffer.alloc(1 << 20) })
    const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([response.status, await codeOf(response)]).toEqual([502, 'WEBRTC_ORIGIN_BAD_ANSWER'])
  })

  test('a client that leaves ends the request to the origin, and gives its place back', async () => {
    const { origin, gateway } = await stage({ maxSessions: 1 })
    const leaving = new AbortController()
    origin.reply = () => 'hang'
    const gone = fetch(`${gateway.url}/live/s/whip`, {
      method: 'POST',
      body: offerSdp('clnt'),
      signal: leaving.signal,
    }).catch(() => 'gone')
    await until(() => origin.seen.length > 0, 'the offer')
    leaving.abort()
    expect(await gone).toBe('gone')
    await until(() => origin.abandoned === 1, 'the request to be given up')
    expect(await gateway.metric('sluice_webrtc_errors_total{code="WEBRTC_CLIENT_GONE"}')).toBe(1)
    origin.reply = (request) => origin.accept(request)
    await gateway.open('next')
    expect(gateway.service.listSessions()).toHaveLength(1)
  })

  test('the same for a client that sent several offers at once', async () => {
    const { origin, gateway } = await stage()
    origin.reply = () => 'hang'
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname)
    const body = offerSdp('clnt')
    socket.write(
      `POST /live/s/whip?sig='"<x> HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`.repeat(
        2,
      ),
    )
    await until(() => origin.seen.length === 2, 'the offers')
    expect(origin.seen[0]?.url).toBe(`/rtc/v1/whip/?app=live&stream=s&sig='"<x>`)
    socket.destroy()
    await until(() => origin.abandoned === 2, 'the requests to be given up')
  })

  test('closing gives requests up that wait for an origin', async () => {
    const { origin, gateway } = await stage()
    origin.reply = () => 'hang'
    const waiting = gateway.post('/live/s/whip', offerSdp('clnt'))
    await until(() => origin.seen.length > 0, 'the offer')
    await gateway.service.close()
    const response = await waiting
    expect([response.status, await codeOf(response)]).toEqual([503, 'WEBRTC_DRAINING'])
  })

  test('headers that cannot be sent on, and other content types, do not spoil an answer', async () => {
    const { origin, gateway } = await stage()
    origin.reply = (request) => {
      const reply = origin.accept(request)
      if (typeof reply === 'string') return reply
      return {
        ...reply,
        headers: { ...reply.headers, 'content-type': 'text/plain', 'x-name': '\u00c4\u00e4' },
      }
    }
    const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([response.status, response.headers.get('content-type')]).toEqual([201, 'application/sdp'])
  })

  test('an origin registered by name is asked, and gets the media, at one address', async () => {
    const origin = await FakeOrigin.start()
    const resolveHost = (name: string): Promise<string> =>
      name === 'origin.example' ? Promise.resolve('127.0.0.1') : Promise.reject(new Error('unknown'))
    const gateway = await TestGateway.start({ resolveHost })
    await gateway.store.announce({ ...origin.announcement(), ip: 'nowhere.example', server: 'other' })
    const unresolved = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([unresolved.status, await codeOf(unresolved)]).toEqual([502, 'WEBRTC_ORIGIN_UNREACHABLE'])
    await gateway.store.announce({ ...origin.announcement(), ip: 'origin.example' })
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    await client.send(check(username), gateway.media)
    await origin.udp.next()
  })

  test('sessions are limited', async () => {
    const { gateway } = await stage({ maxSessions: 2 })
    const { location } = await gateway.open('aaaa')
    await gateway.open('bbbb')
    const third = await gateway.post('/live/s/whep', offerSdp('cccc'))
    expect([third.status, await codeOf(third)]).toEqual([503, 'WEBRTC_TOO_MANY_SESSIONS'])
    expect(third.headers.get('retry-after')).toBe('5')
    await fetch(location, { method: 'DELETE' })
    await gateway.open('cccc')
  })
})

describe('OPTIONS and other methods', () => {
  test('an endpoint says what pages may do', async () => {
    const { gateway } = await stage()
    const response = await fetch(`${gateway.url}/live/s/whip`, { method: 'OPTIONS' })
    expect(response.status).toBe(200)
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'POST, OPTIONS',
      'access-control-allow-headers': 'Authorization, Content-Type, If-Match, *',
      'accept-post': 'application/sdp',
    })
    const session = await fetch(`${gateway.url}/rtc/v1/session/x`, { method: 'OPTIONS' })
    expect(session.headers.get('access-control-allow-methods')).toBe('PATCH, DELETE, OPTIONS')
  })

  test('others are told what is allowed', async () => {
    const { gateway } = await stage()
    const response = await fetch(`${gateway.url}/live/s/whip`)
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST, OPTIONS'])
    expect(await codeOf(response)).toBe('WEBRTC_METHOD')
  })
})

describe('DELETE', () => {
  test('ends the session here and at its origin, at the path that the origin gave', async () => {
    const { origin, gateway } = await stage()
    const { location } = await gateway.open('clnt')
    const response = await fetch(location, { method: 'DELETE', headers: { authorization: 'Bearer t' } })
    expect(response.status).toBe(200)
    const seen = origin.seen.at(-1)
    expect([seen?.method, seen?.url]).toEqual([
      'DELETE',
      expect.stringMatching(/^\/rtc\/v1\/whip\/\?action=delete&token=t1&session=or1/),
    ])
    expect(seen?.headers.authorization).toBe('Bearer t')
    const again = await fetch(location, { method: 'DELETE' })
    expect([again.status, await codeOf(again)]).toEqual([404, 'WEBRTC_NO_SESSION'])
  })

  test('works when the origin is away', async () => {
    const { origin, gateway } = await stage()
    const { location } = await gateway.open('clnt')
    await origin.close()
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
    expect(gateway.service.listSessions()).toEqual([])
  })

  test('an origin that wants other credentials keeps the session', async () => {
    const { origin, gateway } = await stage()
    const { location } = await gateway.open('clnt')
    origin.reply = () => ({ status: 401, headers: { 'www-authenticate': 'Bearer' } })
    const response = await fetch(location, { method: 'DELETE' })
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    expect(gateway.service.listSessions()).toHaveLength(1)
  })
})

describe('options', () => {
  test('a number out of range is refused by its name', async () => {
    await expect(TestGateway.start({ maxSessions: 0 })).rejects.toMatchObject({ code: 'WEBRTC_BAD_OPTION' })
    await expect(TestGateway.start({ idleTimeoutMs: Number.NaN })).rejects.toThrow(/idleTimeoutMs/)
  })
})

describe('draining', () => {
  test('new offers get 503 while sessions go on until the client ends them', async () => {
    const { gateway } = await stage()
    const { location } = await gateway.open('clnt')
    const closed = gateway.service.close({ graceMs: 10_000 })
    const refused = await gateway.post('/live/s/whep', offerSdp('next'))
    expect([refused.status, await codeOf(refused)]).toEqual([503, 'WEBRTC_DRAINING'])
    expect(refused.headers.get('retry-after')).toBe('5')
    expect(gateway.service.listSessions()).toHaveLength(1)
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
    await closed
    expect(gateway.datapath.totals().endpoints).toBe(0)
  })

  test('at the end of the grace the rest is cut, and origins are told', async () => {
    const { origin, gateway } = await stage()
    await gateway.open('clnt')
    await gateway.service.close({ graceMs: 50 })
    expect(origin.seen.at(-1)?.method).toBe('DELETE')
    expect(gateway.service.listSessions()).toEqual([])
    expect(gateway.datapath.totals()).toMatchObject({ endpoints: 0, flows: 0 })
    await gateway.service.close()
  })
})
