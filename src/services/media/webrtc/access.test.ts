import { describe, expect, test } from 'vitest'
import { SluiceError } from '../../../foundation/errors.ts'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import type {
  AccessRequest,
  BandwidthLimit,
  MovableAdmission,
  ResumedSession,
  SharedAccess,
} from '../access/index.ts'
import { checkThrough, servedBy, startFleet, type TestFleet } from './fleet.testkit.ts'
import { check, FakeOrigin, offerSdp, openClient, TestGateway } from './webrtc.testkit.ts'

/** Lets in whom it is told to, and remembers. */
class FakeAccess implements SharedAccess {
  readonly seen: AccessRequest[] = []
  readonly resumed: ResumedSession[] = []
  readonly revoking = new AbortController()
  limits: readonly BandwidthLimit[] = []
  refusal: SluiceError | undefined
  ended = 0
  handedOver = 0

  async admit(request: AccessRequest): Promise<MovableAdmission> {
    this.seen.push(request)
    return this.#admission()
  }

  resume(session: ResumedSession): MovableAdmission {
    this.resumed.push(session)
    return this.#admission()
  }

  #admission(): MovableAdmission {
    if (this.refusal !== undefined) throw this.refusal
    const { limits } = this
    const { signal } = this.revoking
    return { limits, signal, end: () => this.ended++, handOver: () => this.handedOver++ }
  }

  revoke(): void {
    this.revoking.abort(refusal('ACCESS_CREDENTIALS_WRONG', 403))
  }
}

function refusal(code: string, status: number): SluiceError {
  return new SluiceError(code, 'not you', { side: 'client', retryable: false, status })
}

async function stage(options: Parameters<typeof TestGateway.start>[0] = {}): Promise<{
  readonly access: FakeAccess
  readonly origin: FakeOrigin
  readonly gateway: TestGateway
}> {
  const access = new FakeAccess()
  const origin = await FakeOrigin.start()
  const gateway = await TestGateway.start({ access, ...options })
  await gateway.store.announce(origin.announcement())
  return { access, origin, gateway }
}

describe('access', () => {
  test('is asked with all that speaks for the client', async () => {
    const { access, gateway } = await stage()
    const headers = { authorization: 'bearer abc.def', referer: 'https://site.example/page' }
    await gateway.post('/rtc/v1/whip/?app=live&stream=s&token=t', offerSdp('clnt'), headers)
    await gateway.post('/live/s/whep', offerSdp('next'), { authorization: 'Basic x' })
    const streamurl = 'webrtc://cdn.example/live/s?key=k'
    await gateway.post('/rtc/v1/publish/?x=1', JSON.stringify({ sdp: offerSdp('json'), streamurl }))
    const { host } = new URL(gateway.url)
    const common = { protocol: 'webrtc', address: '127.0.0.1', key: '__defaultVhost__/live/s' }
    expect(access.seen).toMatchObject([
      {
        ...common,
        role: 'publish',
        query: 'app=live&stream=s&token=t',
        bearer: 'abc.def',
        pageUrl: 'https://site.example/page',
        tcUrl: `webrtc://${host}/live`,
      },
      { ...common, role: 'play', query: '' },
      { ...common, role: 'publish', query: 'key=k&x=1', tcUrl: 'webrtc://cdn.example/live' },
    ])
    expect(access.seen[1]?.bearer).toBeUndefined()
    expect(gateway.service.listSessions()[0]?.id).toBe(access.seen[0]?.sessionId)
  })

  test.each([
    ['ACCESS_CREDENTIALS_MISSING', 401, 'www-authenticate', 'Bearer'],
    ['ACCESS_CREDENTIALS_WRONG', 403, 'retry-after', null],
    ['ACCESS_TOO_MANY', 429, 'retry-after', '5'],
    ['ACCESS_HOOK_AWAY', 503, 'retry-after', '5'],
  ])('%s is told as %i, before an origin is asked', async (code, status, header, value) => {
    const { access, origin, gateway } = await stage()
    access.refusal = refusal(code, status)
    const response = await gateway.post('/live/s/whip', offerSdp('clnt'))
    expect([response.status, await response.json()]).toEqual([status, { code, message: 'not you' }])
    expect(response.headers.get(header)).toBe(value)
    const json = JSON.stringify({ sdp: offerSdp('clnt'), streamurl: 'webrtc://x/live/s' })
    const older = await gateway.post('/rtc/v1/publish/', json)
    expect([older.status, await older.json()]).toEqual([
      200,
      { code: status, error: code, message: 'not you' },
    ])
    expect([origin.seen, access.ended]).toEqual([[], 0])
  })

  test('is told once of every end: refused, broken, deleted, kicked, closed', async () => {
    const { access, origin, gateway } = await stage()
    const { location } = await gateway.open('clnt')
    expect(access.ended).toBe(0)
    await fetch(location, { method: 'DELETE' })
    expect(access.ended).toBe(1)
    await gateway.open('next')
    gateway.service.kickSession(gateway.service.listSessions()[0]?.id ?? '')
    expect(access.ended).toBe(2)
    for (const reply of [{ status: 404 }, { status: 201, body: 'x' }, 'reset'] as const) {
      origin.reply = () => reply
      await gateway.post('/live/s/whip', offerSdp('clnt'))
    }
    expect(access.ended).toBe(5)
    origin.reply = (request) => origin.accept(request)
    await gateway.open('last')
    await gateway.service.close()
    expect(access.ended).toBe(6)
    expect(access.seen).toHaveLength(6)
  })

  test('that is taken away ends the session, and the origin is told', async () => {
    const { access, origin, gateway } = await stage()
    await gateway.open('clnt')
    access.revoke()
    expect(gateway.service.listSessions()).toEqual([])
    await origin.sees('DELETE')
    expect(access.ended).toBe(1)
    expect(await gateway.metric('sluice_webrtc_sessions_ended_total{reason="access"}')).toBe(1)
  })

  test('that is taken away while the origin is asked makes no session', async () => {
    const { access, origin, gateway } = await stage()
    origin.reply = () => 'hang'
    const waiting = gateway.post('/live/s/whip', offerSdp('clnt'))
    await until(() => origin.seen.length === 1, 'the offer')
    access.revoke()
    const response = await waiting
    expect([response.status, access.ended]).toEqual([403, 1])
    expect(gateway.service.listSessions()).toEqual([])
  })
})

describe('limits', () => {
  const limit = (id: string, bytesPerSecond: number, burstBytes: number): BandwidthLimit => ({
    id,
    bytesPerSecond,
    burstBytes,
    charge: () => 0,
  })

  test('drop what is over them, in the direction of the stream only, and are shared by their id', async () => {
    const { access, origin, gateway } = await stage()
    access.limits = [limit('stream live/s', 1, 3000)]
    const [first, second] = [
      await gateway.open('aaaa', '/live/s/whep'),
      await gateway.open('bbbb', '/live/s/whep'),
    ]
    const [one, two] = [await openClient(), await openClient()]
    await one.send(check(first.username), gateway.media)
    const toOne = (await origin.udp.next()).from
    await two.send(check(second.username), gateway.media)
    const toTwo = (await origin.udp.next()).from
    const kilobyte = 'm'.repeat(1000)
    for (let i = 0; i < 2; i++) await origin.udp.send(kilobyte, toOne)
    await until(() => one.received.length === 2, 'two datagrams')
    for (let i = 0; i < 3; i++) await origin.udp.send(kilobyte, toTwo)
    await until(() => gateway.datapath.totals().dropped.meter === 2, 'two drops')
    expect(two.received).toHaveLength(1)
    for (let i = 0; i < 5; i++) await one.send(kilobyte, gateway.media)
    await until(() => origin.udp.received.length === 5, 'what the player sends')
    // The last session takes the meter along: there is a new one for the next.
    for (const { location } of [first, second]) await fetch(location, { method: 'DELETE' })
    const third = await gateway.open('cccc', '/live/s/whep')
    await one.send(check(third.username), gateway.media)
    await until(() => origin.udp.received.length === 6, 'the check')
    one.received.length = 0
    const toThird = origin.udp.received.at(-1)?.from ?? toOne
    for (let i = 0; i < 3; i++) await origin.udp.send(kilobyte, toThird)
    await until(() => one.received.length === 3, 'a whole burst')
  })

  test('hold for what a publisher sends', async () => {
    const { access, origin, gateway } = await stage()
    access.limits = [limit('stream live/s', 1, 2000)]
    const { username } = await gateway.open('clnt')
    const client = await openClient()
    await client.send(check(username), gateway.media)
    const { from } = await origin.udp.next()
    for (let i = 0; i < 4; i++) await client.send('m'.repeat(1000), gateway.media)
    await until(() => gateway.datapath.totals().dropped.meter === 2, 'two drops')
    expect(origin.udp.received).toHaveLength(2)
    for (let i = 0; i < 4; i++) await origin.udp.send('m'.repeat(1000), from)
    await until(() => client.received.length === 4, 'what the origin sends')
  })
})

describe('a stream that moved to another origin', () => {
  test('ends its players, who come back and are taken there; its publisher stays', async () => {
    let onMoved: (() => void) | undefined
    const { origin, gateway } = await stage({
      balancer: {
        hold: (...asked) => gateway.store.hold(...asked),
        pick: async (...asked) => {
          const claim = await gateway.store.pick(...asked)
          return {
            origin: claim.origin,
            release: () => claim.release(),
            failed: (how) => claim.failed(how),
            keep: (moved) => {
              onMoved = moved
              return claim.keep(moved)
            },
          }
        },
      },
    })
    await gateway.open('publ', '/live/s/whip')
    expect(onMoved).toBeUndefined()
    await gateway.open('play', '/live/s/whep')
    onMoved?.()
    expect(gateway.service.listSessions()).toMatchObject([{ role: 'publish' }])
    expect(await gateway.metric('sluice_webrtc_sessions_ended_total{reason="moved"}')).toBe(1)
    await origin.sees('DELETE')
  })

  test('before a player has its answer is told as a fault of the moment', async () => {
    const { access, origin, gateway } = await stage({
      balancer: {
        hold: (...asked) => gateway.store.hold(...asked),
        pick: async (...asked) => {
          const claim = await gateway.store.pick(...asked)
          return {
            origin: claim.origin,
            release: () => claim.release(),
            failed: (how) => claim.failed(how),
            keep: async (moved) => {
              const hold = await claim.keep(moved)
              queueMicrotask(() => moved?.())
              return hold
            },
          }
        },
      },
    })
    const response = await gateway.post('/live/s/whep', offerSdp('clnt'))
    expect([response.status, access.ended]).toEqual([503, 1])
    expect(gateway.service.listSessions()).toEqual([])
    await origin.sees('DELETE')
  })
})

test('a session shows whose it is: the client that asked, then where its media is', async () => {
  const clientOf = (): { address: string; isSecure: boolean; headers: [] } => ({
    address: '192.0.2.9',
    isSecure: false,
    headers: [],
  })
  const { origin, gateway } = await stage({ clientOf })
  const { username } = await gateway.open('clnt')
  expect(gateway.service.listSessions()).toMatchObject([{ address: '192.0.2.9' }])
  const client = await openClient('127.0.0.3')
  await client.send(check(username), gateway.media)
  await origin.udp.next()
  expect(gateway.service.listSessions()).toMatchObject([{ address: '127.0.0.3' }])
})

describe('access to a session that another gateway began', () => {
  async function fleet(): Promise<{ stage: TestFleet; at: Record<string, FakeAccess> }> {
    const at: Record<string, FakeAccess> = {}
    const stage = await startFleet((name) => ({ access: (at[name] = new FakeAccess()) }))
    return { stage, at }
  }

  test('is asked of nobody again; limits and the end hold, and one gateway tells of its end', async () => {
    const { stage, at } = await fleet()
    const { origin, a, b, shared } = stage
    const endsAtMs = 4_000_000_000_000
    const original = at['a']?.admit.bind(at['a'])
    if (at['a'] && original) at['a'].admit = async (request) => ({ ...(await original(request)), endsAtMs })
    const limit = { id: 'x', bytesPerSecond: 1500, burstBytes: 1500, charge: () => 0 }
    if (at['b']) at['b'].limits = [limit]
    const { username, location } = await a.open('clnt')
    const client = await openClient()
    await checkThrough(client, b, origin, username)
    await servedBy(stage, 'b', username, b, a)
    expect(at['b']).toMatchObject({
      seen: [],
      resumed: [
        {
          protocol: 'webrtc',
          role: 'publish',
          key: '__defaultVhost__/live/s',
          address: '127.0.0.1',
          tcUrl: 'webrtc://__defaultVhost__/live',
          sessionId: at['a']?.seen[0]?.sessionId,
          endsAtMs,
        },
      ],
    })
    expect(at['a']).toMatchObject({ ended: 0, handedOver: 1 })
    for (let i = 0; i < 4; i++) await client.send('m'.repeat(1000), b.media)
    await until(() => b.datapath.totals().dropped.meter > 0, 'a drop')
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
    await until(() => at['b']?.ended === 1, 'the end')
    expect(at['a']).toMatchObject({ ended: 0 })
    expect(shared.records.size).toBe(0)
  })

  test('is told to nobody when another program began it', async () => {
    const at: Record<string, FakeAccess> = {}
    const stage = await startFleet((name) => ({
      access: (at[name] = new FakeAccess()),
      unverified: 'bind-once',
    }))
    const { origin, a, b, shared } = stage
    const { username } = await a.open('clnt')
    const {
      icePassword: _,
      resource: __,
      ...session
    } = shared.records.get(username)?.session ?? ({} as never)
    shared.write(session)
    await checkThrough(await openClient(), b, origin, username)
    b.service.kickSession(b.service.listSessions()[0]?.id ?? '')
    expect(at['b']).toMatchObject({ ended: 0, handedOver: 1 })
    expect(at['b']?.resumed[0]?.address).toBe('127.0.0.1')
  })

  test('whose bounds cannot be kept is given back', async () => {
    const { stage, at } = await fleet()
    const { origin, a, b } = stage
    const limit = (id: string, bytesPerSecond: number): BandwidthLimit => {
      return { id, bytesPerSecond, burstBytes: 1, charge: () => 0 }
    }
    if (at['b']) at['b'].limits = [limit('x', 1000), limit('y', Number.NaN)]
    const { username } = await a.open('clnt')
    const client = await openClient()
    await client.send(check(username), b.media)
    await eventually(async () =>
      expect(await b.metric('sluice_webrtc_takeovers_total{result="failed"}')).toBe(1),
    )
    expect(at['b']).toMatchObject({ ended: 0, handedOver: 1 })
    expect(b.datapath.totals()).toMatchObject({ endpoints: 1, flows: 0 })
    if (at['b']) at['b'].limits = []
    await checkThrough(client, b, origin, username)
    await servedBy(stage, 'b', username, b, a)
  })

  test('that has run out is none, and leaves nothing behind', async () => {
    const { stage, at } = await fleet()
    const { origin, a, b } = stage
    if (at['b']) at['b'].refusal = refusal('ACCESS_EXPIRED', 403)
    const { username } = await a.open('clnt')
    await (await openClient()).send(check(username), b.media)
    await eventually(async () => {
      expect(await b.metric('sluice_webrtc_strangers_dropped_total{reason="not-served"}')).toBe(1)
    })
    expect(b.datapath.totals().endpoints).toBe(1)
    expect([origin.udp.received, a.service.listSessions().length]).toEqual([[], 1])
  })

  test('that is taken away ends it where it is served', async () => {
    const { stage, at } = await fleet()
    const { origin, a, b } = stage
    const { username } = await a.open('clnt')
    await checkThrough(await openClient(), b, origin, username)
    await servedBy(stage, 'b', username, b, a)
    at['a']?.revoke()
    expect(b.service.listSessions()).toHaveLength(1)
    at['b']?.revoke()
    await origin.sees('DELETE')
    expect(b.service.listSessions()).toEqual([])
    expect(origin.seen.filter(({ method }) => method === 'DELETE')).toHaveLength(1)
  })
})
