import { describe, expect, test } from 'vitest'
import { answerSdp, check, FakeOrigin, openClient, type OriginReply, TestGateway } from './webrtc.testkit.ts'

const fragmentType = 'application/trickle-ice-sdpfrag'

const fragment = [
  'a=ice-ufrag:clnt',
  'a=ice-pwd:clientpasswordclientpass',
  'm=video 9 UDP/TLS/RTP/SAVPF 0',
  'a=mid:0',
  'a=candidate:1 1 udp 1 192.0.2.7 5 typ host',
  'a=candidate:2 1 tcp 1 192.0.2.7 9 typ host tcptype active',
  'a=end-of-candidates',
  '',
].join('\r\n')

const restart = fragment.replace('clnt', 'clnt2')

async function stage(
  reply?: OriginReply,
  options: Parameters<typeof TestGateway.start>[0] = {},
): Promise<{
  readonly origin: FakeOrigin
  readonly gateway: TestGateway
  readonly location: string
  readonly username: string
}> {
  const origin = await FakeOrigin.start()
  const gateway = await TestGateway.start(options)
  await gateway.store.announce(origin.announcement())
  origin.reply = (request) => origin.accept(request, 'or16')
  const opened = await gateway.open('clnt')
  if (reply !== undefined) origin.reply = () => reply
  return { origin, gateway, ...opened }
}

function patch(location: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(location, {
    method: 'PATCH',
    body,
    headers: { 'content-type': fragmentType, 'if-match': '"or16"', ...headers },
  })
}

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { readonly code: string }).code
}

describe('trickled candidates', () => {
  test('reach the origin without what they are, with their conditions', async () => {
    const { origin, location } = await stage({
      status: 204,
      headers: { etag: '"or16"', 'x-inner': '10.9.8.7' },
    })
    const response = await patch(location, fragment, { authorization: 'Bearer t' })
    expect([response.status, response.headers.get('etag')]).toEqual([204, '"or16"'])
    expect(response.headers.get('x-inner')).toBeNull()
    const seen = origin.seen.at(-1)
    expect(seen).toMatchObject({
      method: 'PATCH',
      headers: { 'if-match': '"or16"', 'content-type': fragmentType, authorization: 'Bearer t' },
    })
    expect(seen?.url).toMatch(/^\/rtc\/v1\/whip\/\?action=delete&token=t\d&session=or16/)
    expect(seen?.body).toContain('a=ice-ufrag:clnt\r\n')
    expect(seen?.body).not.toMatch(/candidate|192\.0\.2\.7/)
  })

  test.each([405, 500, 501])('are taken here when the origin takes none (%i)', async (status) => {
    const { location } = await stage({ status, body: 'no 10.9.8.7' })
    const response = await patch(location, fragment)
    expect([response.status, response.headers.get('etag'), await response.text()]).toEqual([
      204,
      '"or16"',
      '',
    ])
    expect((await patch(location, fragment, { 'if-match': '*' })).status).toBe(204)
    const stale = await patch(location, fragment, { 'if-match': '"other"' })
    expect([stale.status, await codeOf(stale)]).toEqual([412, 'WEBRTC_STALE_ETAG'])
  })

  test('are taken here when the origin named no session', async () => {
    const { origin, gateway } = await stage()
    origin.reply = () => ({ status: 201, body: answerSdp('none', origin.udp.port) })
    const { location } = await gateway.open('othr')
    const seen = origin.seen.length
    expect((await patch(location, fragment.replace('clnt', 'othr'))).status).toBe(204)
    const response = await patch(location, restart)
    expect([response.status, await codeOf(response)]).toEqual([405, 'WEBRTC_METHOD'])
    expect(origin.seen.length).toBe(seen)
  })

  test.each([403, 404, 412, 422])('are refused when the origin says so (%i)', async (status) => {
    const { location } = await stage({ status, body: 'of 10.9.8.7' })
    const response = await patch(location, fragment)
    const text = await response.text()
    expect(response.status).toBe(status)
    expect(text).toContain('WEBRTC_ORIGIN_REFUSED')
    expect(text).not.toContain('10.9.8.7')
  })

  test('the candidates that an origin answers with stay inside', async () => {
    const { origin, location } = await stage()
    const headers = { 'content-type': fragmentType }
    origin.reply = () => ({ status: 200, headers, body: answerSdp('or16', origin.udp.port) })
    const response = await patch(location, fragment)
    expect([response.status, await response.text()]).toEqual([204, ''])
  })
})

describe('an ICE restart', () => {
  test('is answered with the gateway, and checks with the new credentials are taken for the same session', async () => {
    const { origin, gateway, location, username } = await stage()
    origin.reply = () => ({
      status: 200,
      headers: { 'content-type': fragmentType, etag: '"fresh"' },
      body: answerSdp('fresh', origin.udp.port, 'anotherpasswordforthesame').slice('v=0\r\n'.length),
    })
    const response = await patch(location, restart)
    expect([response.status, response.headers.get('etag')]).toEqual([200, '"fresh"'])
    expect(response.headers.get('content-type')).toBe(fragmentType)
    const answer = await response.text()
    expect(answer).toContain(`127.0.0.1 ${gateway.media.port} typ host`)
    expect(answer).not.toContain('10.9.8.7')
    const client = await openClient()
    await client.send(check('fresh:clnt2', { pwd: 'anotherpasswordforthesame' }), gateway.media)
    const { from } = await origin.udp.next()
    await client.send(check(username), gateway.media)
    expect((await origin.udp.next()).from).toEqual(from)
    expect(await gateway.store.findSession('fresh:clnt2')).toMatchObject({ role: 'publish' })
    expect(gateway.service.listSessions()).toHaveLength(1)
    // Candidates of the new generation are no further restart.
    origin.reply = () => ({ status: 405 })
    expect((await patch(location, restart, { 'if-match': '"fresh"' })).status).toBe(204)
    expect((await patch(location, restart)).status).toBe(412)
    await fetch(location, { method: 'DELETE' })
    expect(await gateway.store.findSession('fresh:clnt2')).toBeUndefined()
    expect(await gateway.store.findSession(username)).toBeUndefined()
  })

  test.each([405, 412, 501])(
    'is refused as the origin does (%i), and the session goes on',
    async (status) => {
      const { origin, gateway, location, username } = await stage({ status })
      const response = await patch(location, restart)
      expect([response.status, await codeOf(response)]).toEqual([status, 'WEBRTC_ORIGIN_REFUSED'])
      const client = await openClient()
      await client.send(check(username), gateway.media)
      await origin.udp.next()
    },
  )

  test.each([
    ['nothing', { status: 204 }],
    ['no credentials', { status: 200, body: 'a=mid:0\r\n' }],
  ])('that the origin answers with %s is a 502', async (_, reply) => {
    const { location } = await stage(reply)
    const response = await patch(location, restart)
    expect([response.status, await codeOf(response)]).toEqual([502, 'WEBRTC_ORIGIN_BAD_ANSWER'])
  })
})

test('an origin that does not answer is a 504', async () => {
  const { location } = await stage('hang', { headersTimeoutMs: 2000 })
  const response = await patch(location, fragment)
  expect([response.status, await codeOf(response)]).toEqual([504, 'WEBRTC_ORIGIN_TIMEOUT'])
})

test.each([
  ['another media type', fragment, { 'content-type': 'application/sdp' }, 415, 'WEBRTC_MEDIA_TYPE'],
  ['too many lines', 'a=x\r\n'.repeat(10_000), {}, 400, 'WEBRTC_BAD_SDP'],
  ['too many bytes', 'a'.repeat(70_000), {}, 413, 'WEBRTC_BODY_TOO_LARGE'],
])('%s is refused before the origin is asked', async (_, body, headers, status, code) => {
  const { origin, location } = await stage({ status: 204 })
  const response = await patch(location, body, headers)
  expect([response.status, await codeOf(response)]).toEqual([status, code])
  expect(origin.seen).toHaveLength(1)
})
