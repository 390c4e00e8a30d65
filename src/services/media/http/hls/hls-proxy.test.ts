import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../../foundation/clock.ts'
import { HlsOrigin } from './hls-origin.testkit.ts'
import { ask, files, HlsFakeBalancer, HlsGateway, playlist, TestOrigin } from './hls-proxy.testkit.ts'
import { until } from '../http.testkit.ts'

describe('HLS at an SRS origin', () => {
  it('marks media of a playlist with spbhid, and asks the origin for it with the query as it came', async () => {
    await using origin = await TestOrigin.start(
      files({
        '/live/s.m3u8': playlist('#EXTINF:4,', 's-33.ts?hls_ctx=65kh6ok5', '#EXTINF:4,', 's-34.ts'),
        '/live/s-33.ts': 'media',
      }),
    )
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    const { status, text } = await gateway.get('/live/s.m3u8?hls_ctx=65kh6ok5&token=x')
    expect(status).toBe(200)
    expect(text).toBe(
      playlist(
        '#EXTINF:4,',
        's-33.ts?spbhid=0000001&hls_ctx=65kh6ok5',
        '#EXTINF:4,',
        's-34.ts?spbhid=0000001',
      ),
    )
    expect((await gateway.get('/live/s-33.ts?spbhid=0000001&hls_ctx=65kh6ok5')).text).toBe('media')
    expect(origin.urls).toEqual([
      '/live/s.m3u8?hls_ctx=65kh6ok5&token=x',
      '/live/s-33.ts?spbhid=0000001&hls_ctx=65kh6ok5',
    ])
  })

  it('lets the multivariant playlist of hls_ctx pass as it is', async () => {
    const text = playlist(
      '#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1',
      '/live/s.m3u8?hls_ctx=65kh6ok5&token=x',
    )
    await using origin = await TestOrigin.start(files({ '/live/s.m3u8': text }))
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    const reply = await gateway.get('/live/s.m3u8?token=x')
    expect(reply.text).toBe(text)
    // Nothing was changed, so what is said of the bytes holds.
    expect(reply.headers.etag).toBe('"e"')
  })

  it('changes URIs alone, not texts that look like them (defect 20)', async () => {
    const lines = [
      '# see a.ts',
      '#EXT-X-MEDIA:NAME=".ts",URI="a.ts.example.com/x.m3u8"',
      '#EXTINF:1,title.ts',
    ]
    await using origin = await TestOrigin.start(
      files({ '/live/s.m3u8': playlist(...lines, 'http://a.ts.example.com/1.ts', 's-1.tsx') }),
    )
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    const { text } = await gateway.get('/live/s.m3u8')
    expect(text).toBe(playlist(...lines, 'http://a.ts.example.com/1.ts', 's-1.tsx?spbhid=0000001'))
  })

  it('serves fMP4, keys and all that a playlist names (defect 20)', async () => {
    const names = [
      's-init.mp4',
      's.key',
      's-1.m4s',
      's-2.aac',
      's-3.mp3',
      's-4.vtt',
      's-5.jpg',
      's-6.anything',
    ]
    const texts = Object.fromEntries(names.map((name) => [`/live/${name}`, `body of ${name}`]))
    const lines = names.slice(2)
    await using origin = await TestOrigin.start(
      files({
        ...texts,
        '/live/s.m3u8': playlist(
          '#EXT-X-MAP:URI="s-init.mp4"',
          '#EXT-X-KEY:METHOD=AES-128,URI="s.key"',
          ...lines,
        ),
      }),
    )
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    const { text } = await gateway.get('/live/s.m3u8')
    expect(text).toContain('#EXT-X-MAP:URI="s-init.mp4?spbhid=0000001"')
    expect(text).toContain('URI="s.key?spbhid=0000001"')
    for (const name of names) {
      expect((await gateway.get(`/live/${name}?spbhid=0000001`)).text).toBe(`body of ${name}`)
    }
  })

  it('keeps one spbhid per stream however often its playlist is asked for (defect 21)', async () => {
    await using origin = await TestOrigin.start(files({ '/live/s.m3u8': playlist('s-1.ts') }))
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer)
    for (let count = 0; count < 20; count++) await gateway.get('/live/s.m3u8')
    expect(balancer.sessions).toHaveLength(1)
    // The store is asked now and then, not for each request.
    expect(balancer.opened).toBe(1)
  })

  it('finds the origin of a segment without spbhid by its playlist (defect 23)', async () => {
    await using other = await TestOrigin.start(files({}))
    await using origin = await TestOrigin.start(
      files({ '/live/s.m3u8': playlist('s-33.ts'), '/live/s-33.ts': 'media', '/live/s-34.ts': 'next' }),
    )
    const balancer = new HlsFakeBalancer([origin.port, other.port])
    await using gateway = await HlsGateway.start(balancer)
    expect(gateway.hls.matches('/live/s-33.ts', 'GET', '')).toBe(false)
    await gateway.get('/live/s.m3u8')
    expect((await gateway.get('/live/s-33.ts')).text).toBe('media')
    // A player that counts on by itself.
    expect((await gateway.get('/live/s-34.ts')).text).toBe('next')
    expect(new Set(balancer.keys)).toEqual(new Set(['__defaultVhost__/live/s']))
    expect(gateway.hls.matches('/live/s.ts', 'GET', '')).toBe(false)
    expect(gateway.hls.matches('/live/other-1.ts', 'GET', '')).toBe(false)
  })

  it('serves an spbhid that another gateway gave out (defect 24)', async () => {
    await using origin = await TestOrigin.start(files({ '/live/s-33.ts': 'media' }))
    const balancer = new HlsFakeBalancer([origin.port])
    const streamKey = '__defaultVhost__/live/s' as never
    balancer.sessions.push({ id: 'e6caffb', streamKey, fullUrl: 'http://play.example.com/live/s.m3u8' })
    await using gateway = await HlsGateway.start(balancer)
    expect((await gateway.get('/live/s-33.ts?spbhid=e6caffb&&hls_ctx=x')).text).toBe('media')
    expect(balancer.keys).toEqual([streamKey])
  })

  it('guesses at the stream of a segment whose spbhid has expired, and says 404 when there is none', async () => {
    await using origin = await TestOrigin.start(files({ '/live/s-33.ts': 'a', '/live/s/v-1.m4s': 'b' }))
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer)
    expect((await gateway.get('/live/s-33.ts?spbhid=ffffff0')).text).toBe('a')
    expect(balancer.keys).toEqual(['__defaultVhost__/live/s'])
    expect((await gateway.get('/live/s/v-1.m4s')).text).toBe('b')
    expect((await gateway.get('/live/t-1.m4s')).status).toBe(404)
    expect((await gateway.get('/live/t-1.ts?spbhid=ffffff0')).status).toBe(404)
    expect((await gateway.get('/1.m4s')).status).toBe(404)
  })

  it('does not lead to files of the origin that are none of the stream', async () => {
    await using origin = await TestOrigin.start(
      files({
        '/live/s.m3u8': playlist('s-1.ts'),
        '/live/other-1.ts': 'x',
        '/api/v1/clients': 'x',
        '/live/api.ts': 'x',
      }),
    )
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    await gateway.get('/live/s.m3u8')
    for (const path of [
      '/api/v1/clients',
      '/live/other-1.ts',
      '/live/s/../api.ts',
      '/live/s/%2e%2e/api.ts',
      '/live/s-%2f..%2fapi.ts',
      '/live/s\\..\\api.ts',
    ]) {
      const { status, text } = await gateway.get(`${path}?spbhid=0000001`)
      expect([path, status]).toEqual([path, 404])
      expect(JSON.parse(text)).toMatchObject({ message: 'Not Found' })
    }
    expect(origin.urls).toEqual(['/live/s.m3u8'])
  })

  it('leads back here what names the origin, or us, and leaves other hosts alone', async () => {
    let lines: string[] = []
    await using origin = await TestOrigin.start((request, response) =>
      files({ '/live/s.m3u8': playlist(...lines), '/keys/k.key': 'key' })(request, response),
    )
    const there = `http://127.0.0.1:${origin.port}`
    lines = [
      `#EXT-X-KEY:METHOD=AES-128,URI="${there}/keys/k.key?a=1"`,
      '/live/s-1.ts',
      `${there}/live/s-2.ts`,
      'http://play.example.com:8080/live/s-3.ts',
      'https://cdn.example.com/live/s-4.ts',
      '//cdn.example.com/live/s-5.ts',
      'data:text/plain,x',
    ]
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    const { text } = await gateway.get('/live/s.m3u8')
    expect(text).toBe(
      playlist(
        '#EXT-X-KEY:METHOD=AES-128,URI="/keys/k.key?spbhid=0000001&a=1"',
        '/live/s-1.ts?spbhid=0000001',
        '/live/s-2.ts?spbhid=0000001',
        'http://play.example.com:8080/live/s-3.ts?spbhid=0000001',
        'https://cdn.example.com/live/s-4.ts',
        '//cdn.example.com/live/s-5.ts',
        'data:text/plain,x',
      ),
    )
    expect((await gateway.get('/keys/k.key?spbhid=0000001&a=1')).text).toBe('key')
    expect((await gateway.get('/keys/other.key?spbhid=0000001')).status).toBe(404)
  })
})

describe('HTTP of HLS', () => {
  it('passes Range and conditions both ways for segments', async () => {
    await using origin = await HlsOrigin.start()
    origin.publish(8)
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    const path = '/live/s/seg0.m4s'
    const part = await gateway.get(path, { headers: { Range: 'bytes=7-13' } })
    expect([part.status, part.text, part.headers['content-range']]).toEqual([206, 'part-b;', 'bytes 7-13/28'])
    const same = await gateway.get(path, { headers: { 'If-None-Match': '"bytes"' } })
    expect([same.status, same.text]).toEqual([304, ''])
    const head = await gateway.get(path, { method: 'HEAD' })
    expect([head.status, head.headers['content-length'], head.text]).toEqual([200, '28', ''])
  })

  it('takes out what was said of the bytes of a text that was changed', async () => {
    await using origin = await TestOrigin.start((_request, response) => {
      response.writeHead(200, {
        'Content-Type': 'application/vnd.apple.mpegurl',
        ETag: '"e"',
        'Accept-Ranges': 'bytes',
        'Content-MD5': 'x',
        Digest: 'x',
        'Cache-Control': 'max-age=1',
        'Last-Modified': 'Thu, 01 Jan 2026 00:00:00 GMT',
      })
      response.end(playlist('s-1.ts'))
    })
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    const { headers, text } = await gateway.get('/live/s.m3u8', {
      headers: { Range: 'bytes=0-3', 'Accept-Encoding': 'gzip' },
    })
    expect(headers).toMatchObject({
      'content-type': 'application/vnd.apple.mpegurl',
      'cache-control': 'max-age=1',
      'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT',
      'content-length': String(text.length),
      'access-control-allow-origin': '*',
    })
    for (const name of ['etag', 'accept-ranges', 'content-md5', 'digest', 'transfer-encoding']) {
      expect(headers).not.toHaveProperty(name)
    }
    expect(origin.requests[0]?.headers['range']).toBeUndefined()
    expect(origin.requests[0]?.headers['accept-encoding']).toBe('identity')
    const head = await gateway.get('/live/s.m3u8', { method: 'HEAD' })
    expect([head.status, head.headers['content-length'], head.headers.etag]).toEqual([
      200,
      undefined,
      undefined,
    ])
  })

  it('keeps connections on both sides', async () => {
    await using origin = await TestOrigin.start(
      files({ '/live/s.m3u8': playlist('s-1.ts'), '/live/s-1.ts': 'x' }),
    )
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    for (let count = 0; count < 5; count++) {
      await gateway.get('/live/s.m3u8')
      await gateway.get('/live/s-1.ts?spbhid=0000001')
      await gateway.get('/live/s-2.ts?spbhid=0000001')
    }
    expect(origin.connections).toBe(1)
    expect(gateway.edge.connectionCount).toBe(1)
  })

  it('passes large segments whole, and chunked ones', async () => {
    const bytes = 'x'.repeat(3_000_000)
    await using origin = await TestOrigin.start((request, response) => {
      if (request.url?.startsWith('/live/s-1.ts')) response.setHeader('Content-Length', bytes.length)
      response.end(bytes)
    })
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    for (const name of ['s-1.ts', 's-2.ts']) {
      const { text, isComplete } = await gateway.get(`/live/${name}?spbhid=ffffff0`)
      expect([text.length, isComplete]).toEqual([bytes.length, true])
    }
    expect(origin.connections).toBe(1)
  })

  it('cuts a segment that broke off at the origin', async () => {
    await using origin = await TestOrigin.start((_request, response) => {
      response.writeHead(200, { 'Content-Length': 10 })
      response.write('12345', () => response.destroy())
    })
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    const { text, isComplete } = await gateway.get('/live/s-1.m4s')
    expect([text, isComplete]).toEqual(['12345', false])
  })

  it('answers with the status of the origin and never with its words (defect 18)', async () => {
    for (const status of [401, 403, 404, 410, 500, 503]) {
      await using origin = await TestOrigin.start((_request, response) => {
        response.writeHead(status, { 'Retry-After': '3' }).end('error at 10.0.0.5')
      })
      await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
      for (const path of ['/live/s.m3u8', '/live/s-1.m4s']) {
        const { status: got, text, headers } = await gateway.get(path)
        expect([got, headers['retry-after'], headers['access-control-allow-origin']]).toEqual([
          status,
          '3',
          '*',
        ])
        expect(text).not.toContain('10.0.0.5')
      }
    }
  })

  it('answers preflights, and refuses other methods and bodies', async () => {
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([]))
    const preflight = await gateway.get('/live/s.m3u8', { method: 'OPTIONS' })
    expect([preflight.status, preflight.text]).toEqual([200, ''])
    expect(preflight.headers['access-control-allow-origin']).toBe('*')
    expect((await gateway.get('/live/s.m3u8', { method: 'POST' })).status).toBe(405)
    expect((await gateway.get('/live/s.m3u8', { headers: { 'Content-Length': '3' } })).status).toBe(400)
  })

  it('leads a redirection within the origin back here, and follows one to another origin', async () => {
    await using second = await TestOrigin.start(files({ '/live/s.m3u8': playlist('s-1.ts') }))
    let location = ''
    await using first = await TestOrigin.start((_request, response) => {
      response.writeHead(302, { Location: location }).end()
    })
    const balancer = new HlsFakeBalancer([first.port, second.port])
    await using gateway = await HlsGateway.start(balancer)
    location = `http://127.0.0.1:${first.port}/live/s-other.m3u8`
    const within = await gateway.get('/live/s.m3u8')
    expect([within.status, within.headers.location]).toEqual([302, '/live/s-other.m3u8'])
    location = `http://127.0.0.1:${second.port}/live/s.m3u8?from=first`
    expect((await gateway.get('/live/s.m3u8')).text).toBe(playlist('s-1.ts?spbhid=0000001'))
    expect(second.urls).toEqual(['/live/s.m3u8?from=first'])
    location = 'http://10.1.2.3/secret.m3u8'
    const private_ = await gateway.get('/live/s.m3u8')
    expect([private_.status, private_.headers.location]).toEqual([302, undefined])
  })
})

describe('low-latency HLS', () => {
  it('passes a blocking reload, its parts, hints and reports', async () => {
    await using origin = await HlsOrigin.start()
    origin.publish(5)
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([{ http: [], urls: urls(origin.port) }]))
    const top = await gateway.get('/live/s.m3u8')
    expect(top.text).toContain('\ns/main.m3u8?spbhid=0000001\n')
    const media = await gateway.get('/live/s/main.m3u8?spbhid=0000001')
    expect(media.text).toContain('#EXT-X-PART:DURATION=0.5,URI="seg1.0.m4s?spbhid=0000001",INDEPENDENT=YES')
    expect(media.text).toContain('#EXT-X-PRELOAD-HINT:TYPE=PART,URI="seg1.1.m4s?spbhid=0000001"')
    expect(media.text).toContain('#EXT-X-RENDITION-REPORT:URI="other.m3u8?spbhid=0000001"')
    const reload = gateway.get('/live/s/main.m3u8?spbhid=0000001&_HLS_msn=1&_HLS_part=1')
    const hinted = gateway.get('/live/s/seg1.1.m4s?spbhid=0000001')
    await until(() => origin.waiting === 2)
    origin.publish()
    expect((await reload).text).toContain('seg1.1.m4s?spbhid=0000001",INDEPENDENT')
    expect((await hinted).text).toBe('part-b;')
    expect(origin.requests.at(-2)?.url).toBe('/live/s/main.m3u8?_HLS_msn=1&_HLS_part=1')
  })

  it('sends a hinted byte range as it grows', async () => {
    await using origin = await HlsOrigin.start({ isByteRange: true })
    origin.publish(5)
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([{ http: [], urls: urls(origin.port) }]))
    const { text } = await gateway.get('/live/s/main.m3u8')
    expect(text).toContain('URI="seg1.m4s?spbhid=0000001",BYTERANGE-START=7')
    const hinted = gateway.get('/live/s/seg1.m4s?spbhid=0000001', { headers: { Range: 'bytes=7-' } })
    await until(() => origin.waiting === 1)
    for (let part = 1; part < 4; part++) {
      const [session] = gateway.hls.listSessions()
      expect(session?.protocol).toBe('hls')
      origin.publish()
      await until(() => origin.waiting === (part < 3 ? 1 : 0))
    }
    expect((await hinted).text).toBe('part-b;part-a;part-b;')
  })

  it('gives up the question to the origin when the player leaves', async () => {
    await using origin = await HlsOrigin.start()
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([{ http: [], urls: urls(origin.port) }]))
    const left = new AbortController()
    const asked = gateway.get('/live/s/main.m3u8?_HLS_msn=9', { signal: left.signal })
    await until(() => origin.waiting === 1)
    left.abort()
    await expect(asked).rejects.toThrow('aborted')
    await until(() => origin.waiting === 0)
  })
})

describe('an origin of another make', () => {
  it('maps what lies beside its playlist, names variants with the credentials, and reaches nothing else', async () => {
    await using origin = await TestOrigin.start(
      files({
        '/hls/s/index.m3u8': playlist(
          '#EXT-X-STREAM-INF:BANDWIDTH=1',
          'v/main.m3u8?session=1',
          '#EXT-X-MEDIA:TYPE=AUDIO,URI="/hls/s/audio.m3u8"',
        ),
        '/hls/s/v/main.m3u8': playlist(
          '#EXT-X-MAP:URI="../../common/init.mp4"',
          '1.m4s',
          '/hls/s/v/2.m4s?x=1',
        ),
        '/hls/s/v/1.m4s': 'one',
        '/hls/s/v/2.m4s': 'two',
        '/hls/common/init.mp4': 'init',
        '/hls/common/other.mp4': 'other',
        '/hls/t/1.m4s': 'of another stream',
      }),
    )
    const hls = `http://127.0.0.1:${origin.port}/hls/{stream}/index.m3u8?key=inner`
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([{ http: [], urls: { hls } }]))
    const top = await gateway.get('/live/s.m3u8?token=t&hls_ctx=c')
    expect(top.text).toBe(
      playlist(
        '#EXT-X-STREAM-INF:BANDWIDTH=1',
        'v/main.m3u8?spbhid=0000001&session=1&token=t',
        '#EXT-X-MEDIA:TYPE=AUDIO,URI="/live/audio.m3u8?spbhid=0000001&token=t"',
      ),
    )
    const media = await gateway.get('/live/v/main.m3u8?spbhid=0000001&session=1&token=t')
    expect(media.text).toBe(
      playlist(
        '#EXT-X-MAP:URI="/live/@origin/hls/common/init.mp4?spbhid=0000001"',
        '1.m4s?spbhid=0000001',
        '/live/v/2.m4s?spbhid=0000001&x=1',
      ),
    )
    const text = async (path: string): Promise<string> => (await gateway.get(path)).text
    expect(await text('/live/v/1.m4s?spbhid=0000001')).toBe('one')
    expect(await text('/live/v/2.m4s?spbhid=0000001&x=1')).toBe('two')
    expect(await text('/live/@origin/hls/common/init.mp4?spbhid=0000001')).toBe('init')
    for (const path of ['/live/@origin/hls/common/other.mp4', '/live/@origin/hls/t/1.m4s', '/hls/t/1.m4s']) {
      expect((await gateway.get(`${path}?spbhid=0000001`)).status).toBe(404)
    }
    expect(origin.urls).toEqual([
      '/hls/s/index.m3u8?key=inner&token=t&hls_ctx=c',
      '/hls/s/v/main.m3u8?session=1&token=t',
      '/hls/s/v/1.m4s',
      '/hls/s/v/2.m4s?x=1',
      '/hls/common/init.mp4',
    ])
    expect(origin.requests[0]?.headers.host).toBe(`127.0.0.1:${origin.port}`)
  })

  it('routes DASH by the names of SRS, and by spbhid elsewhere', async () => {
    const manifest =
      '<MPD><BaseURL>s/</BaseURL><SegmentTemplate media="$RepresentationID$-$Number%05d$.m4s" initialization="/dash/s/i.mp4"/></MPD>'
    await using origin = await TestOrigin.start(
      files({
        '/live/s.mpd': manifest,
        '/live/s/v-1.m4s': 'srs',
        '/dash/s.mpd': manifest,
        '/dash/s/v-1.m4s': 'other',
      }),
    )
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer)
    expect((await gateway.get('/live/s.mpd')).text).toBe(manifest)
    expect((await gateway.get('/live/s/v-1.m4s')).text).toBe('srs')
    expect(new Set(balancer.keys)).toEqual(new Set(['__defaultVhost__/live/s']))
    expect(new Set(balancer.needs)).toEqual(new Set(['dash']))

    const dash = `http://127.0.0.1:${origin.port}/dash/{stream}.mpd`
    await using templated = await HlsGateway.start(new HlsFakeBalancer([{ http: [], urls: { dash } }]))
    expect((await templated.get('/live/s.mpd')).text).toBe(
      '<MPD><BaseURL>s/</BaseURL><SegmentTemplate media="$RepresentationID$-$Number%05d$.m4s?spbhid=0000001&amp;spbdash=1" ' +
        'initialization="/live/s/i.mp4?spbhid=0000001&amp;spbdash=1"/></MPD>',
    )
    expect((await templated.get('/live/s/v-1.m4s?spbhid=0000001&spbdash=1')).text).toBe('other')
  })
})

describe('DASH at an SRS origin', () => {
  it('finds the origin of segments by the templates of the manifest (defect 23)', async () => {
    const manifest = [
      '<MPD><Period><SegmentTemplate initialization="init-stream$RepresentationID$.m4s"',
      ' media="chunk-stream$RepresentationID$-$Number%05d$.m4s"/>',
      '<BaseURL>v/</BaseURL><SegmentTemplate media="$Time$.mp4"/><SegmentURL media="last.mp4"/></Period></MPD>',
    ].join('')
    const names = ['init-stream0.m4s', 'chunk-stream0-00001.m4s', 'v/100.mp4', 'v/last.mp4']
    const texts = Object.fromEntries(names.map((name) => [`/live/${name}`, name]))
    await using origin = await TestOrigin.start(
      files({ ...texts, '/live/s.mpd': manifest, '/live/x.mp4': 'x' }),
    )
    const balancer = new HlsFakeBalancer([origin.port])
    await using gateway = await HlsGateway.start(balancer)
    expect((await gateway.get('/live/s.mpd')).text).toBe(manifest)
    for (const name of names) expect((await gateway.get(`/live/${name}`)).text).toBe(name)
    expect(new Set(balancer.keys)).toEqual(new Set(['__defaultVhost__/live/s']))
    expect((await gateway.get('/live/x.mp4')).status).toBe(404)
    expect(origin.urls).not.toContain('/live/x.mp4')
  })

  it('leads base URLs and locations on the origin back here', async () => {
    let manifest = ''
    await using origin = await TestOrigin.start((request, response) =>
      files({ '/live/s.mpd': manifest, '/media/a-1.m4s': 'a' })(request, response),
    )
    const there = `http://127.0.0.1:${origin.port}`
    manifest = `<MPD><Location>${there}/live/s.mpd?a=1&amp;b=2</Location><BaseURL>${there}/media/</BaseURL><BaseURL>https://cdn.example.com/</BaseURL><SegmentTemplate media="$RepresentationID$-$Number$.m4s"/></MPD>`
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    expect((await gateway.get('/live/s.mpd')).text).toBe(manifest.replaceAll(there, ''))
    expect((await gateway.get('/media/a-1.m4s')).text).toBe('a')
  })
})

describe('hostile texts of an origin', () => {
  const hostile: Readonly<Record<string, string>> = {
    'a huge playlist': playlist('s.ts\n'.repeat(50_000)),
    'an endless line': `#EXTM3U\n${'a'.repeat(100_000)}`,
  }
  for (const [name, text] of Object.entries(hostile)) {
    it(`answers 502 for ${name} and goes on`, async () => {
      await using origin = await TestOrigin.start(
        files({ '/live/s.m3u8': text, '/live/t.m3u8': playlist('t-1.ts') }),
      )
      await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]), {
        maxPlaylistBytes: 150_000,
      })
      expect((await gateway.get('/live/s.m3u8')).status).toBe(502)
      expect((await gateway.get('/live/t.m3u8')).status).toBe(200)
    })
  }

  it('lets binary and empty texts pass unread, and refuses an encoding that was not asked for', async () => {
    await using origin = await TestOrigin.start((request, response) => {
      if (request.url === '/live/gzip.m3u8') response.setHeader('Content-Encoding', 'gzip')
      response.end(request.url === '/live/empty.m3u8' ? '' : '\u0000\u0001s.ts')
    })
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    expect((await gateway.get('/live/binary.m3u8')).text).toBe('\u0000\u0001s.ts')
    expect((await gateway.get('/live/empty.m3u8')).text).toBe('')
    expect((await gateway.get('/live/gzip.m3u8')).status).toBe(502)
  })

  it('does not take pages over because a playlist names them', async () => {
    await using origin = await TestOrigin.start(
      files({ '/live/s.m3u8': playlist('/index.html', '/', '/live/s-1.ts') }),
    )
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]))
    await gateway.get('/live/s.m3u8')
    expect(gateway.hls.matches('/index.html', 'GET', '')).toBe(false)
    expect(gateway.hls.matches('/', 'GET', '')).toBe(false)
    expect(gateway.hls.matches('/live/s-1.ts', 'GET', '')).toBe(true)
  })

  it('forgets the names of a playlist that nobody uses', async () => {
    const clock = new ManualClock()
    await using origin = await TestOrigin.start(files({ '/live/s.m3u8': playlist('s-1.ts') }))
    await using gateway = await HlsGateway.start(new HlsFakeBalancer([origin.port]), { clock })
    await ask(gateway.port, '/live/s.m3u8')
    clock.advance(119_000)
    expect(gateway.hls.matches('/live/s-1.ts', 'GET', '')).toBe(true)
    clock.advance(121_000)
    expect(gateway.hls.matches('/live/s-1.ts', 'GET', '')).toBe(false)
  })
})

function urls(port: number): { readonly hls: string } {
  return { hls: `http://127.0.0.1:${port}/{app}/{stream}.m3u8` }
}
