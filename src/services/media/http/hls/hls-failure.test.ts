import { describe, expect, it } from 'vitest'
import { freePort } from '../../../../foundation/free-port.testkit.ts'
import { ManualClock } from '../../../../foundation/clock.ts'
import { files, HlsFakeBalancer, HlsGateway, playlist, TestOrigin } from './hls-proxy.testkit.ts'
import { FakeOrigin, until } from '../http.testkit.ts'

const FILES = { '/live/s.m3u8': playlist('s-1.ts'), '/live/s-1.ts': 'one' }

describe('HLS when origins fail', () => {
  it('passes over an origin that cannot be reached', async () => {
    await using origin = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([await freePort(), origin.port])
    await using gateway = await HlsGateway.start(balancer)
    expect((await gateway.get('/live/s.m3u8')).status).toBe(200)
    expect([balancer.failed, balancer.kept]).toEqual([['o0'], ['o1']])
  })

  it('passes over an origin that hangs, breaks off or speaks something else', async () => {
    const clock = new ManualClock()
    await using silent = await FakeOrigin.start(() => {})
    await using rude = await FakeOrigin.start((socket) => socket.end('SSH-2.0\r\n'))
    await using broken = await FakeOrigin.start((socket) => socket.destroy())
    await using origin = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([rude.port, broken.port, silent.port, origin.port])
    await using gateway = await HlsGateway.start(balancer, { clock, maxOrigins: 4, headTimeoutMs: 7000 })
    const reply = gateway.get('/live/s.m3u8')
    await until(() => silent.requests.length === 1)
    clock.advance(7000)
    expect((await reply).status).toBe(200)
    expect([balancer.released, balancer.failed, balancer.kept]).toEqual([['o0', 'o1'], ['o2'], ['o3']])
  })

  it('does not hold it against an origin that what a player waits for does not come', async () => {
    const clock = new ManualClock()
    await using silent = await FakeOrigin.start(() => {})
    const balancer = new HlsFakeBalancer([silent.port])
    await using gateway = await HlsGateway.start(balancer, { clock })
    const reply = gateway.get('/live/s.m3u8?_HLS_msn=1000')
    await until(() => silent.requests.length === 1)
    clock.advance(30_000)
    expect((await reply).status).toBe(504)
    expect([balancer.released, balancer.failed]).toEqual([['o0'], []])
  })

  it('says 502 at once when a stream that nobody has seen has no origin', async () => {
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([await freePort()]))
    const { status, text } = await gateway.get('/live/s.m3u8')
    expect([status, JSON.parse(text)]).toEqual([
      502,
      { code: 'HTTP_ORIGIN_UNREACHABLE', message: 'Bad Gateway' },
    ])
  })

  it('waits for an origin that restarts, and for its stream to be there again', async () => {
    const clock = new ManualClock()
    const first = await TestOrigin.start(files(FILES))
    const { port } = first
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([port]), { clock })
    await gateway.get('/live/s.m3u8')
    await first.close()
    const replies = [gateway.get('/live/s.m3u8'), gateway.get('/live/s-1.ts?spbhid=0000001')]
    await gateway.untilMetric('sluice_hls_waiting', 2)
    // It is back, and its publisher is not.
    const empty = await TestOrigin.start(files({}), port)
    clock.advance(500)
    await until(() => empty.urls.length === 2)
    await gateway.untilMetric('sluice_hls_waiting', 2)
    await empty.close()
    await using again = await TestOrigin.start(files(FILES), port)
    clock.advance(500)
    expect((await Promise.all(replies)).map(({ status }) => status)).toEqual([200, 200])
    expect(again.urls).toHaveLength(2)
    expect(await gateway.metric('sluice_hls_waiting')).toBe(0)
  })

  it('moves to another origin that carries the stream now', async () => {
    const clock = new ManualClock()
    const first = await TestOrigin.start(files(FILES))
    await using second = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([first.port, second.port])
    await using gateway = await HlsGateway.start(balancer, { clock })
    await gateway.get('/live/s.m3u8')
    await first.close()
    expect((await gateway.get('/live/s-1.ts?spbhid=0000001')).text).toBe('one')
    expect([balancer.failed, balancer.kept, balancer.holds]).toEqual([['o0'], ['o0', 'o1'], 1])
    expect(gateway.hls.listSessions()[0]?.originId).toBe('o1')
  })

  it('does not believe another origin that the stream is gone while its own is away', async () => {
    const clock = new ManualClock()
    const first = await TestOrigin.start(files(FILES))
    const { port } = first
    await using second = await TestOrigin.start(files({}))
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([port, second.port]), { clock })
    await gateway.get('/live/s.m3u8')
    await first.close()
    const reply = gateway.get('/live/s.m3u8')
    await gateway.untilMetric('sluice_hls_waiting', 1)
    expect(second.urls).toHaveLength(1)
    await using again = await TestOrigin.start(files(FILES), port)
    clock.advance(500)
    expect((await reply).status).toBe(200)
    expect(again.urls).toHaveLength(1)
  })

  it('leaves an origin that hangs in the middle of a session', async () => {
    const clock = new ManualClock()
    let hangs = false
    await using first = await TestOrigin.start((request, response) => {
      if (!hangs) files(FILES)(request, response)
    })
    await using second = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([first.port, second.port])
    await using gateway = await HlsGateway.start(balancer, { clock })
    await gateway.get('/live/s.m3u8')
    hangs = true
    const reply = gateway.get('/live/s-1.ts?spbhid=0000001')
    await until(() => first.urls.length === 2)
    clock.advance(30_000)
    expect((await reply).text).toBe('one')
    expect([balancer.kept, balancer.holds, first.urls.length]).toEqual([['o0', 'o1'], 1, 2])
  })

  it('waits for an origin to register again, a viewer who is new as well', async () => {
    const clock = new ManualClock()
    await using origin = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer, { clock })
    await gateway.get('/live/s.m3u8')
    const { origins } = balancer
    balancer.origins = []
    const reply = gateway.get('/live/s.m3u8?token=new')
    await gateway.untilMetric('sluice_hls_waiting', 1)
    balancer.origins = origins
    clock.advance(500)
    expect((await reply).status).toBe(200)
  })

  it('gives up waiting in time, and says then what the origin says', async () => {
    const clock = new ManualClock()
    const first = await TestOrigin.start(files(FILES))
    const { port } = first
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([port]), { clock, originWaitMs: 1000 })
    await gateway.get('/live/s.m3u8')
    await first.close()
    const reply = gateway.get('/live/s.m3u8')
    for (let retry = 0; retry < 2; retry++) {
      await gateway.untilMetric('sluice_hls_waiting', 1)
      clock.advance(500)
    }
    expect((await reply).status).toBe(502)
    expect(clock.nowMs()).toBe(1000)
    // A stream that is gone is gone, when its origin was not away of late.
    clock.advance(5000)
    await using empty = await TestOrigin.start(files({}), port)
    expect((await gateway.get('/live/s.m3u8')).status).toBe(404)
    expect(empty.urls).toHaveLength(1)
  })

  it('lets so many wait and no more', async () => {
    const clock = new ManualClock()
    const first = await TestOrigin.start(files(FILES))
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([first.port]), { clock, maxWaiting: 1 })
    await gateway.get('/live/s.m3u8')
    await first.close()
    const left = new AbortController()
    const waiting = gateway.get('/live/s.m3u8', { signal: left.signal })
    await gateway.untilMetric('sluice_hls_waiting', 1)
    expect((await gateway.get('/live/s.m3u8')).status).toBe(502)
    left.abort()
    await expect(waiting).rejects.toThrow('aborted')
    await gateway.untilMetric('sluice_hls_waiting', 0)
  })

  it('asks anew for the origin of a stream that has moved', async () => {
    await using first = await TestOrigin.start(files(FILES))
    await using second = await TestOrigin.start(files(FILES))
    const balancer = new HlsFakeBalancer([first.port, second.port])
    await using gateway = await HlsGateway.start(balancer)
    await gateway.get('/live/s.m3u8')
    balancer.origins = balancer.origins.slice(1)
    await gateway.get('/live/s.m3u8')
    expect(second.urls).toEqual([])
    balancer.onMoved[0]?.()
    await gateway.get('/live/s.m3u8')
    expect([second.urls.length, balancer.kept, balancer.holds]).toEqual([1, ['o0', 'o1'], 1])
  })

  it('sends a request again that met the end of a connection at rest', async () => {
    await using origin = await FakeOrigin.start((socket, head) => {
      const body = head.startsWith('GET /live/s.m3u8') ? FILES['/live/s.m3u8'] : 'one'
      // The second request on a connection is not answered.
      if (answered.has(socket)) socket.destroy()
      else socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
      answered.add(socket)
    })
    const answered = new WeakSet<object>()
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer)
    for (let count = 0; count < 3; count++) {
      expect((await gateway.get('/live/s-1.ts?spbhid=ffffff0')).text).toBe('one')
    }
    expect([origin.accepted, balancer.failed, balancer.kept]).toEqual([3, [], ['o0']])
  })

  it('does not use a connection again that the origin wants closed, or that said more than it should', async () => {
    const endings = [
      'Connection: close\r\nContent-Length: 1\r\n\r\n1',
      'Content-Length: 1\r\n\r\n12',
      '\r\n1',
    ]
    await using origin = await FakeOrigin.start((socket) => {
      const ending = endings[origin.accepted - 1] ?? 'Content-Length: 1\r\n\r\n1'
      socket.write(`HTTP/1.1 200 OK\r\n${ending}`)
      if (ending.startsWith('\r\n')) socket.end()
    })
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    for (let count = 0; count < 5; count++) expect((await gateway.get('/live/s-1.m4s')).text).toBe('1')
    expect(origin.accepted).toBe(4)
  })

  it('closes connections at rest in time', async () => {
    const clock = new ManualClock()
    await using origin = await TestOrigin.start(files(FILES))
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]), {
      clock,
      idleConnectionMs: 1000,
    })
    await gateway.get('/live/s.m3u8')
    expect(await gateway.metric('sluice_hls_origin_connections')).toBe(1)
    clock.advance(1000)
    expect(await gateway.metric('sluice_hls_origin_connections')).toBe(0)
  })

  it('cuts a segment in which nothing moves', async () => {
    const clock = new ManualClock()
    await using origin = await TestOrigin.start((_request, response) => {
      response.writeHead(200, { 'Content-Length': 10 })
      response.write('12345')
    })
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer, { clock, stallMs: 4000 })
    const reply = gateway.get('/live/s-1.m4s')
    await until(() => gateway.hls.listSessions().length === 1 && balancer.holds === 1)
    await gateway.untilMetric('sluice_hls_bytes_total', 5)
    // The first look notes what has moved.
    clock.advance(1000)
    clock.advance(5000)
    expect(await reply).toMatchObject({ text: '12345', isComplete: false })
  })

  it('knows a request that has been here before', async () => {
    const balancer = new HlsFakeBalancer([1])
    await using gateway = await HlsGateway.start(balancer)
    balancer.origins = balancer.origins.map((origin) => ({ ...origin, http: [gateway.port] }))
    expect((await gateway.get('/live/s.m3u8')).status).toBe(508)
  })
})
