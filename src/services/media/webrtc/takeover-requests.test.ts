import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import { AddressRanges, httpClientOf } from '../../../mechanisms/net/index.ts'
import { sdpText } from '../../../protocols/sdp/sdp.testkit.ts'
import { checkThrough, servedBy, startFleet } from './fleet.testkit.ts'
import { tokenHashOf } from './session-record.ts'
import { check, type FakeOrigin, openClient, type TestGateway } from './webrtc.testkit.ts'

/** The same Location at another gateway. */
function at(gateway: TestGateway, location: string): string {
  return gateway.url + new URL(location).pathname
}

function fragment(ufrag: string): string {
  return sdpText(`a=ice-ufrag:${ufrag}`, 'a=ice-pwd:clientpasswordclientpass', 'm=video 9 X 0', 'a=mid:0')
}

async function patch(url: string, ufrag: string, etag?: string): Promise<Response> {
  const headers = {
    'content-type': 'application/trickle-ice-sdpfrag',
    ...(etag !== undefined && { 'if-match': etag }),
  }
  return fetch(url, { method: 'PATCH', headers, body: fragment(ufrag) })
}

/** The origin restarts ICE for fragments that are not of these, and answers with a user fragment of its own. */
function restarts(origin: FakeOrigin, ufrag: string, pwd: string, ...known: readonly string[]): void {
  origin.reply = (request) => {
    if (request.method !== 'PATCH') return origin.accept(request)
    if (known.some((one) => request.body.includes(`a=ice-ufrag:${one}\r`))) return { status: 204 }
    return {
      status: 200,
      headers: { etag: `"${ufrag}"`, 'content-type': 'application/trickle-ice-sdpfrag' },
      body: sdpText(
        `a=ice-ufrag:${ufrag}`,
        `a=ice-pwd:${pwd}`,
        'm=video 9 UDP/TLS/RTP/SAVPF 96',
        'a=mid:0',
        `a=candidate:0 1 udp 1 10.9.8.7 ${origin.udp.port} typ host`,
      ),
    }
  }
}

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { code: string }).code
}

const newPwd = 'another-password-of-the-origin'

describe('a DELETE at another gateway', () => {
  test('is taken to the origin with its credentials, and ends the session where it is served, told once', async () => {
    const { shared, origin, a, b, c } = await startFleet()
    const { username, location } = await a.open('clnt')
    const client = await openClient()
    await checkThrough(client, b, origin, username, { nominate: true })
    await servedBy({ shared }, 'b', username, b, a)
    const headers = { authorization: 'Bearer x' }
    const response = await fetch(at(c, location), { method: 'DELETE', headers })
    expect(response.status).toBe(200)
    await until(() => b.service.listSessions().length === 0, 'its end')
    const deletes = origin.seen.filter(({ method }) => method === 'DELETE')
    expect(deletes).toMatchObject([{ url: expect.stringContaining('token=t1'), headers }])
    expect(await b.metric('sluice_webrtc_sessions_ended_total{reason="client"}')).toBe(1)
    expect(shared.records.size).toBe(0)
    expect((await b.store.streams())[0]).toMatchObject({ publishers: 0 })
    // And at every gateway it is gone.
    for (const gateway of [a, b, c]) {
      expect((await fetch(at(gateway, location), { method: 'DELETE' })).status).toBe(404)
    }
  })

  test('where it stands by is one for the gateway that serves it', async () => {
    const { shared, origin, a, b } = await startFleet()
    const { username, location } = await a.open('clnt')
    await checkThrough(await openClient(), b, origin, username)
    await servedBy({ shared }, 'b', username, b, a)
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
    await until(() => b.service.listSessions().length === 0, 'its end')
    expect(origin.seen.filter(({ method }) => method === 'DELETE')).toHaveLength(1)
    expect(a.datapath.totals()).toMatchObject({ endpoints: 1, flows: 0 })
    expect(b.datapath.totals()).toMatchObject({ endpoints: 1, flows: 0 })
  })

  test('of a session that goes to another gateway while its origin is asked ends it there', async () => {
    const { shared, origin, a, b } = await startFleet({ headersTimeoutMs: 1000 })
    const { username, location } = await a.open('clnt')
    const client = await openClient()
    let answer = (): void => {}
    const moved = new Promise<void>((resolve) => (answer = resolve))
    origin.reply = (request) => {
      if (request.method === 'DELETE') {
        void client.send(check(username), b.media).then(answer)
        return 'hang'
      }
      return origin.accept(request)
    }
    const ended = fetch(location, { method: 'DELETE' })
    await moved
    await servedBy({ shared }, 'b', username, b, a)
    // It gives up in time.
    expect((await ended).status).toBe(200)
    await until(() => b.service.listSessions().length === 0, 'its end')
    expect(shared.records.size).toBe(0)
  })

  test('that the origin refuses to whoever asks leaves the session alone', async () => {
    const { shared, origin, a, c } = await startFleet()
    const { username, location } = await a.open('clnt')
    origin.reply = () => ({ status: 401, headers: { 'www-authenticate': 'Bearer' } })
    const response = await fetch(at(c, location), { method: 'DELETE' })
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    expect(shared.ownerOf(username)).toBe('a')
    expect(a.service.listSessions()).toHaveLength(1)
  })

  test('works when the gateway that served it is gone, and when its origin is', async () => {
    const { shared, origin, a, c } = await startFleet()
    const first = await a.open('one1')
    const second = await a.open('two2', '/live/t/whip')
    shared.dead.add('a')
    expect((await fetch(at(c, first.location), { method: 'DELETE' })).status).toBe(200)
    await c.store.remove((await c.store.list())[0]?.id as never)
    expect((await fetch(at(c, second.location), { method: 'DELETE' })).status).toBe(200)
    expect(shared.records.size).toBe(0)
    expect(origin.seen.filter(({ method }) => method === 'DELETE')).toHaveLength(1)
  })

  test('of a token that nobody has given is 404; the store is not asked for what can be none, nor twice', async () => {
    const { shared, c } = await startFleet()
    const url = `${c.url}/rtc/v1/session/`
    for (const token of ['', 'short', 'x'.repeat(129), 'a/b'.repeat(10), '%00'.repeat(10)]) {
      expect((await fetch(url + token, { method: 'DELETE' })).status).toBe(404)
    }
    expect(shared.lookups).toBe(0)
    for (let i = 0; i < 3; i++) {
      expect((await fetch(`${url}${'x'.repeat(32)}`, { method: 'DELETE' })).status).toBe(404)
    }
    expect(shared.lookups).toBe(1)
  })

  test('is a fault of the moment while the store is away, slow, or asked too much by this client', async () => {
    const clock = new ManualClock()
    const { shared, a, c } = await startFleet({ clock, lookupsPerSecondPerSource: 2 })
    const { location } = await a.open('clnt')
    shared.isAway = true
    const away = await fetch(at(c, location), { method: 'DELETE' })
    expect([away.status, await codeOf(away)]).toEqual([503, 'WEBRTC_STORE_AWAY'])
    expect(away.headers.get('retry-after')).toBe('5')
    shared.isAway = false
    shared.until = new Promise(() => {})
    const slow = fetch(at(c, location), { method: 'DELETE' })
    await until(() => shared.lookups === 2, 'the question')
    clock.advance(3000)
    expect(await codeOf(await slow)).toBe('WEBRTC_STORE_AWAY')
    shared.until = Promise.resolve()
    const token = (n: number): string => `${c.url}/rtc/v1/session/${String(n).padStart(32, '0')}`
    for (let i = 0; i < 2; i++) await fetch(token(i), { method: 'DELETE' })
    const over = await fetch(token(3), { method: 'DELETE' })
    expect([over.status, await codeOf(over)]).toEqual([503, 'WEBRTC_TOO_MANY_LOOKUPS'])
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
  })

  test('the token itself is nowhere but at the client', async () => {
    const { shared, a } = await startFleet()
    const { location } = await a.open('clnt')
    const token = location.split('/').at(-1) ?? ''
    const stored = JSON.stringify([...shared.records.values()])
    expect(stored).not.toContain(token)
    expect(stored).toContain(tokenHashOf(token))
  })
})

describe('a PATCH at another gateway', () => {
  test('trickles to the origin, many at once on one look-up', async () => {
    let requests = 0
    const clientOf = httpClientOf(new AddressRanges([]))
    const { shared, origin, a, c } = await startFleet((name) =>
      name === 'c' ? { clientOf: (request) => (requests++, clientOf(request)) } : {},
    )
    const { location } = await a.open('clnt')
    origin.reply = () => ({ status: 204 })
    let open = (): void => {}
    shared.until = new Promise((resolve) => (open = resolve))
    const asked = [1, 2, 3, 4].map(() => patch(at(c, location), 'clnt'))
    await until(() => requests === 4, 'them all')
    expect(shared.lookups).toBe(1)
    open()
    const responses = await Promise.all(asked)
    expect(responses.map(({ status }) => status)).toEqual([204, 204, 204, 204])
    expect(origin.seen.filter(({ method }) => method === 'PATCH')).toHaveLength(4)
    expect(shared.ownerOf([...shared.records.keys()][0] ?? '')).toBe('a')
  })

  test('has the ETag of the session when its origin takes none', async () => {
    const { origin, a, c } = await startFleet()
    const { username, location } = await a.open('clnt')
    const etag = `"${username.split(':')[0]}"`
    origin.reply = () => ({ status: 405 })
    const good = await patch(at(c, location), 'clnt', etag)
    expect([good.status, good.headers.get('etag')]).toEqual([204, etag])
    expect((await patch(at(c, location), 'clnt', '"old"')).status).toBe(412)
  })

  test('that restarts ICE gives the session another identity, which the gateway that serves it learns by the first check', async () => {
    const { shared, origin, a, b, c } = await startFleet()
    const { username, location } = await a.open('clnt')
    const client = await openClient()
    const socket = await checkThrough(client, b, origin, username, { nominate: true })
    await servedBy({ shared }, 'b', username, b, a)
    restarts(origin, 'newo', newPwd, 'clnt')
    const response = await patch(at(c, location), 'newc')
    expect([response.status, response.headers.get('etag')]).toEqual([200, '"newo"'])
    expect(await response.text()).toContain(` ${c.media.address} ${c.media.port} typ host`)
    expect(shared.records.get('newo:newc')?.session.resource).toMatchObject({
      etag: '"newo"',
      previous: username,
    })
    // From another address, as agents do it.
    const fresh = await openClient()
    const restarted = check('newo:newc', { pwd: newPwd, nominate: true })
    await fresh.send(restarted, b.media)
    expect(await origin.udp.next()).toMatchObject({ bytes: restarted, from: socket })
    await origin.udp.send('down', socket)
    expect((await fresh.next()).text).toBe('down')
    expect(b.service.listSessions()).toHaveLength(1)
    expect(await b.metric('sluice_webrtc_takeovers_total{result="restarted"}')).toBe(1)
    await until(() => shared.ownerOf('newo:newc') === 'b', 'the store to know')
    // The identity before it holds.
    await checkThrough(client, b, origin, username)
    restarts(origin, 'bad0', newPwd, 'clnt', 'newc')
    expect((await patch(at(b, location), 'newc', '"newo"')).status).toBe(204)
    expect((await fetch(at(c, location), { method: 'DELETE' })).status).toBe(200)
    await until(() => b.service.listSessions().length === 0, 'its end')
    await until(() => shared.records.size === 0, 'the store to forget both')
  })

  test('whose check comes from the address in use is passed on once, and learnt from all the same', async () => {
    const { origin, a, c } = await startFleet()
    const { username, location } = await a.open('clnt')
    const client = await openClient()
    const socket = await checkThrough(client, a, origin, username, { nominate: true })
    restarts(origin, 'newo', newPwd)
    expect((await patch(at(c, location), 'newc')).status).toBe(200)
    const restarted = check('newo:newc', { pwd: newPwd, nominate: true })
    await client.send(restarted, a.media)
    expect(await origin.udp.next()).toMatchObject({ bytes: restarted, from: socket })
    await until(() => a.datapath.totals().endpoints === 2, 'no socket more')
    await client.send('media', a.media)
    expect((await origin.udp.next()).text).toBe('media')
    await checkThrough(await openClient(), a, origin, 'newo:newc', { pwd: newPwd })
    expect(origin.udp.received).toEqual([])
  })

  test('whose check comes to a third gateway takes the session there, with the identity before it', async () => {
    const { shared, origin, a, b, c } = await startFleet()
    const { username, location } = await a.open('clnt')
    const client = await openClient()
    await checkThrough(client, a, origin, username, { nominate: true })
    restarts(origin, 'newo', newPwd)
    expect((await patch(at(c, location), 'newc')).status).toBe(200)
    const socket = await checkThrough(client, b, origin, 'newo:newc', { pwd: newPwd, nominate: true })
    await servedBy({ shared }, 'b', 'newo:newc', b, a)
    expect(shared.ownerOf(username)).toBe('b')
    expect(await checkThrough(await openClient(), b, origin, username)).toEqual(socket)
    expect(shared.lookups).toBe(3)
  })

  test('twice lets go of the oldest identity, and of nothing else', async () => {
    const { shared, origin, a, b, c } = await startFleet()
    const { username, location } = await a.open('clnt')
    const client = await openClient()
    await checkThrough(client, b, origin, username, { nominate: true })
    await servedBy({ shared }, 'b', username, b, a)
    for (const ufrag of ['one1', 'two2']) {
      restarts(origin, ufrag, newPwd)
      expect((await patch(at(c, location), ufrag)).status).toBe(200)
      await checkThrough(client, b, origin, `${ufrag}:${ufrag}`, { pwd: newPwd, nominate: true })
      await until(() => shared.ownerOf(`${ufrag}:${ufrag}`) === 'b', 'the store to know')
    }
    expect([...shared.records.keys()]).toEqual(['one1:one1', 'two2:two2'])
    // The word of another gateway that one from before is over.
    await shared.gateway('other').removeSession('one1:one1')
    await until(() => shared.records.size === 1, 'the store to forget it')
    await client.send('media', b.media)
    expect((await origin.udp.next()).text).toBe('media')
    expect(b.service.listSessions()).toHaveLength(1)
    const before = check('one1:one1', { pwd: newPwd })
    await (await openClient()).send(before, b.media)
    await until(() => b.datapath.totals().delivered.packets >= 4, 'the check')
    expect(origin.udp.received).toEqual([])
  })

  test('and a DELETE at once end the session where only the one before is known', async () => {
    const { shared, origin, a, c } = await startFleet()
    const { location } = await a.open('clnt')
    restarts(origin, 'newo', newPwd)
    expect((await patch(at(c, location), 'newc')).status).toBe(200)
    expect((await fetch(at(c, location), { method: 'DELETE' })).status).toBe(200)
    await until(() => a.service.listSessions().length === 0, 'its end')
    expect(shared.records.size).toBe(0)
    expect(origin.seen.filter(({ method }) => method === 'DELETE')).toHaveLength(1)
  })

  test('goes on where it comes back to, though the identity before it has gone meanwhile', async () => {
    const clock = new ManualClock()
    const { shared, origin, a, b, c } = await startFleet({ clock })
    const { username, location } = await a.open('clnt')
    const client = await openClient()
    restarts(origin, 'newo', newPwd)
    expect((await patch(at(c, location), 'newc')).status).toBe(200)
    const nominating = { pwd: newPwd, nominate: true }
    for (const [name, gateway] of [
      ['b', b],
      ['c', c],
    ] as const) {
      clock.advance(1000)
      await checkThrough(client, gateway, origin, 'newo:newc', nominating)
      await until(() => shared.ownerOf(username) === name, `gateway ${name} to take both`)
    }
    await until(() => b.service.listSessions().length === 0, 'the hand-over')
    shared.records.delete(username)
    clock.advance(1000)
    await checkThrough(client, b, origin, 'newo:newc', nominating)
    await servedBy({ shared }, 'b', 'newo:newc', b, c)
    await client.send('media', b.media)
    expect((await origin.udp.next()).text).toBe('media')
  })

  test('of trickling with an identity that only the store knows is no restart', async () => {
    const { origin, a, c } = await startFleet()
    const { location } = await a.open('clnt')
    restarts(origin, 'newo', newPwd, 'clnt')
    expect((await patch(at(c, location), 'newc')).status).toBe(200)
    restarts(origin, 'bad0', newPwd, 'newc')
    const trickled = await patch(at(a, location), 'newc', '"newo"')
    expect(trickled.status).toBe(204)
    await checkThrough(await openClient(), a, origin, 'newo:newc', { pwd: newPwd })
    expect(a.service.listSessions()).toHaveLength(1)
  })

  test('leaves nothing of an identity behind when its session is over', async () => {
    const { origin, a, c } = await startFleet()
    for (const ufrag of ['one1', 'two2']) {
      origin.reply = (request) => origin.accept(request)
      const { location } = await a.open(ufrag)
      restarts(origin, 'newo', newPwd)
      expect((await patch(at(c, location), 'newc')).status).toBe(200)
      expect((await fetch(at(c, location), { method: 'DELETE' })).status).toBe(200)
      await until(() => a.service.listSessions().length === 0, 'its end')
    }
  })

  test('that restarts ICE into the identity of a live session is refused', async () => {
    const { origin, a, c } = await startFleet()
    const { location } = await a.open('clnt')
    const other = await a.open('othr', '/live/t/whip')
    const [ufrag = '', client = ''] = other.username.split(':')
    restarts(origin, ufrag, newPwd)
    const refused = await patch(at(c, location), client)
    expect([refused.status, await codeOf(refused)]).toEqual([409, 'WEBRTC_SESSION_EXISTS'])
  })
})
