import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../../foundation/clock.ts'
import { MemoryBalancerStore } from '../../../../mechanisms/balancer/index.ts'
import { files, HlsGateway, playlist, TestOrigin } from './hls-proxy.testkit.ts'
import { RawClient, until } from '../http.testkit.ts'

describe('HLS over a store that gateways share', () => {
  it('goes on at another gateway in the middle of a session (defects 23 and 24)', async () => {
    const store = new MemoryBalancerStore({})
    await using empty = await TestOrigin.start(files({}))
    await using origin = await TestOrigin.start(
      files({
        '/live/s.m3u8': playlist('#EXT-X-MAP:URI="s-i.mp4"', 's-1.ts'),
        '/live/s-1.ts': 'one',
        '/live/s-i.mp4': 'i',
      }),
    )
    await announce(store, '1', origin.port)
    await using first = await HlsGateway.start(store)
    const { text } = await first.get('/live/s.m3u8')
    const id = /spbhid=([0-9a-f]{7})"/.exec(text)?.[1]
    // Others come; the stream stays.
    for (let count = 2; count < 6; count++) await announce(store, String(count), empty.port)
    await using second = await HlsGateway.start(store)
    expect((await second.get(`/live/s-i.mp4?spbhid=${id}`)).text).toBe('i')
    expect((await second.get(`/live/s-1.ts?spbhid=${id}`)).text).toBe('one')
    expect((await second.get('/live/s.m3u8')).text).toBe(text)
    expect(empty.urls).toEqual([])
    const [stream] = await store.streams()
    expect(stream).toMatchObject({ key: '__defaultVhost__/live/s', players: 2 })
    await first.hls.close()
    await second.hls.close()
    expect((await store.streams())[0]?.players).toBe(0)
  })

  it('leads the playlists that a playlist names to the origin that has it, each by its own name', async () => {
    const store = new MemoryBalancerStore({})
    const rung = '#EXT-X-STREAM-INF:BANDWIDTH=1'
    await using origin = await TestOrigin.start(
      files({
        '/low/s.m3u8': playlist(rung, 's/720.m3u8', rung, '/low/s/360.m3u8'),
        '/low/s/720.m3u8': playlist('720-1.ts'),
        '/low/s/360.m3u8': playlist('360-1.ts'),
      }),
    )
    await announce(store, '1', origin.port)
    await using gateway = await HlsGateway.start(store)
    await gateway.get('/low/s.m3u8')
    await using empty = await TestOrigin.start(files({}))
    for (let count = 2; count < 20; count++) await announce(store, String(count), empty.port)
    expect((await gateway.get('/low/s/720.m3u8')).status).toBe(200)
    expect((await gateway.get('/low/s/360.m3u8')).status).toBe(200)
    expect((await store.streams()).map(({ key }) => key)).toContain('__defaultVhost__/low/s/720')
    expect(empty.urls).toEqual([])
  })

  it('serves playlists while the store of sessions fails', async () => {
    const store = new MemoryBalancerStore({})
    await using origin = await TestOrigin.start(
      files({ '/live/s.m3u8': playlist('s-1.ts'), '/live/s-1.ts': 'one' }),
    )
    await announce(store, '1', origin.port)
    store.openHls = () => Promise.reject(new Error('away'))
    await using gateway = await HlsGateway.start(store)
    expect((await gateway.get('/live/s.m3u8')).text).toBe(playlist('s-1.ts'))
    expect((await gateway.get('/live/s-1.ts')).text).toBe('one')
  })
})

describe('a client that takes nothing', () => {
  it('costs no more than what sockets hold, and is cut', async () => {
    const clock = new ManualClock()
    const store = new MemoryBalancerStore({ clock })
    const bytes = Buffer.alloc(100_000_000)
    await using origin = await TestOrigin.start((_request, response) => {
      response.writeHead(200, { 'Content-Length': bytes.length }).end(bytes)
    })
    await announce(store, '1', origin.port)
    await using gateway = await HlsGateway.start(store, { clock, stallMs: 20_000 })
    await using client = await RawClient.send(gateway.port, 'GET /live/s-1.m4s HTTP/1.1\r\nHost: a\r\n\r\n')
    client.socket.pause()
    await until(() => gateway.hls.listSessions().length === 1)
    // Until it has stood still over several looks.
    let seen = -1
    let looks = 0
    await until(() => {
      const [session] = gateway.hls.listSessions()
      const now = session?.bytesOut ?? 0
      looks = now === seen && now > 0 ? looks + 1 : 0
      seen = now
      return looks > 20
    }, 20_000)
    expect(seen).toBeLessThan(bytes.length / 2)
    for (let second = 0; second < 30; second++) clock.advance(1000)
    await until(() => gateway.edge.connectionCount === 0)
    expect(await gateway.metric('sluice_http_errors_total')).toBe(1)
    client.socket.resume()
  })
})

async function announce(store: MemoryBalancerStore, pid: string, port: number): Promise<void> {
  const ports = { rtmp: [1935], http: [port], api: [], srt: [], rtc: [] }
  await store.announce({ ip: '127.0.0.1', server: `vid-${pid}`, service: pid, pid, ...ports })
}
