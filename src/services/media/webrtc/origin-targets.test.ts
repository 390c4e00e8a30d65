import { describe, expect, test } from 'vitest'
import { makeCertificate } from '../../../mechanisms/net/certificate.testkit.ts'
import { type Dial, dialTcp } from '../../../mechanisms/net/index.ts'
import {
  answerSdp,
  check,
  FakeOrigin,
  offerSdp,
  openClient,
  type OriginReply,
  TestGateway,
} from './webrtc.testkit.ts'

const paths = { whip: '/{app}/{stream}/whip', whep: '/{app}/{stream}/whep?v=1' } as const

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { readonly code: string }).code
}

describe('an origin of another make', () => {
  test('is asked at its own path, by its own name, with the rest of the query, and gets the media', async () => {
    const origin = await FakeOrigin.start()
    const gateway = await TestGateway.start()
    await gateway.store.announce(origin.foreign(paths))
    const { username, location } = await gateway.open('clnt', '/live/sub/s/whep?token=t&vhost=x&ice-pwd=p')
    const host = `127.0.0.1:${origin.apiPort}`
    expect(origin.seen[0]).toMatchObject({ url: '/live/sub/s/whep?v=1&token=t', headers: { host } })
    const client = await openClient()
    await client.send(check(username), gateway.media)
    await origin.udp.send('media', (await origin.udp.next()).from)
    expect((await client.next()).text).toBe('media')
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
    expect(origin.seen.at(-1)?.headers.host).toBe(host)
  })

  test('whose query names the stream is not told of another one', async () => {
    const origin = await FakeOrigin.start()
    const gateway = await TestGateway.start()
    await gateway.store.announce(origin.foreign({ whep: '/whep?name={app}/{stream}' }))
    await gateway.open(
      'clnt',
      '/live/s/whep?token=t&name=live/secret&%6eame=x&eip=10.0.0.9:53&candidate=10.0.0.9',
    )
    expect(origin.seen[0]?.url).toBe('/whep?name=live/s&token=t')
  })

  test('that takes no publishers by WebRTC is not asked to', async () => {
    const origin = await FakeOrigin.start()
    const gateway = await TestGateway.start()
    await gateway.store.announce(origin.foreign({ whep: paths.whep }))
    expect((await gateway.post('/live/s/whip', offerSdp('clnt'))).status).toBe(503)
    expect(origin.seen).toEqual([])
    await gateway.open('clnt', '/live/s/whep')
  })

  test('is reached by HTTPS under the name that its certificate has', async () => {
    const certificate = await makeCertificate(['origin.example'], [])
    const origin = await FakeOrigin.start('127.0.0.1', certificate)
    const resolveHost = async (): Promise<string> => '127.0.0.1'
    const dial: Dial = ({ tls, ...options }) =>
      dialTcp({ ...options, ...(tls && { tls: { ...tls, ca: certificate.cert } }) })
    const gateway = await TestGateway.start({ dial, resolveHost })
    await gateway.store.announce(origin.foreign(paths, { scheme: 'https', host: 'origin.example' }))
    const { location } = await gateway.open('clnt')
    expect(origin.seen[0]?.headers.host).toBe(`origin.example:${origin.apiPort}`)
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
    expect(origin.seen.at(-1)?.method).toBe('DELETE')

    await gateway.store.announce(origin.foreign(paths, { scheme: 'https', host: 'other.example' }))
    const response = await gateway.post('/live/s/whip', offerSdp('next'))
    expect([response.status, await codeOf(response)]).toEqual([502, 'WEBRTC_ORIGIN_UNREACHABLE'])
  })

  test('whose name nobody resolves in time is unreachable', async () => {
    const origin = await FakeOrigin.start()
    const resolveHost = (): Promise<string> => new Promise(() => {})
    const gateway = await TestGateway.start({ resolveHost, connectTimeoutMs: 50 })
    await gateway.store.announce(origin.foreign(paths, { host: 'origin.example' }))
    const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([response.status, await codeOf(response)]).toEqual([502, 'WEBRTC_ORIGIN_UNREACHABLE'])
  })

  test('over HTTPS, that does not finish its handshake in time, is unreachable', async () => {
    const origin = await FakeOrigin.start()
    const gateway = await TestGateway.start({ connectTimeoutMs: 100 })
    // It speaks plain HTTP and waits for more.
    await gateway.store.announce(origin.foreign(paths, { scheme: 'https' }))
    const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([response.status, await codeOf(response)]).toEqual([502, 'WEBRTC_ORIGIN_UNREACHABLE'])
  })

  test('and IPv6 only: signalling, media and candidates', async () => {
    const origin = await FakeOrigin.start('::1')
    const gateway = await TestGateway.start({ mediaListen: [{ addresses: ['::1'], port: 0 }] })
    await gateway.store.announce(origin.foreign(paths))
    const { username, answer } = await gateway.open('clnt')
    const { port } = gateway.mediaAt('::1')
    expect(answer).toContain(` ::1 ${port} typ host\r\n`)
    const client = await openClient('::1')
    await client.send(check(username), gateway.mediaAt('::1'))
    await origin.udp.send('media', (await origin.udp.next()).from)
    expect((await client.next()).text).toBe('media')
  })

  test('an SRS at an IPv6 address gets the media there', async () => {
    const origin = await FakeOrigin.start('::1')
    const gateway = await TestGateway.start()
    await gateway.store.announce(origin.announcement())
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    await client.send(check(username), gateway.media)
    await origin.udp.send('media', (await origin.udp.next()).from)
    expect((await client.next()).text).toBe('media')
  })

  test('whose answer names no place that can be reached is left', async () => {
    const origin = await FakeOrigin.start()
    const gateway = await TestGateway.start({ resolveHost: () => Promise.reject(new Error('unknown')) })
    await gateway.store.announce(origin.foreign(paths))
    origin.reply = (request) =>
      withBody(origin.accept(request), answerSdp('none', 7, undefined, '4f1d3a7e.local'))
    const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([response.status, await codeOf(response)]).toEqual([502, 'WEBRTC_ORIGIN_BAD_ANSWER'])
    await origin.sees('DELETE')
  })
})

describe('a Location', () => {
  const located = (origin: FakeOrigin, location: string): void => {
    origin.reply = (request) => {
      const reply = origin.accept(request)
      if (typeof reply === 'string' || request.method !== 'POST') return reply
      return { ...reply, headers: { location } }
    }
  }
  const deleted = async (location: string): Promise<void> => {
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
  }

  test.each([
    ['relative to the path', 'sessions/7?x=1', '/rtc/v1/whip/sessions/7?x=1'],
    ['with a path of its own', '/sessions/7', '/sessions/7'],
    ['that steps out of its folder', '../../up/7', '/rtc/up/7'],
  ])('%s is followed at the origin', async (_, text, url) => {
    const origin = await FakeOrigin.start()
    const gateway = await TestGateway.start()
    await gateway.store.announce(origin.announcement())
    located(origin, text)
    const { location } = await gateway.open('clnt')
    await deleted(location)
    expect(origin.seen.at(-1)).toMatchObject({ method: 'DELETE', url })
  })

  test('that is absolute is followed to the origin itself, by whatever name it was called', async () => {
    const origin = await FakeOrigin.start()
    const gateway = await TestGateway.start()
    await gateway.store.announce(origin.announcement())
    for (const [i, host] of [`127.0.0.1:${origin.apiPort}`, new URL(gateway.url).host].entries()) {
      located(origin, `http://${host}/sessions/${i}`)
      const { location } = await gateway.open(`clnt${i}`, `/live/s${i}/whip`)
      await deleted(location)
      expect(origin.seen.at(-1)).toMatchObject({ method: 'DELETE', url: `/sessions/${i}` })
    }
  })

  test('that is absolute is followed to another origin', async () => {
    const [origin, other] = [await FakeOrigin.start(), await FakeOrigin.start('::1')]
    const gateway = await TestGateway.start()
    await gateway.store.announce(origin.announcement())
    located(origin, `http://[::1]:${other.apiPort}/sessions/7`)
    await gateway.store.announce(other.announcement())
    await gateway.store.drain((await gateway.store.list()).find(({ ip }) => ip === '::1')?.id as never, true)
    const { location } = await gateway.open('clnt')
    await deleted(location)
    expect(other.seen).toMatchObject([{ method: 'DELETE', url: '/sessions/7' }])
  })

  test.each([
    'http://127.0.0.2:1/gone/7',
    '//127.0.0.2/gone',
    'ftp://127.0.0.1/x',
    'http://[',
    'file:///etc/passwd',
  ])('to %s counts as absent', async (text) => {
    const dialled: string[] = []
    const dial: Dial = (options) => {
      dialled.push(options.host ?? '')
      return dialTcp(options)
    }
    const origin = await FakeOrigin.start()
    const gateway = await TestGateway.start({ dial })
    await gateway.store.announce(origin.announcement())
    located(origin, text)
    const { location } = await gateway.open('clnt')
    await deleted(location)
    expect(gateway.service.listSessions()).toEqual([])
    expect(origin.seen.map(({ method }) => method)).toEqual(['POST'])
    expect(dialled).toEqual(['127.0.0.1'])
  })
})

describe('a redirect', () => {
  test.each([307, 308])(
    'with status %i is followed to another origin, whose media is then the session`s',
    async (status) => {
      const [origin, other] = [await FakeOrigin.start(), await FakeOrigin.start('::1')]
      const gateway = await TestGateway.start()
      await gateway.store.announce(origin.announcement())
      const otherId = await gateway.store.announce(other.announcement())
      await gateway.store.drain(otherId, true)
      const location = `http://[::1]:${other.apiPort}/rtc/v1/whip/?app=live&stream=s&moved=1`
      origin.reply = () => ({ status, headers: { location } })
      const { username } = await gateway.open('clnt')
      expect(other.seen[0]).toMatchObject({ method: 'POST', url: '/rtc/v1/whip/?app=live&stream=s&moved=1' })
      expect(other.seen[0]?.body).toContain('a=ice-ufrag:clnt')
      expect(gateway.service.listSessions()).toMatchObject([{ originId: otherId }])
      const client = await openClient()
      await client.send(check(username), gateway.media)
      await other.udp.next()
    },
  )

  test('to an origin that is gone is not the fault of the one that made it', async () => {
    const [origin, gone] = [await FakeOrigin.start(), await FakeOrigin.start('::1')]
    const gateway = await TestGateway.start()
    const id = await gateway.store.announce(origin.announcement())
    await gateway.store.drain(await gateway.store.announce(gone.announcement()), true)
    await gone.close()
    origin.reply = () => ({ status: 307, headers: { location: `http://[::1]:${gone.apiPort}/x` } })
    const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([response.status, await codeOf(response)]).toEqual([502, 'WEBRTC_ORIGIN_UNREACHABLE'])
    expect(await gateway.store.findOrigin(id)).toMatchObject({ state: 'healthy' })
  })

  test.each([
    ['to somebody else', 307, 'http://127.0.0.2:1/x'],
    ['in a circle', 307, '/rtc/v1/whip/?again'],
    ['without a Location', 308, ''],
    ['that makes a GET of it', 302, '/x'],
  ])('%s is no answer', async (_, status, location) => {
    const origin = await FakeOrigin.start()
    const gateway = await TestGateway.start()
    await gateway.store.announce(origin.announcement())
    origin.reply = () => ({ status, headers: location === '' ? {} : { location } })
    const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([response.status, await codeOf(response)]).toEqual([502, 'WEBRTC_ORIGIN_BAD_ANSWER'])
    expect(response.headers.get('location')).toBeNull()
    expect(origin.seen.length).toBeLessThanOrEqual(4)
  })
})

function withBody(reply: OriginReply, body: string): OriginReply {
  return typeof reply === 'string' ? reply : { ...reply, body }
}
