import { describe, expect, test } from 'vitest'
import {
  type HttpStreamRequest,
  type KeyRules,
  type StreamKey,
  streamKeyOfHttp,
} from '../../../mechanisms/balancer/index.ts'
import {
  answerSdp,
  check,
  FakeOrigin,
  offerSdp,
  openClient,
  type OriginReply,
  TestGateway,
} from './webrtc.testkit.ts'

interface Envelope {
  readonly code: number
  readonly sdp?: string
  readonly [member: string]: unknown
}

async function stage(options: Parameters<typeof TestGateway.start>[0] = {}): Promise<{
  readonly origin: FakeOrigin
  readonly gateway: TestGateway
}> {
  const origin = await FakeOrigin.start()
  const gateway = await TestGateway.start(options)
  await gateway.store.announce(origin.announcement())
  origin.reply = () => jsonAnswer(origin)
  return { origin, gateway }
}

/** An answer as SRS gives it, with a member that nobody knows. */
function jsonAnswer(origin: FakeOrigin, ufrag = 'or16'): OriginReply {
  const sdp = answerSdp(ufrag, origin.udp.port)
  const body = {
    code: 0,
    server: 'vid-1',
    service: 's-1',
    pid: '77',
    sdp,
    sessionid: `${ufrag}:clnt`,
    at: '10.9.8.7',
  }
  return { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

const offer = (members: Record<string, unknown> = {}): string =>
  JSON.stringify({
    api: 'http://gateway:1985/rtc/v1/play/',
    clientip: '6.6.6.6',
    streamurl: 'webrtc://gateway/live/s?token=t',
    sdp: offerSdp('clnt'),
    ...members,
  })

async function ask(gateway: TestGateway, path: string, body: string): Promise<Envelope> {
  const response = await gateway.post(path, body, { 'content-type': 'application/json' })
  const text = await response.text()
  expect(text).not.toMatch(/10\.9\.8\.7|127\.0\.0\.1:/)
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json'])
  expect(response.headers.get('access-control-allow-origin')).toBe('*')
  return JSON.parse(text) as Envelope
}

describe('the older JSON API', () => {
  test('what is nested, however deep, does not go on, and harms nobody', async () => {
    const { origin, gateway } = await stage()
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`
    const body = offer({ tid: 'abc' }).replace('{', `{"x":${deep},`)
    expect(await ask(gateway, '/rtc/v1/play/', body)).toMatchObject({ code: 0 })
    const sent = JSON.parse(origin.seen[0]?.body ?? '') as Record<string, unknown>
    expect([sent['x'], sent['tid']]).toEqual([undefined, 'abc'])
  })

  test('a slash in the query of the streamurl does not make another stream of it', async () => {
    const { origin, gateway } = await stage()
    await ask(gateway, '/rtc/v1/play/', offer({ streamurl: 'webrtc://gateway/live/s?x=/secret' }))
    expect(JSON.parse(origin.seen[0]?.body ?? '')).toMatchObject({
      streamurl: 'webrtc://gateway/live/s?x=%2Fsecret',
    })
  })

  test.each([
    ['/rtc/v1/play/', 'play', '/rtc/v1/play/'],
    ['/rtc/v1/play', 'play', '/rtc/v1/play/'],
    ['/rtc/v1/publish/', 'publish', '/rtc/v1/publish/'],
    ['/rtc/v1/publish?secret=x', 'publish', '/rtc/v1/publish/?secret=x'],
  ])('%s: the envelope reaches the origin and comes back, media flows', async (path, role, url) => {
    const { origin, gateway } = await stage()
    const answer = await ask(gateway, path, offer())
    expect(answer).toMatchObject({
      code: 0,
      server: 'vid-1',
      service: 's-1',
      pid: '77',
      sessionid: 'or16:clnt',
    })
    expect(Object.keys(answer).toSorted()).toEqual(['code', 'pid', 'sdp', 'server', 'service', 'sessionid'])
    expect(answer.sdp).toContain(`127.0.0.1 ${gateway.media.port} typ host`)

    const [seen] = origin.seen
    expect([seen?.method, seen?.url, seen?.headers['content-type']]).toEqual([
      'POST',
      url,
      'application/json',
    ])
    const { sdp, ...members } = JSON.parse(seen?.body ?? '') as Envelope
    expect(members).toEqual({
      api: 'http://gateway:1985/rtc/v1/play/',
      clientip: '127.0.0.1',
      streamurl: 'webrtc://gateway/live/s?token=t',
    })
    expect(sdp).toContain('a=ice-ufrag:clnt')
    expect(sdp).not.toMatch(/candidate|192\.0\.2\.7/)

    expect(gateway.service.listSessions()).toMatchObject([{ role, streamKey: '__defaultVhost__/live/s' }])
    const client = await openClient()
    await client.send(check('or16:clnt'), gateway.media)
    await origin.udp.send('media', (await origin.udp.next()).from)
    expect((await client.next()).text).toBe('media')
  })

  test.each([
    [{ streamurl: 'webrtc://cdn.example/live/s' }, '/rtc/v1/play/', 'cdn.example/live/s'],
    [{ streamurl: 'webrtc://cdn.example:8443/live/sub/s' }, '/rtc/v1/play/', 'cdn.example/live/sub/s'],
    [{ streamurl: 'webrtc://10.0.0.1/live/s?vhost=cdn.example' }, '/rtc/v1/play/', 'cdn.example/live/s'],
    [
      { streamurl: 'webrtc://x/live/stream\u00e4%20a' },
      '/rtc/v1/play/',
      '__defaultVhost__/live/stream\u00e4 a',
    ],
    // Were the query believed, a client could be let in to one stream and be played another.
    [{ streamurl: 'webrtc://x/live/s' }, '/rtc/v1/play/?app=a&stream=b', '__defaultVhost__/live/s'],
    [{ streamurl: undefined }, '/rtc/v1/play/?app=a&stream=b&vhost=cdn.example', 'cdn.example/a/b'],
  ])('%j at %s is the stream %s', async (members, path, key) => {
    const vhosts = ['cdn.example']
    const { origin, gateway } = await stage({ streamKeyOf: keysOf('normal', vhosts) })
    expect((await ask(gateway, path, offer(members))).code).toBe(0)
    expect(gateway.service.listSessions()).toMatchObject([{ streamKey: key }])
    if (members.streamurl === undefined) {
      const { streamurl } = JSON.parse(origin.seen[0]?.body ?? '') as Envelope
      expect(streamurl).toBe(`webrtc://${new URL(gateway.url).host}/a/b?vhost=cdn.example`)
    }
  })

  test('with the keys of the SRS proxy the host of a streamurl counts as in a tcUrl of RTMP', async () => {
    const { gateway } = await stage({ streamKeyOf: keysOf('srs', []) })
    const key = async (streamurl: string): Promise<StreamKey | undefined> => {
      await ask(
        gateway,
        '/rtc/v1/play/',
        offer({ streamurl, sdp: offerSdp(`c${streamurl.length}`.padEnd(5, '0')) }),
      )
      return gateway.service.listSessions().at(-1)?.streamKey as StreamKey | undefined
    }
    expect(await key('webrtc://cdn.example.com/live/s')).toBe('cdn.example.com/live/s')
  })

  test.each([
    ['no JSON', '{', 400, 'WEBRTC_BAD_JSON'],
    ['no object', '[]', 400, 'WEBRTC_BAD_JSON'],
    ['too deep', '['.repeat(60_000), 400, 'WEBRTC_BAD_JSON'],
    ['no SDP', offer({ sdp: 7 }), 400, 'WEBRTC_BAD_SDP'],
    ['no streamurl and no query', offer({ streamurl: undefined }), 400, 'BALANCER_BAD_STREAM_KEY'],
    ['a streamurl that is none', offer({ streamurl: 'live/s' }), 400, 'WEBRTC_BAD_JSON'],
    ['a streamurl of another type', offer({ streamurl: {} }), 400, 'WEBRTC_BAD_JSON'],
    ['a streamurl with a line in it', offer({ streamurl: 'webrtc://x/live/s\r\nx' }), 400, 'WEBRTC_BAD_JSON'],
    ['too much', offer({ pad: 'a'.repeat(70_000) }), 413, 'WEBRTC_BODY_TOO_LARGE'],
  ])('%s is refused in the form of the API, before an origin is asked', async (_, body, code, error) => {
    const { origin, gateway } = await stage()
    expect(await ask(gateway, '/rtc/v1/play/', body)).toMatchObject({ code, error })
    expect(origin.seen).toEqual([])
  })

  test('a refusal of the origin is told by its code, and nothing else of it', async () => {
    const { origin, gateway } = await stage()
    origin.reply = () => ({ status: 200, body: JSON.stringify({ code: 5020, why: 'at 10.9.8.7' }) })
    expect(await ask(gateway, '/rtc/v1/play/', offer())).toMatchObject({ code: 5020 })
    origin.reply = () => ({ status: 404, body: 'at 10.9.8.7' })
    expect(await ask(gateway, '/rtc/v1/play/', offer())).toMatchObject({ code: 404 })
    expect(gateway.service.listSessions()).toEqual([])
  })

  test.each([
    ['nonsense', { status: 200, body: 'hello' }],
    ['an envelope without an SDP', { status: 200, body: '{"code":0}' }],
    [
      'half an envelope',
      { status: 200, headers: { 'content-length': '1000' }, body: '{"code":0,"sdp":"v=0' },
    ],
  ])('an origin that answers %s is left for another', async (_, reply) => {
    const { origin: bad, gateway } = await stage()
    bad.reply = () => reply
    expect(await ask(gateway, '/rtc/v1/play/', offer())).toMatchObject({ code: 502 })
    const good = await FakeOrigin.start()
    good.reply = () => jsonAnswer(good)
    const goodId = await gateway.store.announce(good.announcement())
    expect(await ask(gateway, '/rtc/v1/play/', offer())).toMatchObject({ code: 0 })
    expect(gateway.service.listSessions()).toMatchObject([{ originId: goodId }])
  })

  test('an origin of another make is asked by WHEP, and the envelope is made here', async () => {
    const origin = await FakeOrigin.start()
    const gateway = await TestGateway.start()
    await gateway.store.announce(
      origin.foreign({ whep: '/{app}/{stream}/whep', whip: '/{app}/{stream}/whip' }),
    )
    const answer = await ask(gateway, '/rtc/v1/play/?extra=1', offer())
    const { port } = gateway.media
    expect(answer).toMatchObject({ code: 0, server: `server-${origin.apiPort}`, sessionid: 'or1000:clnt' })
    expect(answer.sdp).toContain(`127.0.0.1 ${port} typ host`)
    const [seen] = origin.seen
    expect([seen?.url, seen?.headers['content-type']]).toEqual([
      '/live/s/whep?token=t&extra=1',
      'application/sdp',
    ])
    expect(seen?.body).toMatch(/^v=0\r\n/)
    // It named a session, so it is told of its end.
    const [session] = gateway.service.listSessions()
    gateway.service.kickSession(session?.id ?? '')
    await origin.sees('DELETE')
  })

  test('a GET is told what is taken', async () => {
    const { gateway } = await stage()
    const response = await fetch(`${gateway.url}/rtc/v1/play/`)
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST, OPTIONS'])
    const preflight = await fetch(`${gateway.url}/rtc/v1/play/`, { method: 'OPTIONS' })
    expect(preflight.headers.get('accept-post')).toBe('application/json')
  })
})

function keysOf(
  keys: KeyRules['keys'],
  vhosts: readonly string[],
): (request: HttpStreamRequest) => StreamKey {
  return (request) => streamKeyOfHttp(request, { keys, vhosts })
}
